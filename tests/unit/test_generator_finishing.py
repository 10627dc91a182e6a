"""Frames to a file in a thread of their own: the same bytes, and no thread or file left behind."""

import itertools
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from wanworker.generator import muxing
from wanworker.generator.decoding import Frames, Piece
from wanworker.generator.device import Device, Mark
from wanworker.generator.finishing import Finisher
from wanworker.generator.muxing import EncoderOptions, StillWriter, crop_centre, encode_still, encode_video
from wanworker.generator.request import FileFormat, Order, Settings
from wanworker.generator.statistics import measure

OPTIONS = EncoderOptions()
DEVICE = Device("cpu")


class FakeMark:
    """A device that has got as far as the test says."""

    def __init__(self) -> None:
        self.passed = threading.Event()
        self.awaited = threading.Event()

    def wait(self) -> None:
        self.awaited.set()
        assert self.passed.wait(60)


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []
    assert not [each for each in threading.enumerate() if each.name == "finisher"]


def order(frames: int, file_format: FileFormat = FileFormat.MP4, crop: tuple[int, int] | None = None) -> Order:
    width, height = crop or (None, None)
    settings = Settings("demo", 64, 48, frames, 16, 2, 4.0)
    return Order(settings, "a ball", "", 1, file_format, crop_width=width, crop_height=height)


def noise(count: int) -> Frames:
    return np.random.default_rng(count).integers(0, 255, (count, 48, 64, 3), np.uint8)


def pieces(frames: Frames) -> list[Piece]:
    starts = [0, *range(1, len(frames), 4), len(frames)]
    return [Piece(frames[start:end], DEVICE.mark()) for start, end in itertools.pairwise(starts)]


def held_back(frames: Frames, mark: FakeMark) -> Piece:
    return Piece(frames, cast("Mark", mark))


@pytest.mark.parametrize("count", [5, 81])  # fewer and more than x264 looks ahead
@pytest.mark.parametrize("crop", [None, (60, 44)])
def test_the_file_is_that_of_all_frames_at_once(count: int, crop: tuple[int, int] | None) -> None:
    frames, done = noise(count), list[float]()
    with Finisher(order(count, crop=crop), OPTIONS) as finisher:
        for piece in pieces(frames):
            finisher.put(piece)
        finished = finisher.finish(done.append)
    shown = crop_centre(frames, *(crop or (64, 48)))
    assert finished.file == encode_video(shown, 16, OPTIONS, lambda _: None)
    assert finished.statistics == measure(shown)
    assert (finisher.frames == frames).all()
    assert done == sorted(done)
    assert done[-1] == 1


@pytest.mark.parametrize("file_format", [FileFormat.PNG, FileFormat.WEBP])
def test_a_still(file_format: FileFormat) -> None:
    with Finisher(order(1, file_format), OPTIONS) as finisher:
        finisher.put(pieces(noise(1))[0])
        finished = finisher.finish(lambda _: None)
    assert finished.file == encode_still(noise(1), file_format)
    assert finished.statistics == measure(noise(1))


def test_the_file_does_not_depend_on_what_memory_held_before() -> None:
    """x264's AVX-512 code read memory that nobody wrote. The C library fills what it allocates with a byte at will."""
    script = textwrap.dedent("""
        import hashlib
        import numpy as np
        from wanworker.generator.muxing import EncoderOptions, encode_video

        generator = np.random.default_rng(0)
        common, *own = (generator.integers(0, 256, (240, 416, 3)) for _ in range(26))
        coarse = (generator.integers(0, 256, (120, 208, 3)).repeat(2, 0).repeat(2, 1) for _ in own)
        frames = [0.5 * common + 0.35 * two + 0.15 * one for one, two in zip(own, coarse, strict=True)]
        file = encode_video(np.array(frames, np.uint8), 16, EncoderOptions(threads=2), lambda _: None)
        print(hashlib.sha256(file).hexdigest())
    """)
    files = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"MALLOC_PERTURB_": str(byte)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for byte in (1, 85, 255)
    }
    assert len(files) == 1


def test_a_still_of_nothing_is_refused() -> None:
    with StillWriter(FileFormat.PNG) as writer, pytest.raises(ValueError, match="no frame"):
        writer.finish()


def test_frames_are_read_once_the_device_has_made_them() -> None:
    frames, made, mark = noise(5), np.zeros((5, 48, 64, 3), np.uint8), FakeMark()
    with Finisher(order(5), OPTIONS) as finisher:
        finisher.put(held_back(made, mark))
        assert mark.awaited.wait(60)
        made[:] = frames
        mark.passed.set()
        assert finisher.finish(lambda _: None).file == encode_video(frames, 16, OPTIONS, lambda _: None)


def test_few_pieces_wait() -> None:
    frames, mark, over = noise(33), FakeMark(), threading.Event()
    first, *others = pieces(frames)
    with Finisher(order(33), OPTIONS) as finisher:

        def put_all() -> None:
            for piece in others:
                finisher.put(piece)
            over.set()

        finisher.put(held_back(first.frames, mark))
        assert mark.awaited.wait(60)
        thread = threading.Thread(target=put_all)
        thread.start()
        with finisher._changed:
            assert finisher._changed.wait_for(lambda: len(finisher._waiting) == 3, 60)
        assert not over.is_set()  # five more are to be put in, and cannot be before the first is encoded
        mark.passed.set()
        thread.join()
        assert finisher.finish(lambda _: None).file == encode_video(frames, 16, OPTIONS, lambda _: None)


@pytest.mark.parametrize("at", [0, 3, 50])
def test_what_the_encoder_fails_with_is_raised(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = muxing._to_yuv

    def fail(pixels: Any, index: int, fps: int) -> Any:
        if index == at:
            raise OSError("no space left on device")
        return convert(pixels, index, fps)

    monkeypatch.setattr(muxing, "_to_yuv", fail)
    with Finisher(order(81), OPTIONS) as finisher:
        with pytest.raises(OSError, match="no space left"):
            for piece in pieces(noise(81)):
                finisher.put(piece)
            finisher.finish(lambda _: None)
        assert finisher.failed
        with pytest.raises(OSError, match="no space left"):
            finisher.put(pieces(noise(81))[0])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_leaving_early_stops_the_thread(count: int) -> None:
    with pytest.raises(KeyError), Finisher(order(81), OPTIONS) as finisher:
        for piece in pieces(noise(81))[:count]:
            finisher.put(piece)
        raise KeyError
    assert not finisher.failed


def test_leaving_while_the_encoder_ends_stops_it() -> None:
    heard: list[float] = []

    def stop(done: float) -> None:
        heard.append(done)
        raise KeyError

    with pytest.raises(KeyError), Finisher(order(81), OPTIONS) as finisher:
        for piece in pieces(noise(81)):
            finisher.put(piece)
        finisher.finish(stop)
    assert len(heard) == 1


@pytest.mark.parametrize("count", [1, 9])
def test_a_clip_of_other_frames_than_asked_for_is_an_error(count: int) -> None:
    with Finisher(order(5), OPTIONS) as finisher, pytest.raises((ValueError, IndexError)):
        for piece in pieces(noise(count)):
            finisher.put(piece)
        finisher.finish(lambda _: None)
