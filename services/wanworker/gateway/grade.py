"""Grading a result: a pure function from measurements to warnings."""

from dataclasses import dataclass

from wanworker.gateway.generation import Made
from wanworker.gateway.model import Warning

BLACK_LUMA = 0.03
"""Mean luma under which a result counts as black; limited-range black with noise stays below it."""

FLAT_DEVIATION = 0.005
"""Deviation of luma under which a picture shows nothing: one or two of 256 grey levels."""

FROZEN_DIFFERENCE = 0.0005
"""Mean difference of neighbouring frames under which a video stands still: an eighth of a grey level."""

BYTES_PER_PIXEL_SECOND = 1_000_000 / (1280 * 720 * 5)
"""1 MB for 1280x720 and 5 s, as the design has it, scaled by area and length."""


@dataclass(frozen=True)
class Result:
    """What is graded."""

    made: Made
    """What the generator measured."""
    elapsed_seconds: float
    """From the start of work to the stored file."""
    slow_seconds: float
    """More than this is slow."""


def grade(result: Result) -> tuple[Warning, ...]:
    """Everything that is odd about a result, worst first."""
    return _pictures(result.made) + _file(result.made) + _pace(result)


def _pictures(made: Made) -> tuple[Warning, ...]:
    statistics = made.statistics
    values = (statistics.mean_luma, statistics.luma_deviation, statistics.mean_frame_difference)
    if any(value != value for value in values):
        return (Warning("NOT_A_NUMBER", "the frames hold values that are not numbers"),)
    found: list[Warning] = []
    if statistics.mean_luma < BLACK_LUMA:
        found.append(Warning("BLACK_FRAMES", f"the result is black: mean luma {statistics.mean_luma:.3f}"))
    elif statistics.luma_deviation < FLAT_DEVIATION:
        found.append(Warning("FLAT_FRAMES", f"the result shows nothing: deviation {statistics.luma_deviation:.4f}"))
    if made.settings.frames > 1 and statistics.mean_frame_difference < FROZEN_DIFFERENCE:
        difference = statistics.mean_frame_difference
        found.append(Warning("FROZEN_VIDEO", f"nothing moves: mean frame difference {difference:.5f}"))
    return tuple(found)


def _file(made: Made) -> tuple[Warning, ...]:
    settings = made.settings
    if settings.frames == 1:
        return ()
    expected = made.width * made.height * settings.frames / settings.fps * BYTES_PER_PIXEL_SECOND
    if made.size_bytes >= expected:
        return ()
    return (Warning("SMALL_FILE", f"{made.size_bytes} bytes, where its size and length imply {expected:.0f}"),)


def _pace(result: Result) -> tuple[Warning, ...]:
    if result.elapsed_seconds <= result.slow_seconds:
        return ()
    return (Warning("SLOW_JOB", f"took {result.elapsed_seconds:.0f} s, more than {result.slow_seconds:.0f} s"),)
