"""Jobs that share the device give the bytes that they give alone, whatever becomes of the others."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
import torch
from opentelemetry.metrics import CallbackOptions

from tests.support.generator import DEMO_FOLDER, failure, generate_request, generator_settings, running_generator
from wanworker.generator import metrics
from wanworker.generator.conditions import Conditions
from wanworker.generator.control import JobControl
from wanworker.generator.device import is_device_lost, is_out_of_memory
from wanworker.generator.engine import Engine
from wanworker.generator.errors import JobCancelledError
from wanworker.generator.registry import find_row
from wanworker.generator.request import FileFormat, Order, Result, Settings, Speed
from wanworker.runtime.errors import InternalError, UnavailableError

CLIP = Settings("demo", 64, 64, 5, 16, 3, 4.0)
STILL, VIDEO = 0, 1
CACHED = Speed(cache_threshold=0.3)


def order(prompt: str, seed: int, **settings: Any) -> Order:
    chosen = replace(CLIP, **settings)
    return Order(chosen, prompt, "", seed, FileFormat.PNG if chosen.is_still else FileFormat.MP4)


ORDERS = [
    order("a red ball", 1),
    order("a blue cube on a table", 2, steps=5, frames=9),
    order("a green ring", 3, width=96),
    order("a yellow star", 4, frames=1),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(generator_settings(demo_path=DEMO_FOLDER))
    engine.load_model(find_row("demo"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def tiny() -> Iterator[Engine]:
    engine = Engine(generator_settings())
    engine.load_model(find_row("demo"))
    yield engine
    engine.close()


class Interleaving:
    """Runs jobs in threads of their own. All are there before the first step, so that their steps alternate."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.forwards: list[int] = []
        """Thread of each transformer forward, in order."""
        self.controls: list[JobControl] = []
        self.ready = threading.Event()

    def start(self, orders: list[Order], pool: ThreadPoolExecutor) -> list[Future[Result]]:
        futures = []
        with self.engine._steps.turn(-1).held():
            for each in orders:
                control = self.engine.control(lambda _: None, STILL if each.settings.is_still else VIDEO)
                self.controls.append(control)
                futures.append(pool.submit(self.engine.generate, each, Conditions(), control))
            until(lambda: self.engine._steps.waiting == len(orders))
            self.ready.set()
        return futures


@contextmanager
def interleaving(engine: Engine, action: Callable[[Interleaving], None] = lambda _: None) -> Iterator[Interleaving]:
    """`action` runs before each forward."""
    run = Interleaving(engine)

    def before(*_: Any) -> None:
        run.forwards.append(threading.get_ident())
        action(run)

    hook = engine._models["demo"].modules["transformer"].register_forward_pre_hook(before)
    try:
        yield run
    finally:
        hook.remove()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


def alone(engine: Engine, each: Order) -> bytes:
    return engine.generate(each, Conditions(), JobControl(lambda _: None)).file


def changes(values: list[int]) -> int:
    return sum(one != other for one, other in itertools.pairwise(values))


@pytest.mark.parametrize("count", [2, 4])
def test_interleaved_jobs_give_the_bytes_of_jobs_alone(engine: Engine, count: int) -> None:
    expected = [alone(engine, each) for each in ORDERS[:count]]

    with interleaving(engine) as run, ThreadPoolExecutor(count) as pool:
        results = [future.result() for future in run.start(ORDERS[:count], pool)]

    assert [result.file for result in results] == expected
    assert changes(run.forwards) >= 2 * count - 2  # they did alternate, and did not run one after the other
    assert all(sum(1 for each in run.forwards if each == thread) % 2 == 0 for thread in set(run.forwards))


