"""The one thread that touches the model: loads it, writes with it, frees it."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from opentelemetry.trace import Span

from wanworker.enhancer import telemetry
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.errors import ModelNotFoundError, WritingCancelled
from wanworker.enhancer.model import Delta, Event, Loading, Sampling, Writer, Written
from wanworker.enhancer.sources import ModelFiles, ModelSource
from wanworker.runtime.errors import InvalidArgumentError

logger = logging.getLogger("wanworker.enhancer")

DELTA_SECONDS = 0.02
"""Deltas of one answer are so far apart, or further."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class WriteJob:
    """A prompt for the worker."""

    prompt: str
    """The user's words."""
    sampling: Sampling
    """How tokens are chosen."""
    span: Span
    """Of the generation; the worker ends it."""
    cancellation: Cancellation
    """Raised when nobody wants the answer any more."""
    emit: Callable[[Event], None]
    """Called in the worker's thread with what happens."""


class Deltas:
    """Joins pieces of text that come faster than anybody reads: with small models a message costs more than a token.

    The first piece goes out at once, and so does each of a model that takes longer than the interval for a token.

    Args:
        emit: Takes the deltas.
        clock: Seconds that only grow.
    """

    def __init__(self, emit: Callable[[Event], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._emit = emit
        self._clock = clock
        self._held: list[str] = []
        self._sent_at: float | None = None

    def add(self, text: str) -> None:
        """Take a piece; it goes out now or with a later one."""
        if self._sent_at is None:
            telemetry.first_token()
        self._held.append(text)
        if self._sent_at is None or self._clock() - self._sent_at >= DELTA_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            self._emit(Delta("".join(self._held)))
            self._held.clear()
            self._sent_at = self._clock()


class Worker:
    """Runs what touches the model, one thing after the other.

    Args:
        model: Name of the model.
        source: Where its files come from.
        load: Brings files into memory.
    """

    def __init__(self, model: str, source: ModelSource, load: Callable[[ModelFiles], Writer]) -> None:
        self._model = model
        self._source = source
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="enhancer")
        self._files: ModelFiles | None = None
        self._writer: Writer | None = None
        self._fingerprint = ""

    @property
    def context_tokens(self) -> int | None:
        """Tokens that the loaded model's context holds; None while none is loaded."""
        writer = self._writer
        return writer.context_tokens if writer else None

    def fingerprint(self) -> str | None:
        """Return what the model's files are now; None before they were needed for the first time.

        Raises:
            ModelNotFoundError: They have gone.
        """
        return self._files.fingerprint() if self._files else None

    def write(self, job: WriteJob) -> "asyncio.Future[tuple[Written, str]]":
        """Write an answer, loading the model if need be; returns it with the model's fingerprint."""
        return asyncio.wrap_future(self._submit(self._write, job))

    async def preload(self) -> None:
        """Load the model."""
        await asyncio.wrap_future(self._submit(self._ready, lambda _event: None))

    async def unload(self) -> bool:
        """Free the model's memory once what runs is done; returns whether there was any."""
        return await asyncio.wrap_future(self._submit(self._unload))

    async def close(self) -> None:
        """Free the memory and end the thread."""
        await self.unload()
        await asyncio.to_thread(self._thread.shutdown)

    def _submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        # The trace goes along into the thread.
        context = contextvars.copy_context()
        return self._thread.submit(lambda: context.run(function, *args, **kwargs))

    # In the thread

    def _write(self, job: WriteJob) -> tuple[Written, str]:
        with telemetry.generation(job.span):
            if job.cancellation.cancelled:
                raise WritingCancelled
            writer = self._ready(job.emit)
            telemetry.operation(writer.is_chat, self._model)
            deltas = Deltas(job.emit)
            try:
                written = writer.write(job.prompt, job.sampling, job.cancellation, deltas.add)
            except (WritingCancelled, InvalidArgumentError):
                raise
            except Exception:
                # Whatever state the context is in: the next prompt gets a new one.
                self._unload()
                raise
            deltas.flush()
            telemetry.finished(self._model, written)
            return written, self._fingerprint

    def _ready(self, emit: Callable[[Event], None]) -> Writer:
        """Return the model, loaded if it is not, or if its files have changed."""
        if self._writer and self.fingerprint() == self._fingerprint:
            return self._writer
        self._unload()
        emit(Loading(self._model))
        with telemetry.loading(self._model):
            started = time.perf_counter()
            files, fingerprint = self._fetch()
            self._writer = self._load(files)
            self._fingerprint = fingerprint
        logger.info("loaded %s from %s in %.2f s", self._model, files.first, time.perf_counter() - started)
        return self._writer

    def _fetch(self) -> tuple[ModelFiles, str]:
        try:
            if self._files:
                return self._files, self._files.fingerprint()
        except ModelNotFoundError:
            logger.info("%s has gone from this machine and is looked for again", self._model)
        self._files = self._source.fetch()
        return self._files, self._files.fingerprint()

    def _unload(self) -> bool:
        writer, self._writer = self._writer, None
        if writer is None:
            return False
        writer.close()
        logger.info("unloaded %s", self._model)
        return True
