"""The enhancer itself: queue → cache → model → cleaning. Asynchronous, knows no gRPC."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from wanworker.enhancer import telemetry
from wanworker.enhancer.cache import AnswerCache, CacheKey
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.cleaning import clean
from wanworker.enhancer.errors import DrainingError, EmptyAnswerError
from wanworker.enhancer.model import (
    Completed,
    Delta,
    Event,
    FinishReason,
    Queued,
    Request,
    Sampling,
    Status,
    Writer,
    Written,
)
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.enhancer.sources import ModelFiles, ModelSource, model_name
from wanworker.enhancer.turns import Turn, TurnQueue
from wanworker.enhancer.worker import Worker, WriteJob


@dataclass(frozen=True)
class _Task:
    """A request with nothing left open."""

    prompt: str
    sampling: Sampling
    seeded: bool
    """Whether the caller chose the seed."""


class Enhancer:
    """Writes one prompt at a time, in the order in which they come.

    Args:
        settings: Limits and defaults.
        source: Where the model's files come from.
        load: Brings them into memory; called in the worker's thread.
    """

    def __init__(self, settings: EnhancerSettings, source: ModelSource, load: Callable[[ModelFiles], Writer]) -> None:
        self._settings = settings
        self._source = source
        self._model = model_name(settings)
        self._worker = Worker(self._model, source, load)
        self._cache = AnswerCache(settings.cache_entries, settings.cache_unseeded_seconds)
        self._turns = TurnQueue(settings.queue_limit)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_unload: asyncio.Task[bool] | None = None
        self._draining = False

    async def warm_up(self) -> None:
        """Make sure of the model's files as far as that is quick; with `preload` load them.

        Raises:
            ModelNotFoundError: There are none.
            ModelBrokenError: They can't be loaded.
        """
        await asyncio.to_thread(self._source.check)
        if self._settings.preload:
            await self._worker.preload()

    async def enhance(self, request: Request) -> AsyncGenerator[Event, None]:
        """Write a prompt and yield what happens; the last event is `Completed`.

        Closing the iterator, or cancelling its task, stops the writing within a token.

        Raises:
            ServiceError: One of `wanworker.enhancer.errors`.
        """
        if self._draining:
            raise DrainingError
        task = self._task(request)
        for event in self._recall(task):
            yield event
            if isinstance(event, Completed):
                return
        turn = self._turns.join()
        self._stop_idle_timer()
        try:
            async with aclosing(self._wait(turn)) as positions:
                async for queued in positions:
                    yield queued
            async with aclosing(self._recall_or_write(task)) as events:
                async for event in events:
                    yield event
        finally:
            turn.leave()
            self._start_idle_timer()

    async def unload(self) -> bool:
        """Free the model's memory once the running prompt is done; returns whether a model was loaded.

        Whoever asks needs the memory, also if they don't stay for the answer: cancelling this does not cancel that.
        """
        return await asyncio.shield(self._worker.unload())

    def status(self) -> Status:
        """Say how the enhancer is, without waiting for anything."""
        context_tokens = self._worker.context_tokens
        return Status(
            model=self._model,
            model_source=self._source.describe(),
            loaded=context_tokens is not None,
            context_tokens=context_tokens or self._settings.context_tokens,
            queued=self._turns.waiting,
            queue_limit=self._settings.queue_limit,
            busy=self._turns.busy,
        )

    async def drain(self) -> None:
        """Refuse new prompts and those that wait; returns when the running one is done."""
        self._draining = True
        await self._turns.drain()

    async def close(self) -> None:
        """Free everything."""
        self._draining = True
        self._stop_idle_timer()
        await self._worker.close()

    # A prompt's way

    def _task(self, request: Request) -> _Task:
        settings = self._settings
        sampling = Sampling(
            max_tokens=settings.max_tokens if request.max_tokens is None else request.max_tokens,
            temperature=settings.temperature if request.temperature is None else request.temperature,
            seed=secrets.randbits(32) if request.seed is None else request.seed,
            top_k=settings.top_k,
            top_p=settings.top_p,
            min_p=settings.min_p,
            repeat_penalty=settings.repeat_penalty,
        )
        return _Task(request.prompt.strip(), sampling, request.seed is not None)

    async def _wait(self, turn: Turn) -> AsyncGenerator[Queued, None]:
        position = turn.position
        if position == 0:
            return
        with telemetry.waiting(position):
            while position:
                yield Queued(position)
                position = await turn.moved(position)

    async def _recall_or_write(self, task: _Task) -> AsyncGenerator[Event, None]:
        # Asked again: the one that was just written may have been the same.
        for event in self._recall(task):
            yield event
            if isinstance(event, Completed):
                return
        async with aclosing(self._write(task)) as events:
            async for event in events:
                yield event

    def _recall(self, task: _Task) -> Iterator[Event]:
        """Yield what an answer from the cache looks like; nothing if there is none."""
        fingerprint = self._worker.fingerprint()
        answer = self._cache.get(_key(task, fingerprint, task.seeded)) if fingerprint else None
        if answer is not None:
            telemetry.cache_hit(self._model)
            yield Delta(answer.prompt)
            yield replace(answer, cached=True)

    async def _write(self, task: _Task) -> AsyncGenerator[Event, None]:
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        cancellation = Cancellation()
        span = telemetry.start_generation(self._model, task.sampling)

        def emit(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        job = WriteJob(
            task.prompt,
            task.sampling,
            span,
            cancellation,
            emit=emit,
        )
        future = self._worker.write(job)
        future.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield self._completed(task, *future.result())
        finally:
            cancellation.cancel()
            # The turn is over when the thread is free, not before.
            await asyncio.wait((future,))
            if not future.cancelled():
                future.exception()  # taken note of, also when nobody waits for it any more

    def _completed(self, task: _Task, written: Written, fingerprint: str) -> Completed:
        self._turns.took(written.seconds)
        prompt = clean(written.text, cut_off=written.finish_reason is FinishReason.LENGTH)
        if not prompt:
            raise EmptyAnswerError(task.sampling.seed)
        answer = Completed(prompt, self._model, task.sampling.seed, False, written)
        self._cache.put(_key(task, fingerprint, seeded=True), answer)
        if not task.seeded:
            self._cache.put(_key(task, fingerprint, seeded=False), answer)
        return answer

    # Idling

    def _start_idle_timer(self) -> None:
        seconds = self._settings.idle_unload_seconds
        if seconds and not self._turns.busy and not self._draining:
            self._stop_idle_timer()
            self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._idle)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _idle(self) -> None:
        if not self._turns.busy:
            self._idle_unload = asyncio.ensure_future(self._worker.unload())


def _key(task: _Task, fingerprint: str, seeded: bool) -> CacheKey:
    sampling = task.sampling
    return CacheKey(
        fingerprint, task.prompt, sampling.max_tokens, sampling.temperature, sampling.seed if seeded else None
    )
