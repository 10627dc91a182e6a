"""`python -m wanworker.gateway`."""

from wanworker.runtime.extras import needs

if __name__ == "__main__":
    with needs("gateway"):
        from wanworker.gateway.service import build_service
        from wanworker.gateway.settings import GatewaySettings
        from wanworker.runtime.process import run_main

    run_main("wanworker-gateway", GatewaySettings, build_service)
