"""A service as a process: settings from the environment, signals, exit codes.

Exit codes: 0 after a graceful stop, 1 if the service could not start, 2 for bad settings, 3 if the service broke and
wants to be started anew, 128 + n after a second signal n.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from pydantic import ValidationError

from wanworker.runtime.errors import ServiceError
from wanworker.runtime.logging import setup_logging
from wanworker.runtime.server import ServiceDefinition, ServiceServer, StartError
from wanworker.runtime.settings import ServiceSettings
from wanworker.runtime.telemetry import setup_telemetry

_LOG = logging.getLogger("wanworker.runtime")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_Settings = TypeVar("_Settings", bound=ServiceSettings)


def run_main(service: str, settings_type: type[_Settings], build: Callable[[_Settings], ServiceDefinition]) -> NoReturn:
    """Runs a service from its environment until it is told to stop; the whole body of a `__main__.py`.

    Args:
        service: Name for logs and traces, for example `wanworker-gateway`.
        settings_type: The service's settings class.
        build: Makes the service; called inside the event loop.
    """
    try:
        settings = settings_type()
    except ValidationError as error:
        for line in settings_type.complaints(error):
            print(f"{service}: {line}", file=sys.stderr)
        sys.exit(2)
    setup_logging(settings, service)
    try:
        telemetry = setup_telemetry(service, settings)
    except OSError as error:
        _LOG.error("cannot serve metrics on port %s: %s", settings.metrics_port, error.strerror)
        sys.exit(1)
    try:
        code = asyncio.run(_build_and_run(settings, build))
    finally:
        telemetry.shutdown()
    sys.exit(code)


async def run_service(definition: ServiceDefinition, settings: ServiceSettings) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code: 0, 1 if the service could not start, 3 if it broke.

    The first signal stops gracefully, the second ends the process at once.
    """
    stop = asyncio.Event()
    _on_signals(stop)
    server = ServiceServer(definition, settings)
    starting = asyncio.ensure_future(server.start())
    stopping = asyncio.ensure_future(stop.wait())
    breaking = asyncio.ensure_future(_broken(definition))
    code = 0
    try:
        await asyncio.wait((starting, stopping, breaking), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait((stopping, breaking), return_when=asyncio.FIRST_COMPLETED)
        if breaking.done():
            _LOG.error("%s is broken: stopping, to be started anew", definition.name)
            code = 3
    except StartError as error:
        _LOG.error("%s", error)
        code = 1
    except Exception:
        _LOG.exception("%s cannot start", definition.name)
        code = 1
    finally:
        await _settled(starting)
        stopping.cancel()
        breaking.cancel()
        await server.stop()
    return code


async def _build_and_run(settings: _Settings, build: Callable[[_Settings], ServiceDefinition]) -> int:
    try:
        definition = build(settings)
    except ServiceError as error:
        _LOG.error("cannot start: %s (%s)", error, error.reason)
        return 1
    except StartError as error:
        _LOG.error("cannot start: %s", error)
        return 1
    return await run_service(definition, settings)


async def _broken(definition: ServiceDefinition) -> None:
    await (asyncio.Event().wait() if definition.broken is None else definition.broken())


async def _settled(task: "asyncio.Future[int]") -> None:
    """Calls a start that is still going on off, and waits until it is."""
    task.cancel()
    await asyncio.wait((task,))


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            _LOG.warning("%s again: exiting at once", name)
            logging.shutdown()
            # Not sys.exit: a thread that is busy on the device would hold up the interpreter's end.
            os._exit(128 + number)
        _LOG.info("%s: stopping; a second one ends the process at once", name)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, received, number)
