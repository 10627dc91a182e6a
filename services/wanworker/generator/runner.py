"""Jobs from the event loop's side: checks, queue, thread, events, cancellation."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor

from wanworker.generator.checks import check_order
from wanworker.generator.conditions import Conditions, read_conditions
from wanworker.generator.control import JobControl
from wanworker.generator.device_queue import DeviceQueue, Ticket
from wanworker.generator.engine import Cost, Engine
from wanworker.generator.errors import JobCancelledError, draining
from wanworker.generator.registry import Capability, find_row
from wanworker.generator.request import Event, Order, Queued, Result, Settings
from wanworker.generator.settings import GeneratorSettings
from wanworker.generator.warm_up import warm_up_orders
from wanworker.runtime.errors import ExhaustedError

_LOGGER = logging.getLogger("wanworker.generator.runner")
_STILL_PRIORITY, _VIDEO_PRIORITY = 0, 1
_RETRY_SECONDS = 5.0


class Runner:
    """Runs generations, several at a time. Its methods belong to one event loop."""

    def __init__(self, settings: GeneratorSettings, engine: Engine) -> None:
        self._settings = settings
        self.engine = engine
        jobs = settings.concurrent_jobs
        self.queue = DeviceQueue(settings.queue_limit, jobs, engine.fit_together)
        self._threads = ThreadPoolExecutor(len((_STILL_PRIORITY, _VIDEO_PRIORITY)) * jobs, "job")
        self._controls: set[JobControl] = set()
        self.broken = asyncio.Event()
        """Set once the device failed for good: only a new process can use it."""

    async def generate(self, order: Order) -> AsyncGenerator[Event, None]:
        """The events of a generation; `Result` is the last.

        Ending the iteration early (also by cancelling the task) stops the job within one denoising step.

        Raises:
            ServiceError: as the contract has it.
        """
        row = check_order(order)
        if self.engine.lost is not None:
            raise self.engine.lost
        cost = await asyncio.to_thread(self.engine.cost, order.settings)  # a missing model fails here, before it queues
        conditions = await asyncio.to_thread(read_conditions, order, self._settings.max_reference_pixels)
        priority = _STILL_PRIORITY if order.settings.is_still else _VIDEO_PRIORITY
        ticket = self.queue.join(priority, _RETRY_SECONDS, cost.share)
        try:
            async for position in self.queue.positions(ticket):
                yield Queued(position)
        except BaseException:
            self.queue.leave(ticket)
            raise
        _LOGGER.info("Job starts on %s", row.name)
        events = self._run(order, conditions, ticket)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def estimate(self, settings: Settings) -> Cost:
        """What a generation would cost; reads files, so off the loop."""
        return await asyncio.to_thread(self.engine.cost, settings)

    async def warm_up(self) -> None:
        """Loads the default model and, if set, makes something small with it: kernels are warm and speeds are known.

        Raises:
            ServiceError: the default model is unknown, missing or broken.
        """
        if not self._settings.preload:
            return
        row = find_row(self._settings.default_model)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self.engine.load_model, row)
        if self._settings.warm_up_job and Capability.TEXT_TO_IMAGE in row.capabilities:
            try:
                for order in warm_up_orders(row, self._settings, self.engine):
                    async for _ in self.generate(order):
                        pass
            except ExhaustedError as error:
                # Smaller jobs may fit: a device without room for this one is no reason to serve nobody.
                _LOGGER.warning("Not warmed up: %s", error)

    def close_queue(self) -> None:
        """Refuses new jobs and those that wait; those that run go on."""
        self.queue.close()

    async def close(self) -> None:
        """Stops the running jobs and frees the device."""
        self.queue.close()
        for control in self._controls:
            control.cancel()
        await self.queue.idle()
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.close()

    async def _run(self, order: Order, conditions: Conditions, ticket: Ticket) -> AsyncGenerator[Event, None]:
        """The device's part. The device is given back when the thread is done, not when the caller is gone."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event | None] = asyncio.Queue()

        def tell(event: Event | None) -> None:
            loop.call_soon_threadsafe(inbox.put_nowait, event)

        control = self.engine.control(tell, ticket.priority)
        self._controls.add(control)

        def finished(_: Future[Result]) -> None:
            loop.call_soon_threadsafe(self._finish, control, ticket)
            tell(None)

        context = contextvars.copy_context()  # carries the call's span into the thread
        future = self._threads.submit(context.run, self.engine.generate, order, conditions, control)
        future.add_done_callback(finished)
        try:
            while (event := await inbox.get()) is not None:
                yield event
            yield self._result(future)
        finally:
            control.cancel()

    def _result(self, future: "Future[Result]") -> Result:
        try:
            return future.result()
        except JobCancelledError:
            # The caller is still here, so it was us: the service stops.
            raise draining() from None

    def _finish(self, control: JobControl, ticket: Ticket) -> None:
        self._controls.discard(control)
        self.queue.leave(ticket)
        if self.engine.lost is not None:
            self.broken.set()
