"""The gateway's metrics, declared in one place."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from wanworker.gateway.asked import JobType
from wanworker.gateway.generation import Stage
from wanworker.gateway.ladder import LADDER
from wanworker.gateway.model import Degradation, Job, JobState, Warning
from wanworker.runtime import names

_OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
_METER = metrics.get_meter("wanworker.gateway")
_JOBS = _METER.create_counter(
    names.METRIC_JOBS, unit="{job}", description="Jobs that ended, by state, type and, where they failed, reason."
)
_BUCKETS_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 180, 300, 450, 600, 900, 1800, 3600)
"""From a cached prompt to an hour."""
_DURATION = _METER.create_histogram(
    names.METRIC_JOB_DURATION,
    unit="s",
    description="From creation to the end.",
    explicit_bucket_boundaries_advisory=_BUCKETS_SECONDS,
)
_WAIT = _METER.create_histogram(
    names.METRIC_QUEUE_WAIT,
    unit="s",
    description="From creation to the start of work.",
    explicit_bucket_boundaries_advisory=_BUCKETS_SECONDS,
)
_STAGE = _METER.create_histogram(
    names.METRIC_STAGE_DURATION,
    unit="s",
    description="Time of the stages that are the gateway's: enhancing and storing.",
    explicit_bucket_boundaries_advisory=_BUCKETS_SECONDS,
)
_OUR_STAGES = (Stage.ENHANCING, Stage.STORING)
_WARNINGS = _METER.create_counter(names.METRIC_WARNINGS, unit="{warning}", description="Warnings, by reason.")
_DEGRADATIONS = _METER.create_counter(names.METRIC_DEGRADATIONS, unit="{rung}", description="Rungs taken, by name.")
_SIZE = _METER.create_histogram(
    names.METRIC_ARTIFACT_SIZE,
    unit="By",
    description="Length of stored files.",
    explicit_bucket_boundaries_advisory=[10**n * m for n in (4, 5, 6, 7, 8) for m in (1, 3)],
)
_WATCHED_REASONS = ("BLACK_FRAMES", "ENHANCER_TIMEOUT", "ENHANCER_UNAVAILABLE", "GENERATOR_UNAVAILABLE", "SLOW_JOB")


@dataclass(frozen=True)
class Gauges:
    """What is measured when somebody asks, on the asking thread."""

    tally: Callable[[], tuple[int, int]]
    """Jobs that wait and jobs that run, where this gateway is the one that works."""
    queue_limit: int
    """Jobs that may wait."""
    folder: Path
    """Where files are stored."""


_gauges: Gauges | None = None


def _observe_length(options: CallbackOptions) -> Iterable[Observation]:
    if _gauges is not None:
        yield Observation(_gauges.tally()[0])


def _observe_running(options: CallbackOptions) -> Iterable[Observation]:
    if _gauges is not None:
        yield Observation(_gauges.tally()[1])


def _observe_limit(options: CallbackOptions) -> Iterable[Observation]:
    if _gauges is not None:
        yield Observation(_gauges.queue_limit)


def _observe_disk(options: CallbackOptions) -> Iterable[Observation]:
    if _gauges is None:
        return
    try:
        usage = shutil.disk_usage(_gauges.folder)
    except OSError:
        # The folder is gone: no value says so better than a wrong one.
        return
    # What root keeps for itself is neither free nor, to us, used.
    yield Observation(usage.free, {names.ATTR_STATE: "free"})
    yield Observation(usage.total - usage.free, {names.ATTR_STATE: "used"})


for _name, _observe, _unit, _description in (
    (names.METRIC_QUEUE_LENGTH, _observe_length, "{job}", "Jobs that wait."),
    (names.METRIC_QUEUE_LIMIT, _observe_limit, "{job}", "Jobs that may wait."),
    (names.METRIC_JOBS_RUNNING, _observe_running, "{job}", "Jobs that are worked on."),
    (names.METRIC_DISK, _observe_disk, "By", "Space where files are stored."),
):
    _METER.create_observable_gauge(_name, callbacks=[_observe], unit=_unit, description=_description)


def begin(gauges: Gauges) -> None:
    """Measure from now on. Counters that alerts look at begin at 0: one that is born at 1 shows no increase."""
    global _gauges
    _gauges = gauges
    for job_type in JobType:
        if job_type is not JobType.UNSPECIFIED:
            for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
                _JOBS.add(0, _ended(state, job_type, ""))
            _JOBS.add(0, _ended(JobState.FAILED, job_type, _OUT_OF_MEMORY))
    for reason in _WATCHED_REASONS:
        _WARNINGS.add(0, {names.ATTR_REASON: reason})
    for rung in LADDER:
        _DEGRADATIONS.add(0, {names.ATTR_RUNG: rung.name})


def job_ended(job: Job) -> None:
    """Count a job that has reached its final state."""
    attributes = _ended(job.state, _type(job), job.failure.reason if job.failure else "")
    _JOBS.add(1, attributes)
    if job.finish_time is not None:
        _DURATION.record((job.finish_time - job.create_time).total_seconds(), attributes)
    if job.artifact is not None:
        _SIZE.record(job.artifact.size_bytes, {names.ATTR_MEDIA_TYPE: job.artifact.media_type})
    for row in job.stages:
        if row.stage in _OUR_STAGES:
            _STAGE.record(row.seconds, {names.ATTR_STAGE: row.stage.name})


def job_begun(job: Job) -> None:
    """Measure how long a job has waited."""
    if job.start_time is not None:
        _WAIT.record((job.start_time - job.create_time).total_seconds(), {names.ATTR_JOB_TYPE: _type(job).name})


def _ended(state: JobState, job_type: JobType, reason: str) -> dict[str, str]:
    return {names.ATTR_JOB_STATE: state.name, names.ATTR_JOB_TYPE: job_type.name, names.ATTR_REASON: reason}


def warned(warning: Warning) -> None:
    """Count a warning."""
    _WARNINGS.add(1, {names.ATTR_REASON: warning.reason})


def degraded(degradation: Degradation) -> None:
    """Count a rung of the ladder."""
    _DEGRADATIONS.add(1, {names.ATTR_RUNG: degradation.rung})


def _type(job: Job) -> JobType:
    return job.spec.job_type or JobType.VIDEO_FAST
