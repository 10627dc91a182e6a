"""From work to seconds: speeds measured on this device, kept per model, stage and size.

A speed depends on the size of the piece that is worked on: small ones wait for the host to ask for them (seconds are
constant, so the pace falls with the size), large ones run at the speed of the arithmetic (the pace is constant).
Measurements are kept in buckets, sixteen for each doubling of the size. Between two of them the pace is taken on the
line through both, size and pace in logarithms, which both regimes are lines in; beyond the ends, the pace of the end.
What makes a piece slower than it was once (a first time at a size, others' work) counts little by little; what was
faster counts at once. A variant never measured goes by the plain way's pace, decoding a clip by a still's. Before
anything was measured, priors of the right order of magnitude stand in, marked as such.
"""

import json
import logging
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wanworker.generator.estimate import StageWork
from wanworker.generator.request import Stage, StageSeconds

_LOGGER = logging.getLogger("wanworker.generator.costs")
_NEWEST_WEIGHT = 0.3
_VERSION = 5
_BUCKETS_A_DOUBLING = 16
# Variants whose pace is taken for one that was never measured, the best first.
_STAND_INS = {Stage.DECODING: ("", "still")}

# Work a second of a device never measured: FLOPs, bytes (loading) or pixels (muxing).
_PRIORS: dict[str, dict[Stage, float]] = {
    "cpu": {
        Stage.LOADING_MODEL: 5e8,
        Stage.ENCODING_TEXT: 3e10,
        Stage.DENOISING: 4e10,
        Stage.DECODING: 3e10,
        Stage.MUXING: 1e7,
    },
    "cuda": {
        Stage.LOADING_MODEL: 1e9,
        Stage.ENCODING_TEXT: 1e14,
        Stage.DENOISING: 3e14,
        Stage.DECODING: 8e13,
        Stage.MUXING: 4e7,
    },
}


@dataclass(frozen=True)
class Prediction:
    """Seconds of a job, stage by stage."""

    stages: tuple[StageSeconds, ...]
    """In the order of work."""
    measured: bool
    """False if any of the stages that count stands on a prior."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(each.seconds for each in self.stages)


class CostModel:
    """Measured speeds. Safe to use from several threads."""

    def __init__(self, device_type: str, file: Path | None = None) -> None:
        """`file` keeps the measurements between processes; an unreadable one is begun anew."""
        self._priors = _PRIORS.get(device_type, _PRIORS["cuda"])
        self._file = file
        self._lock = threading.Lock()
        self._speeds: dict[str, dict[str, float]] = self._read()

    def observe(self, model: str, piece: StageWork, seconds: float) -> None:
        """Takes note that this work took this long. `model` names model, device and precision."""
        if piece.amount <= 0 or seconds <= 0:
            return
        bucket = _bucket(piece.size)
        measured = seconds / piece.amount
        with self._lock:
            buckets = self._speeds.setdefault(_key(model, piece), {})
            before = buckets.get(bucket)
            slower = 0.0 if before is None else max(0.0, measured - before)
            buckets[bucket] = min(measured, before or measured) + _NEWEST_WEIGHT * slower

    def predict(self, model: str, pieces: Sequence[StageWork]) -> Prediction:
        """Seconds for these pieces of work."""
        stages: dict[Stage, float] = {}
        measured = True
        for piece in pieces:
            pace = self._pace(model, piece)
            measured = measured and (pace is not None or piece.stage is Stage.LOADING_MODEL)
            seconds = piece.amount * (pace if pace is not None else 1 / self._priors[piece.stage])
            stages[piece.stage] = stages.get(piece.stage, 0.0) + seconds
        return Prediction(tuple(StageSeconds(*each) for each in stages.items()), measured)

    def knows(self, model: str, pieces: Sequence[StageWork]) -> bool:
        """True if each of these was measured at about its size; loading apart."""
        with self._lock:
            return all(
                _bucket(piece.size) in self._speeds.get(_key(model, piece), {})
                for piece in pieces
                if piece.stage is not Stage.LOADING_MODEL
            )

    def save(self) -> None:
        """Writes the measurements; a failure is logged, for it costs no job anything."""
        if self._file is None:
            return
        with self._lock:
            text = json.dumps({"version": _VERSION, "seconds_per_unit": self._speeds}, indent=1, sort_keys=True)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(text)
            temporary.replace(self._file)
        except OSError as error:
            _LOGGER.warning("Measured speeds are not kept: %s", error)

    def _pace(self, model: str, piece: StageWork) -> float | None:
        with self._lock:
            ways = (piece, *(replace(piece, variant=way) for way in _STAND_INS.get(piece.stage, ("",))))
            buckets = next(filter(None, (self._speeds.get(_key(model, way)) for way in ways)), None)
            if not buckets:
                return None
            points = sorted((int(bucket) / _BUCKETS_A_DOUBLING, math.log2(pace)) for bucket, pace in buckets.items())
        return 2 ** _on_the_line(points, math.log2(max(piece.size, 1.0)))

    def _read(self) -> dict[str, dict[str, float]]:
        if self._file is None:
            return {}
        try:
            data = json.loads(self._file.read_text())
            if data["version"] != _VERSION:
                return {}
            return {
                str(key): {str(int(bucket)): float(pace) for bucket, pace in buckets.items()}
                for key, buckets in data["seconds_per_unit"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _LOGGER.warning("Measured speeds in %s cannot be read, measuring anew: %s", self._file, error)
            return {}


def _key(model: str, piece: StageWork) -> str:
    return "|".join(filter(None, (model, piece.stage.name, piece.variant)))


def _bucket(size: float) -> str:
    return str(round(_BUCKETS_A_DOUBLING * math.log2(max(size, 1.0))))


def _on_the_line(points: Sequence[tuple[float, float]], wanted: float) -> float:
    """The height at `wanted` of the lines between points that are sorted; see the module for what is beyond them."""
    if wanted <= points[0][0] or len(points) == 1:
        return points[0][1]
    if wanted >= points[-1][0]:
        return points[-1][1]
    right = next(index for index, (at, _) in enumerate(points) if at >= wanted)
    (left_at, left), (right_at, height) = points[right - 1], points[right]
    return height + (height - left) / (right_at - left_at) * (wanted - right_at)
