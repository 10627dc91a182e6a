"""Serve: `python -m wanworker.enhancer`. Settings come from the environment, prefix `WANWORKER_ENHANCER_`."""

from wanworker.runtime.extras import needs

if __name__ == "__main__":
    with needs("enhancer"):
        from wanworker.enhancer.service import build_service
        from wanworker.enhancer.settings import EnhancerSettings
        from wanworker.runtime.process import run_main

    run_main("wanworker-enhancer", EnhancerSettings, build_service)
