"""`wanworker generate`: from a prompt to a file."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from wanworker.client.aio import AsyncClient
from wanworker.client.cli.access import access
from wanworker.client.cli.display import make_display
from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.formats import print_json
from wanworker.client.cli.summary import print_result
from wanworker.client.enums import JobState
from wanworker.client.errors import UnavailableError, WanworkerError
from wanworker.client.events import SnapshotEvent

if TYPE_CHECKING:
    from wanworker.client.spec import SpecOptions
    from wanworker.client.types import Job

_CANCEL_SECONDS = 5.0


def connect(address: str) -> AsyncClient:
    """Returns a client with the credentials that options and environment have."""
    shown = access()
    return AsyncClient(address, credentials=shown.credentials, api_key=shown.api_key)


async def generate(address: str, prompt: str, options: "SpecOptions", output: Path | None, *, as_json: bool) -> int:
    """Makes a job, shows it, saves its file; cancels it when this task is cancelled."""
    async with connect(address) as client:
        job = await _run(client, prompt, options, as_json=as_json)
        result = await client.download(job, output)
    print_result(result, as_json=as_json)
    return ExitCode.OK


async def _run(client: AsyncClient, prompt: str, options: "SpecOptions", *, as_json: bool) -> "Job":
    job: Job | None = None
    try:
        with make_display(as_json=as_json) as display:
            async with aclosing(client.run(prompt, **options)) as events:
                async for event in events:
                    display.show(event)
                    if isinstance(event, SnapshotEvent):
                        job = event.job
    except asyncio.CancelledError:
        await _confirm_cancel(client, job, as_json=as_json)
        raise
    except UnavailableError as error:
        if job is not None:
            error.message = f"lost the gateway; see how it went: wanworker jobs watch {job.id}"
            error.reason = error.reason or "GATEWAY_LOST"
        raise
    assert job is not None
    return job


async def _confirm_cancel(client: AsyncClient, job: "Job | None", *, as_json: bool) -> None:
    """The closed stream has cancelled the job already; this asks whether it has stopped, and says so."""
    if job is None:
        _say("interrupted before the job was made", "", as_json=as_json)
        return
    try:
        ended = await client.cancel(job.id, timeout=_CANCEL_SECONDS)
        if not ended.state.is_final:
            ended = await client.wait(job.id, timeout=_CANCEL_SECONDS)
    except WanworkerError as error:
        _say(f"interrupted; job {job.id} was asked to stop, yet {error.message}", job.id, as_json=as_json)
        return
    if ended.state is JobState.CANCELLED:
        _say(f"cancelled job {job.id}: the device stops within a step", job.id, as_json=as_json)
    else:
        _say(f"interrupted; job {job.id} has {ended.state.value} already", job.id, as_json=as_json)


def _say(text: str, job_id: str, *, as_json: bool) -> None:
    if as_json:
        error = {"code": "CANCELLED", "reason": "INTERRUPTED", "message": text}
        print_json(error={**error, "job_id": job_id} if job_id else error)
    else:
        Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
