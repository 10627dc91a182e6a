"""What a service finds out about its own installation, for `wanworker doctor`.

Each service has a module `checkup`; `python -m wanworker.<service>.checkup` prints one JSON object a finding. It runs
beside a service or without one, in a process of its own: libraries that crash or hang take nobody along.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from wanworker.runtime.errors import ServiceError
from wanworker.runtime.probe import tls_of_environment, why_not_serving
from wanworker.runtime.server import StartError, unbindable
from wanworker.runtime.settings import ServiceSettings

_LITTLE_BYTES = 2 * 1024**3
"""Less room than this on a disk is worth a warning."""


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the check-up."""

    group: str
    """What it is about: versions, gpu, models, ports, disk, peers or settings."""
    name: str
    """What was looked at."""
    verdict: Verdict
    """How bad it is."""
    text: str
    """What was found, in one line."""
    hint: str = ""
    """What to do about it."""


_Settings = TypeVar("_Settings", bound=ServiceSettings)
Check = Callable[[_Settings], Iterable[Finding]]
"""Looks at one thing. ServiceError, StartError and OSError are findings too, everything else is a bug."""


def run_checkup(service: str, package: str, settings_type: type[_Settings], checks: Sequence[Check[_Settings]]) -> None:
    """Prints the findings of a service's checks, the settings first; the whole body of a `checkup` module.

    Args:
        service: Short name, for example `gateway`.
        package: Distribution that only this service needs. Without it the service is not meant to run here, as in the
            image of another one, and nothing else is looked at.
        settings_type: The service's settings class.
        checks: What to look at, in this order.
    """
    if not _installed(package):
        _print(Finding("versions", service, Verdict.NOTE, f"not installed here: no {package}", _hint(service)))
        return
    try:
        settings = settings_type()
    except ValidationError as error:
        for line in settings_type.complaints(error):
            _print(Finding("settings", service, Verdict.BROKEN, line))
        return
    for check in checks:
        for finding in _findings(service, check, settings):
            _print(finding)


def _findings(service: str, check: Check[_Settings], settings: _Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except (ServiceError, StartError, OSError) as error:
        yield Finding("settings", service, Verdict.BROKEN, str(error))


def _print(finding: Finding) -> None:
    print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _hint(service: str) -> str:
    return f"pip install 'wanworker[{service}]'"


def packages(service: str, names: Sequence[str]) -> Finding:
    """Versions of the distributions that a service needs."""
    missing = [name for name in names if not _installed(name)]
    if missing:
        return Finding("versions", service, Verdict.BROKEN, f"not installed: {', '.join(missing)}", _hint(service))
    return Finding("versions", service, Verdict.OK, ", ".join(f"{name} {version(name)}" for name in names))


def port(service: str, settings: ServiceSettings) -> Finding:
    """Whether the service listens, could listen, or somebody else does."""
    if settings.port == 0:
        return Finding("ports", service, Verdict.NOTE, "any free port")
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "[::]", "") else settings.host
    address = f"{host}:{settings.port}"
    reason = unbindable(settings.host, settings.port)
    if not reason:
        return Finding("ports", service, Verdict.NOTE, f"{address} is free: no {service} runs here")
    answer = why_not_serving(address, tls=tls_of_environment())
    if not answer:
        return Finding("ports", service, Verdict.OK, f"{address} serves")
    if answer == "NOT_SERVING":
        return Finding("ports", service, Verdict.WARNING, f"{address} is starting or draining")
    hint = f"another program may have it; WANWORKER_{service.upper()}_PORT takes another port"
    return Finding("ports", service, Verdict.BROKEN, f"cannot listen on {address}: {reason}", hint)


def folder(name: str, path: Path, variable: str, *, needed: bool = True) -> Finding:
    """Whether a folder, or the first one above it that exists, can be written, and how much room there is.

    Args:
        name: What is kept there.
        path: The folder; it need not exist.
        variable: The setting that names it.
        needed: Whether the service does not work without it.
    """
    there = path.expanduser().absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        verdict = Verdict.BROKEN if needed else Verdict.WARNING
        text = f"cannot write to {there} as user {os.getuid()}: {error.strerror}"
        return Finding("disk", name, verdict, text, f"set {variable}, or make the folder writable")
    text = f"{free / 1024**3:.1f} GiB free at {there}"
    if free < _LITTLE_BYTES:
        return Finding(
            "disk", name, Verdict.WARNING, text, "free some room: jobs fail with STORAGE_FULL when it is gone"
        )
    return Finding("disk", name, Verdict.OK, text)
