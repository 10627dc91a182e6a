"""One number from 0 to 1 for a whole generation, weighted by the seconds that its stages take."""

import time
from collections.abc import Callable

from wanworker.generator.costs import Prediction
from wanworker.generator.request import Progress, Stage

_ALMOST_DONE = 0.999  # 1 is for the event that carries the result
_LEAST_CHANGE = 0.01


class ProgressTracker:
    """Turns "this stage is so far" into `Progress` events whose fraction never falls."""

    def __init__(
        self,
        prediction: Prediction,
        emit: Callable[[Progress], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._weights = {each.stage: each.seconds for each in prediction.stages}
        self._total = sum(self._weights.values()) or 1.0
        self._known = prediction.measured
        self._emit = emit
        self._clock = clock
        self._fraction = 0.0
        self._stage: Stage | None = None
        self._inner = 0.0
        self._started = 0.0
        self._pace = 1.0  # this job's seconds over the predicted ones, in denoising
        self._later_pace = 1.0  # the same for what comes after it

    def begin(self, stage: Stage, total_steps: int = 0) -> None:
        """The job enters a stage."""
        self._stage, self._inner, self._started = stage, 0.0, self._clock()
        self._send(0, total_steps)

    def advance(self, inner: float, step: int = 0, total_steps: int = 0) -> None:
        """The current stage is `inner` (0 to 1) done. Changes under a hundredth are dropped, unless a step ended."""
        if not step and inner < 1 and inner - self._inner < _LEAST_CHANGE:
            return
        self._inner = min(inner, 1.0)
        self._send(step, total_steps)

    def _send(self, step: int, total_steps: int) -> None:
        if self._stage is None:
            raise RuntimeError("progress before the first stage")
        done = self._before(self._stage) + self._weights.get(self._stage, 0.0) * self._inner
        self._fraction = max(self._fraction, min(done / self._total, _ALMOST_DONE))
        self._emit(Progress(self._stage, self._fraction, step, total_steps, self._eta(self._stage)))

    def _before(self, stage: Stage) -> float:
        """Weights of the stages that come earlier."""
        order = list(Stage)
        return sum(weight for each, weight in self._weights.items() if order.index(each) < order.index(stage))

    def _eta(self, stage: Stage) -> float | None:
        """Seconds left: the current stage at the pace of this very job, the rest as predicted.

        Priors are off by a common factor mostly, so the pace seen in denoising scales what comes after it.
        """
        weight = self._weights.get(stage, 0.0)
        elapsed = self._clock() - self._started
        if stage is Stage.DENOISING and self._inner > 0 and weight > 0:
            self._pace = elapsed / (self._inner * weight)
            if not self._known:
                self._known, self._later_pace = True, self._pace
        if not self._known:
            return None
        later = self._total - self._before(stage) - weight
        here = weight * (1 - self._inner) * (self._pace if stage is Stage.DENOISING else 1.0)
        return here + later * self._later_pace
