"""Serve: `python -m wanworker.enhancer`. Settings come from the environment, prefix `WANWORKER_ENHANCER_`."""

from wanworker.enhancer.service import build_service
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.runtime.process import run_main

if __name__ == "__main__":
    run_main("wanworker-enhancer", EnhancerSettings, build_service)
