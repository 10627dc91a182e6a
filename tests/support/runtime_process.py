"""The fakes of `tests.support.runtime` as a process: `python -m tests.support.runtime_process BEHAVIOUR`.

Settings come from `WANWORKER_FAKE_*`.
"""

import asyncio
import sys

from pydantic_settings import SettingsConfigDict

from tests.support.runtime import FakeEnhancer, FakeService
from wanworker.runtime.errors import PreconditionError
from wanworker.runtime.process import run_main
from wanworker.runtime.server import ServiceDefinition, StartError
from wanworker.runtime.settings import ServiceSettings


class FakeSettings(ServiceSettings):
    """Settings of the fake."""

    model_config = SettingsConfigDict(env_prefix="WANWORKER_FAKE_")


async def hang(_: object = None) -> None:
    print("hanging", flush=True)
    await asyncio.Event().wait()


async def close() -> None:
    print("closed", flush=True)


async def fail() -> None:
    raise PreconditionError("no model at /models/x", "MODEL_NOT_FOUND")


async def crash() -> None:
    raise KeyError("a bug")


def build(_: FakeSettings) -> ServiceDefinition:
    match sys.argv[1]:
        case "serve":
            service = FakeService(close=close)
        case "hang-in-call":
            service = FakeService(FakeEnhancer(hang), close=close)
        case "hang-in-drain":
            service = FakeService(drain=hang, close=close)
        case "hang-in-warm-up":
            service = FakeService(warm_up=hang, close=close)
        case "fail-in-warm-up":
            service = FakeService(warm_up=fail, close=close)
        case "crash-in-warm-up":
            service = FakeService(warm_up=crash, close=close)
        case "fail-in-build":
            raise PreconditionError("no model at /models/x", "MODEL_NOT_FOUND")
        case "refuse-in-build":
            raise StartError("cannot write to /data")
        case unknown:
            raise ValueError(unknown)
    return service.definition()


if __name__ == "__main__":
    run_main("wanworker-fake", FakeSettings, build)
