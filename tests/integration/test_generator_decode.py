"""Decoding and encoding side by side: they stop together, leave nothing behind, and disturb no other job."""

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.generator import generator_settings
from tests.support.runtime import recorded_spans
from wanworker.generator import finishing, muxing
from wanworker.generator.conditions import Conditions
from wanworker.generator.control import JobControl
from wanworker.generator.engine import Engine
from wanworker.generator.errors import JobCancelledError
from wanworker.generator.registry import find_row
from wanworker.generator.request import Event, FileFormat, Memory, Order, Progress, Result, Settings, Stage
from wanworker.runtime import names
from wanworker.runtime.errors import ExhaustedError

CLIP = Settings("demo", 64, 64, 33, 16, 1, 1.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(generator_settings())
    engine.load_model(find_row("demo"))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def leaves_nothing(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.glob("wanworker-*"))
    assert not [each for each in threading.enumerate() if each.name == "finisher"]
    assert engine._decodes._holder is None


def order(seed: int) -> Order:
    return Order(CLIP, "a red ball", "", seed, FileFormat.MP4)


def run(engine: Engine, seed: int = 1, control: JobControl | None = None) -> Result:
    return engine.generate(order(seed), Conditions(), control or engine.control(lambda _: None))


@contextmanager
def before_pieces(engine: Engine, action: Callable[[int], None]) -> Iterator[list[int]]:
    """`action` runs before the decoder does, with the number of the piece, from 1. What was begun is listed."""
    begun: list[int] = []

    def before(*_: Any) -> None:
        begun.append(len(begun) + 1)
        action(begun[-1])

    hook = engine._models["demo"].vae.decoder.register_forward_pre_hook(before)
    try:
        yield begun
    finally:
        hook.remove()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


def test_frames_are_encoded_while_others_are_decoded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(engine)
    converted, convert = threading.Event(), muxing._to_yuv

    def to_yuv(pixels: Any, index: int, fps: int) -> Any:
        converted.set()
        return convert(pixels, index, fps)

    monkeypatch.setattr(muxing, "_to_yuv", to_yuv)
    with before_pieces(engine, lambda number: until(converted.is_set) if number == 2 else None) as begun:
        result = run(engine)
    assert len(begun) == 9
    assert (result.file, result.statistics) == (expected.file, expected.statistics)
    assert [each.stage for each in result.stages] == list(Stage)[1:]
    assert all(each.seconds > 0 for each in result.stages)


def test_progress_never_falls(engine: Engine) -> None:
    events: list[Event] = []
    run(engine, control=engine.control(events.append))
    progress = [each for each in events if isinstance(each, Progress)]
    assert [each.fraction for each in progress] == sorted(each.fraction for each in progress)
    stages = [each.stage for each in progress]
    assert stages == sorted(stages, key=list(Stage).index)
    assert stages.count(Stage.MUXING) > 2  # that it goes on is told also at the end


@pytest.mark.parametrize("piece", [1, 4])
def test_a_job_cancelled_while_it_decodes_stops(engine: Engine, piece: int) -> None:
    expected = run(engine, 2).file
    control = engine.control(lambda _: None)
    with before_pieces(engine, lambda number: control.cancel() if number == piece else None) as begun:
        with pytest.raises(JobCancelledError):
            run(engine, control=control)
        assert len(begun) == piece
    assert run(engine, 2).file == expected


def test_a_job_cancelled_while_only_its_encoder_works_stops(engine: Engine) -> None:
    def cancel(event: Event) -> None:
        if isinstance(event, Progress) and event.stage is Stage.MUXING:
            control.cancel()

    control = engine.control(cancel)
    with pytest.raises(JobCancelledError):
        run(engine, control=control)


@pytest.mark.parametrize("at", [1, 30])
def test_an_encoder_that_fails_stops_the_decoding(engine: Engine, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(engine, 2).file
    convert = muxing._to_yuv

    def fail(pixels: Any, index: int, fps: int) -> Any:
        if index == at:
            raise OSError("no space left on device")
        return convert(pixels, index, fps)

    failed = threading.Event()
    work = finishing.Finisher._work

    def noted_work(self: finishing.Finisher) -> finishing.Finished:
        try:
            return work(self)
        finally:
            failed.set()

    with monkeypatch.context() as patch:
        patch.setattr(muxing, "_to_yuv", fail)
        patch.setattr(finishing.Finisher, "_work", noted_work)
        with before_pieces(engine, lambda number: until(failed.is_set) if number == 3 and at == 1 else None) as begun:
            with pytest.raises(OSError, match="no space left"):
                run(engine)
            assert len(begun) <= (4 if at == 1 else 9)
    assert run(engine, 2).file == expected


def test_a_decoder_that_fails_stops_the_encoder(engine: Engine) -> None:
    def fail(number: int) -> None:
        if number == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = run(engine, 2).file
    with before_pieces(engine, fail) as begun, pytest.raises(ExhaustedError, match="GiB of device memory"):
        run(engine)
    assert len(begun) == 3  # frames no larger than a tile are not tried again
    assert run(engine, 2).file == expected


def test_the_next_job_decodes_while_the_encoder_of_the_one_before_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [run(engine, seed).file for seed in (1, 2)]
    ending, decoded, finish = threading.Event(), threading.Event(), muxing.VideoWriter.finish

    def slow_finish(self: muxing.VideoWriter) -> bytes:
        if not ending.is_set():
            ending.set()
            until(decoded.is_set)
        return finish(self)

    def decode_after(number: int) -> None:
        if number == 18:  # the second job's last piece
            decoded.set()

    monkeypatch.setattr(muxing.VideoWriter, "finish", slow_finish)
    with before_pieces(engine, decode_after) as begun, ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, engine, 1)
        until(ending.is_set)
        second = pool.submit(run, engine, 2)
        assert [first.result().file, second.result().file] == expected
    assert len(begun) == 18


LARGE = replace(CLIP, width=512, height=256, frames=5)
"""Of several tiles."""


@pytest.fixture
def limited() -> Iterator[Engine]:
    engine = Engine(generator_settings(memory_budget_bytes=2**40, admission=False))
    engine.load_model(find_row("demo"))
    yield engine
    engine.close()


def large(engine: Engine, *, tiled: bool = False) -> Result:
    settings = replace(LARGE, memory=Memory(tiled_decode=tiled))
    return engine.generate(replace(order(1), settings=settings), Conditions(), engine.control(lambda _: None))


def test_whole_frames_that_do_not_fit_are_decoded_in_tiles(limited: Engine) -> None:
    whole, tiled = large(limited), large(limited, tiled=True)
    assert tiled.peak_memory_bytes < whole.peak_memory_bytes
    budget = limited.device.budget
    assert budget is not None
    live = budget.live_bytes
    # What the first attempt held is gone before the second begins: no byte more is needed than for tiles alone.
    budget.limit_bytes = tiled.peak_memory_bytes
    with recorded_spans() as recorded, before_pieces(limited, lambda _: None) as begun:
        result = large(limited)
        (decoding,) = (span for span in recorded.get_finished_spans() if span.name == names.SPAN_DECODE)
    assert (result.file, result.statistics) == (tiled.file, tiled.statistics)
    assert result.settings == tiled.settings  # the result says that there were tiles
    assert not whole.settings.memory.tiled_decode
    assert [dict(event.attributes or {}) for event in decoding.events if event.name == names.EVENT_WARNING] == [
        {names.ATTR_REASON: "DECODED_IN_TILES"}
    ]
    tiles = 3 * 2
    assert 2 * tiles < len(begun) <= 2 * tiles + 2
    del result
    gc.collect()
    assert budget.live_bytes == live


def test_what_does_not_fit_in_tiles_either_fails_and_poisons_nothing(limited: Engine) -> None:
    expected, tiled = run(limited).file, large(limited, tiled=True)
    budget = limited.device.budget
    assert budget is not None
    live, budget.limit_bytes = budget.live_bytes, tiled.peak_memory_bytes - 1
    with pytest.raises(ExhaustedError, match="GiB of device memory"):
        large(limited)
    assert budget.live_bytes == live
    assert run(limited).file == expected
