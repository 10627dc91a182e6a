"""The blocking clients: the asynchronous ones, driven by an event loop on a thread of their own.

There is one implementation of every call; here are only signatures. A client may be shared by threads.
Context variables of the calling thread, an active trace span among them, are in force inside the call.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from typing import Any, Self, TypeVar, Unpack

import grpc

from wanworker.client.aio import AsyncClient
from wanworker.client.connection import DEFAULT_TIMEOUT
from wanworker.client.enhancer import AsyncEnhancer
from wanworker.client.enums import JobState
from wanworker.client.events import EnhanceEvent, JobEvent
from wanworker.client.peers import EnhancerStatus, GatewayStatus
from wanworker.client.spec import SpecOptions
from wanworker.client.types import Job, JobEstimate, JobSpec, Result

T = TypeVar("T")


class LoopThread:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wanworker-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end. An interrupt of the waiting thread cancels it."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yields what an asynchronous generator yields; closing this one closes that one."""

        async def following() -> tuple[T, ...]:
            async for item in items:
                return (item,)
            return ()

        try:
            while item := self.run(following()):
                yield item[0]
        finally:
            if not self._loop.is_closed():
                self.run(items.aclose())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs a last coroutine and ends the thread. Closing twice is fine."""
        if self._loop.is_closed():
            last.close()
            return
        self.run(last)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Client:
    """A blocking connection to a gateway: `AsyncClient`, call by call."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        reconnect_seconds: float = 60.0,
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Takes what AsyncClient takes."""
        self._client = AsyncClient(
            address,
            credentials=credentials,
            api_key=api_key,
            timeout=timeout,
            reconnect_seconds=reconnect_seconds,
            channel_options=channel_options,
        )
        self._thread = LoopThread()

    @property
    def address(self) -> str:
        """The gateway's address."""
        return self._client.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; what still runs on it is cancelled."""
        self._thread.close(self._client.close())

    def run(
        self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]
    ) -> Generator[JobEvent, None, None]:
        """Makes a job that is bound to this iterator and yields its events. See AsyncClient.run."""
        return self._thread.iterate(self._client.run(prompt, timeout=timeout, **options))

    def generate(
        self,
        prompt: str | JobSpec,
        output: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[SpecOptions],
    ) -> Result:
        """Runs a job to its end and saves its file. See AsyncClient.generate."""
        return self._thread.run(self._client.generate(prompt, output, timeout=timeout, **options))

    def create(self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]) -> Job:
        """Makes a job that outlives this client. See AsyncClient.create."""
        return self._thread.run(self._client.create(prompt, timeout=timeout, **options))

    def get(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Returns a job as it stands. See AsyncClient.get."""
        return self._thread.run(self._client.get(job_id, timeout=timeout))

    def list(
        self, *, states: Iterable[JobState | str] = (), page_size: int = 0, timeout: float | None = None
    ) -> Generator[Job, None, None]:
        """Yields jobs, newest first. See AsyncClient.list."""
        return self._thread.iterate(self._client.list(states=states, page_size=page_size, timeout=timeout))

    def cancel(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Asks a job to stop. See AsyncClient.cancel."""
        return self._thread.run(self._client.cancel(job_id, timeout=timeout))

    def watch(
        self, job_id: str, *, after_sequence: int = 0, timeout: float | None = None
    ) -> Generator[JobEvent, None, None]:
        """Yields a job's events until its final snapshot. See AsyncClient.watch."""
        return self._thread.iterate(self._client.watch(job_id, after_sequence=after_sequence, timeout=timeout))

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Returns a job once it is in its final state. See AsyncClient.wait."""
        return self._thread.run(self._client.wait(job_id, timeout=timeout))

    def download(
        self, job: Job | str, output: str | os.PathLike[str] | None = None, *, timeout: float | None = None
    ) -> Result:
        """Saves a job's file and checks it. See AsyncClient.download."""
        return self._thread.run(self._client.download(job, output, timeout=timeout))

    def read(self, job_id: str) -> Generator[bytes, None, None]:
        """Yields a job's file in pieces. See AsyncClient.read."""
        return self._thread.iterate(self._client.read(job_id))

    def estimate(
        self, prompt: str | JobSpec, *, timeout: float | None = None, **options: Unpack[SpecOptions]
    ) -> JobEstimate:
        """Says what a job would cost. See AsyncClient.estimate."""
        return self._thread.run(self._client.estimate(prompt, timeout=timeout, **options))

    def status(self, *, timeout: float | None = None) -> GatewayStatus:
        """Says how the gateway, its queue and its peers are."""
        return self._thread.run(self._client.status(timeout=timeout))


class Enhancer:
    """A blocking connection to an enhancer: `AsyncEnhancer`, call by call."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Takes what AsyncEnhancer takes."""
        self._client = AsyncEnhancer(address, credentials=credentials, api_key=api_key, timeout=timeout)
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; what still runs on it is cancelled."""
        self._thread.close(self._client.close())

    def enhance(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        timeout: float | None = None,
    ) -> Generator[EnhanceEvent, None, None]:
        """Rewrites a prompt and yields it as it is written. See AsyncEnhancer.enhance."""
        return self._thread.iterate(
            self._client.enhance(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed, timeout=timeout)
        )

    def status(self, *, timeout: float | None = None) -> EnhancerStatus:
        """Says what is loaded and how busy the enhancer is."""
        return self._thread.run(self._client.status(timeout=timeout))
