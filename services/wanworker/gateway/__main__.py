"""`python -m wanworker.gateway`."""

from wanworker.gateway.service import build_service
from wanworker.gateway.settings import GatewaySettings
from wanworker.runtime.process import run_main

if __name__ == "__main__":
    run_main("wanworker-gateway", GatewaySettings, build_service)
