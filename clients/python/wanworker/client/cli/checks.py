"""What `wanworker doctor` looks at: this machine, the services where they are installed, and a gateway."""

import asyncio
import importlib.util
import json
import platform
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wanworker.client import __version__
from wanworker.client.cli.formats import bytes_text
from wanworker.client.cli.generate import connect
from wanworker.client.cli.stack import SERVICES, StackError, find_models
from wanworker.client.errors import UnavailableError, WanworkerError
from wanworker.client.peers import GatewayStatus, Peer

_CHECKUP_SECONDS = 90.0
"""A service's check-up imports torch, which takes its time on a cold disk."""
_CALL_SECONDS = 5.0
_LITTLE_BYTES = 1024**3


class Verdict(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Neither good nor bad."""
    WARNING = "warning"
    """Works, but not as one might wish."""
    BROKEN = "broken"
    """Does not work."""


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
    """What was found."""
    hint: str = ""
    """What to do about it."""


def installed_services() -> list[str]:
    """Returns the services whose code is here; whether it runs is for their own check-ups to say."""
    found = []
    for service in SERVICES:
        with suppress(ModuleNotFoundError):
            if importlib.util.find_spec(f"wanworker.{service}.checkup") is not None:
                found.append(service)
    return found


async def examine(address: str, *, expected: bool) -> list[Finding]:
    """Looks at everything.

    Args:
        address: The gateway's.
        expected: Whether it is broken if no gateway is there.
    """
    services = installed_services()
    lists = await asyncio.gather(
        _nvidia(), *(_service(service) for service in services), _gateway(address, expected=expected)
    )
    found = [*_versions(services), *_demo_models(), _room(), *(finding for part in lists for finding in part)]
    order = ("versions", "settings", "gpu", "models", "disk", "ports", "peers")
    return sorted(found, key=lambda finding: order.index(finding.group) if finding.group in order else len(order))


def _versions(services: list[str]) -> Iterator[Finding]:
    yield Finding("versions", "python", Verdict.OK, f"{platform.python_version()} on {platform.platform()}")
    parts = ", ".join(f"{name} {version(name)}" for name in ("grpcio", "protobuf"))
    yield Finding("versions", "client", Verdict.OK, f"wanworker-client {__version__}, {parts}")
    if not services:
        yield Finding("versions", "services", Verdict.NOTE, "not installed here")
        return
    with suppress(PackageNotFoundError):
        if (theirs := version("wanworker")) != __version__:
            text = f"the services are {theirs}, the client is {__version__}"
            yield Finding("versions", "services", Verdict.WARNING, text, "install both from one checkout or release")


def _demo_models() -> Iterator[Finding]:
    with suppress(StackError):
        yield Finding("models", "demo files", Verdict.OK, str(find_models(None)))


def _room() -> Finding:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    verdict = Verdict.OK if free >= _LITTLE_BYTES else Verdict.WARNING
    return Finding("disk", "this folder", verdict, f"{bytes_text(free)} free at {here}")


async def _nvidia() -> list[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return [Finding("gpu", "driver", Verdict.NOTE, "no nvidia-smi: no NVIDIA GPU to be seen here")]
    fields = "--query-gpu=name,memory.used,memory.total,driver_version"
    code, out, err = await _output(program, fields, "--format=csv,noheader")
    if code != 0:
        reason = (out + err).strip().partition("\n")[0] or f"exit code {code}"
        return [Finding("gpu", "driver", Verdict.BROKEN, f"nvidia-smi: {reason}", "look at the driver")]
    return [Finding("gpu", f"gpu {number}", Verdict.OK, line) for number, line in enumerate(out.splitlines())]


async def _service(service: str) -> list[Finding]:
    """What a service says of itself, in a process of its own: the client loads neither torch nor llama.cpp."""
    code, out, err = await _output(sys.executable, "-m", f"wanworker.{service}.checkup")
    found = [_finding(json.loads(line)) for line in out.splitlines() if line.startswith("{")]
    if code != 0:
        reason = err.strip().rpartition("\n")[2] or f"ended with code {code}"
        # Its code is here without what it needs: nobody has meant to run it here.
        missing = reason.startswith("ModuleNotFoundError") and "'wanworker" not in reason
        verdict, text = (Verdict.NOTE, "not installed here") if missing else (Verdict.BROKEN, "its check-up failed")
        found.append(Finding("versions", service, verdict, f"{text}: {reason}", f"pip install 'wanworker[{service}]'"))
    return found


def _finding(record: dict[str, str]) -> Finding:
    return Finding(record["group"], record["name"], Verdict(record["verdict"]), record["text"], record.get("hint", ""))


async def _output(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        out, err = await asyncio.wait_for(process.communicate(), _CHECKUP_SECONDS)
    except TimeoutError:
        return -1, "", f"no answer within {_CHECKUP_SECONDS:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


async def _gateway(address: str, *, expected: bool) -> list[Finding]:
    try:
        async with connect(address) as client:
            status = await client.status(timeout=_CALL_SECONDS)
    except UnavailableError as error:
        verdict = Verdict.BROKEN if expected or error.reason else Verdict.NOTE
        text = f"{address}: {error.message} ({error.reason})" if error.reason else f"nobody at {address}"
        return [Finding("peers", "gateway", verdict, text, "start one with `wanworker up`, or name it with --address")]
    except WanworkerError as error:
        return [Finding("peers", "gateway", Verdict.BROKEN, f"{address}: {error.message} ({error.code.name})")]
    return list(_peers(address, status))


def _peers(address: str, status: GatewayStatus) -> Iterator[Finding]:
    queue = f"{status.running} running, {status.queued} of {status.queue_limit} waiting"
    if status.version == __version__:
        yield Finding("peers", "gateway", Verdict.OK, f"{address}: {status.version}, {queue}")
    else:
        text = f"{address}: {status.version}, this client is {__version__}; {queue}"
        yield Finding("peers", "gateway", Verdict.WARNING, text, "older clients work with newer services of one major")
    yield _peer("enhancer", status.enhancer_peer, Verdict.WARNING, "prompts stay as they are")
    yield _peer("generator", status.generator_peer, Verdict.BROKEN, "jobs wait for it, then fail")
    if status.generator is not None:
        default = next((model for model in status.generator.models if model.is_default), None)
        if default is not None and not default.available:
            yield Finding("models", default.name, Verdict.BROKEN, f"not on the generator's machine ({default.source})")


def _peer(name: str, peer: Peer, down: Verdict, cost: str) -> Finding:
    if peer.reachable:
        return Finding("peers", f"gateway's {name}", Verdict.OK, f"{peer.address} answers")
    reason = peer.error or "did not answer"
    return Finding("peers", f"gateway's {name}", down, f"{peer.address}: {reason}", f"as long as it is down, {cost}")