def test_interleaved_jobs_with_a_cache_keep_their_states_apart(engine: Engine) -> None:
    cached = [replace(each, settings=replace(each.settings, speed=CACHED)) for each in ORDERS[:3]]
    orders = [*cached, ORDERS[1]]
    plain = [alone(engine, each) for each in ORDERS[:3]]
    expected = [alone(engine, each) for each in orders]
    assert expected[1] != plain[1]  # the cache does skip work here
    assert expected[3] == plain[1]  # and leaves those alone that did not ask for it

    with interleaving(engine) as run, ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in run.start(orders, pool)]

    assert [result.file for result in results] == expected
    assert changes(run.forwards) >= 6
    (manager,) = engine._models["demo"].block_caches["transformer"]._managers
    assert manager._state_cache == {}


def test_a_cancelled_job_leaves_the_others_untouched(tiny: Engine) -> None:
    expected = [alone(tiny, each) for each in ORDERS[1:3]]

    def leave(run: Interleaving) -> None:
        if len(run.forwards) == 3:
            run.controls[0].cancel()

    with interleaving(tiny, leave) as run, ThreadPoolExecutor(3) as pool:
        stopped, *others = run.start([replace(ORDERS[0], settings=replace(CLIP, steps=20)), *ORDERS[1:3]], pool)
        with pytest.raises(JobCancelledError):
            stopped.result()
        assert [other.result().file for other in others] == expected

    assert len(run.forwards) <= 4 + 10 + 6  # it never had more than two of its twenty steps


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), torch.OutOfMemoryError("CUDA out of memory"), FloatingPointError("NaN")]
)
@pytest.mark.parametrize("speed", [Speed(), CACHED])
def test_a_failing_job_leaves_the_others_untouched(tiny: Engine, error: Exception, speed: Speed) -> None:
    orders = [replace(each, settings=replace(each.settings, speed=speed)) for each in ORDERS[:3]]
    expected = [alone(tiny, each) for each in orders[1:]]
    failing: list[int] = []

    def explode(run: Interleaving) -> None:
        failing[:] = failing or run.forwards[:1]
        if run.forwards[-1] == failing[0] and run.forwards.count(failing[0]) == 4:
            raise error

    with interleaving(tiny, explode) as run, ThreadPoolExecutor(3) as pool:
        futures = run.start(orders, pool)
        assert futures[0].exception() is not None
        assert [future.result().file for future in futures[1:]] == expected
    assert alone(tiny, ORDERS[0]) == alone(tiny, ORDERS[0])


