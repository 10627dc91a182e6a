"""Streams that are taken up again where they were cut."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import grpc

from wanworker.client.conversions import artifact_from_proto, event_from_proto
from wanworker.client.errors import CorruptArtifactError, UnavailableError
from wanworker.client.events import JobEvent, SnapshotEvent
from wanworker.client.types import Artifact
from wanworker.v1 import gateway_pb2

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


class Patience:
    """How long a cut stream is tried again: until `limit` seconds passed without anything received."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._tries = 0
        self._cut_at: float | None = None

    def received(self) -> None:
        """Something came: the stream works."""
        self._tries = 0
        self._cut_at = None

    async def wait(self, error: UnavailableError) -> None:
        """Pauses before the next try, longer each time and never sooner than the server asked. Raises when
        used up."""
        now = time.monotonic()
        self._cut_at = self._cut_at or now
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries) * random.uniform(0.8, 1.2)
        pause = max(pause, error.retry_after or 0.0)
        if now + pause - self._cut_at > self._limit:
            raise error
        self._tries += 1
        await asyncio.sleep(pause)


async def follow(
    watch: Callable[[int], AsyncGenerator[gateway_pb2.JobEvent, None]],
    after_sequence: int,
    reconnect_seconds: float,
) -> AsyncGenerator[JobEvent, None]:
    """Yields a job's events until its final snapshot, watching again after the last sequence whenever the
    stream is cut.

    A first watch that fails is not repeated: nobody waits a minute to hear that there is no gateway.
    """
    last, begun, patience = after_sequence, False, Patience(reconnect_seconds)
    while True:
        try:
            async with aclosing(job_events(watch(last))) as events:
                async for event in events:
                    patience.received()
                    final = isinstance(event, SnapshotEvent) and event.job.state.is_final
                    # A new watch begins with a snapshot: known already if nothing happened in between.
                    if final or not begun or event.sequence > last:
                        last, begun = max(last, event.sequence), True
                        yield event
                    if final:
                        return
            cut = UnavailableError(
                "the watch ended before the job did", code=grpc.StatusCode.UNAVAILABLE, reason="WATCH_CUT"
            )
        except UnavailableError as error:
            if not begun:
                raise
            cut = error
        await patience.wait(cut)


async def job_events(messages: AsyncGenerator[gateway_pb2.JobEvent, None]) -> AsyncGenerator[JobEvent, None]:
    """Reads events; kinds that this client does not know are left out."""
    async with aclosing(messages):
        async for message in messages:
            event = event_from_proto(message)
            if event is not None:
                yield event


class ArtifactReader:
    """Reads a file from the gateway piece by piece, from where it was cut, and checks what it got."""

    def __init__(
        self,
        read: Callable[[int], AsyncGenerator[gateway_pb2.ReadArtifactResponse, None]],
        reconnect_seconds: float,
    ) -> None:
        self._read = read
        self._patience = Patience(reconnect_seconds)
        self._digest = hashlib.sha256()
        self._offset = 0
        self.artifact: Artifact | None = None
        """What the file is; known from the first piece on."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yields the file. CorruptArtifactError, if it is not what the gateway says it is, comes before the
        end."""
        while self.artifact is None or self._offset < self.artifact.size_bytes:
            try:
                async with aclosing(self._read(self._offset)) as messages:
                    async for message in messages:
                        self._patience.received()
                        yield self._take(message)
                if self.artifact is None or self._offset < self.artifact.size_bytes:
                    raise CorruptArtifactError(f"the file ended after {self._offset} bytes")
            except UnavailableError as error:
                if self.artifact is None:
                    raise
                await self._patience.wait(error)
        if self._digest.digest() != self.artifact.sha256:
            raise CorruptArtifactError("the file that came has another SHA-256 than the one that was made")

    def _take(self, message: gateway_pb2.ReadArtifactResponse) -> bytes:
        if message.HasField("artifact"):
            artifact = artifact_from_proto(message.artifact)
            if self.artifact is not None and artifact.sha256 != self.artifact.sha256:
                raise CorruptArtifactError("the file changed while it was read")
            self.artifact = artifact
        if message.offset != self._offset:
            raise CorruptArtifactError(f"byte {self._offset} of the file was due, byte {message.offset} came")
        self._offset += len(message.data)
        self._digest.update(message.data)
        return message.data