def test_latents_that_are_no_numbers_fail_their_own_job_only(tiny: Engine) -> None:
    expected = alone(tiny, ORDERS[1])
    threads: list[int] = []

    def poison(_: object, __: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        threads.append(threading.get_ident())
        spoilt = threads[-1] == threads[0] and threads.count(threads[0]) == 3
        return (output[0] * float("nan"),) if spoilt else output

    hook = tiny._models["demo"].modules["transformer"].register_forward_hook(poison)
    with interleaving(tiny) as run, ThreadPoolExecutor(2) as pool:
        first, second = run.start([ORDERS[0], ORDERS[1]], pool)
        error = first.exception()
        assert second.result().file == expected
    hook.remove()
    assert "step 2" in str(error)


def test_weights_that_are_no_numbers_fail_at_the_first_step() -> None:
    engine = Engine(generator_settings())
    transformer = engine.load_model(find_row("demo")).modules["transformer"]
    forwards: list[object] = []
    transformer.register_forward_pre_hook(lambda *_: forwards.append(None))
    with torch.no_grad():
        transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(InternalError) as caught:
        alone(engine, ORDERS[0])
    assert (caught.value.reason, caught.value.metadata["step"]) == ("NOT_A_NUMBER", "1")
    assert len(forwards) == 2
    engine.close()


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_a_lost_device_fails_all_jobs_as_such_and_takes_no_more(error: RuntimeError) -> None:
    engine = Engine(generator_settings())
    engine.load_model(find_row("demo"))

    def lose(run: Interleaving) -> None:
        if len(run.forwards) >= 3:
            raise error

    with interleaving(engine, lose) as run, ThreadPoolExecutor(2) as pool:
        for future in run.start(ORDERS[:2], pool):
            with pytest.raises(UnavailableError) as caught:
                future.result()
            assert caught.value.reason == "DEVICE_LOST"
    assert engine.lost is not None
    engine.close()


def test_what_runs_out_of_memory_below_torch_is_no_lost_device() -> None:
    full = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    assert is_out_of_memory(full)
    assert not is_device_lost(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    )
    assert not is_device_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_devices_memory_is_a_metric() -> None:
    engine = Engine(generator_settings(memory_budget_bytes=2**40))
    engine.load_model(find_row("demo"))
    allocated, reserved, free = (
        {each.value for each in metrics._observe(name)(CallbackOptions())} for name in ("allocated", "reserved", "free")
    )
    memory = engine.device.memory()
    assert memory.allocated in allocated & reserved
    assert 0 < memory.allocated < 10**8
    assert any(value > 0 for value in free)
    engine.close()


def test_a_still_behind_four_videos_is_served_within_two_steps(tiny: Engine) -> None:
    """Counted from the moment that the still is asked for: steps of videos until its first, and between its own."""
    videos = [order("a ball", seed, steps=12) for seed in range(4)]
    still = order("a star", 9, frames=1, steps=4)
    asked: list[int] = []
    futures: list[Future[Result]] = []

    def ask(run: Interleaving) -> None:
        if len(run.forwards) == 9:  # the first forward of the fifth step
            asked.append(len(run.forwards))
            futures.append(pool.submit(tiny.generate, still, Conditions(), tiny.control(lambda _: None, STILL)))
            until(lambda: tiny._steps.waiting == 4)  # three videos and the still

    with interleaving(tiny, ask) as run, ThreadPoolExecutor(5) as pool:
        running = run.start(videos, pool)
        futures_done = [future.result() for future in running]
        futures[0].result()
    assert len(futures_done) == 4
    (thread,) = {each for each in run.forwards if run.forwards.count(each) == 8}
    first = run.forwards.index(thread)
    assert first - asked[0] <= 2 * 2  # two steps of two forwards
    assert set(run.forwards[first : first + 8]) == {thread}


async def test_calls_at_once_give_the_same_files_as_calls_in_turn() -> None:
    async with running_generator(preload=True, warm_up_job=False) as generator:
        changed: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2, "frames": 9}, {"seed": 3, "frames": 1}, {"seed": 4}]
        expected = [await generator.file(**each) for each in changed]
        for budget in (None, 2**40):
            async with running_generator(preload=True, warm_up_job=False, memory_budget_bytes=budget) as shared:
                assert await asyncio.gather(*(shared.file(**each) for each in changed)) == expected


async def test_a_deadline_of_one_call_leaves_the_others_untouched() -> None:
    async with running_generator(preload=True, warm_up_job=False) as generator:
        expected = await generator.file(steps=20)
        doomed = generator.stub.Generate(generate_request(steps=200, frames=33), timeout=0.5)
        other, found = await asyncio.gather(generator.file(steps=20), failure(doomed))
        assert other == expected
        assert found.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await generator.file(steps=20) == expected


async def test_jobs_whose_models_do_not_fit_side_by_side_wait_for_each_other() -> None:
    async with running_generator(model_paths={"wan2.1-t2v-1.3b": generator_settings().demo_path}) as generator:
        demo = await generator.file()
        both = [generator.file(), generator.file(model="wan2.1-t2v-1.3b"), generator.file()]
        one, _, again = await asyncio.gather(*both)
        assert one == again == demo
        assert generator.runner.queue.running == 0


async def test_decoding_waits_for_the_device_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_generator(preload=True, warm_up_job=False, memory_budget_bytes=2**40) as generator:
        expected = await generator.file()
        engine = generator.engine
        model = engine._models["demo"]
        during: list[bool] = []
        hook = model.vae.decoder.register_forward_pre_hook(
            lambda *_: during.append(engine._steps._holder is not None and engine._steps._holder.priority == VIDEO)
        )
        monkeypatch.setattr(engine._occupancy, "decodes_beside", lambda _: False)
        assert set(await asyncio.gather(generator.file(), generator.file())) == {expected}
        hook.remove()
        assert all(during)
