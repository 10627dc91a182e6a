"""The generator's metrics, declared in one place."""

from collections.abc import Callable, Iterable
from weakref import WeakSet

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from wanworker.generator.device import Device
from wanworker.generator.request import Result, Settings, Stage
from wanworker.runtime import names

_METER = metrics.get_meter("wanworker.generator")
_STAGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_STEP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60)
_STAGE = _METER.create_histogram(
    names.METRIC_STAGE_DURATION, "s", "Time of a stage", explicit_bucket_boundaries_advisory=_STAGE_BUCKETS
)
_STEP = _METER.create_histogram(
    names.METRIC_STEP_DURATION, "s", "Time of a denoising step", explicit_bucket_boundaries_advisory=_STEP_BUCKETS
)
_PEAK = _METER.create_histogram(names.METRIC_MEMORY_PEAK, "By", "Most device memory in use during a job")
_SIZE = _METER.create_histogram(names.METRIC_ARTIFACT_SIZE, "By", "Length of a finished file")


def record_stage(settings: Settings, stage: Stage, seconds: float) -> None:
    """A stage is over."""
    _STAGE.record(seconds, {names.ATTR_STAGE: stage.name, names.ATTR_MODEL: settings.model})


def record_step(settings: Settings, seconds: float) -> None:
    """A denoising step is over."""
    _STEP.record(seconds, {names.ATTR_MODEL: settings.model})


def record_result(result: Result) -> None:
    """A job is done."""
    attributes = {names.ATTR_MODEL: result.settings.model, names.ATTR_MEDIA_TYPE: result.format.value}
    _SIZE.record(len(result.file), attributes)
    if result.peak_memory_bytes:
        _PEAK.record(result.peak_memory_bytes, attributes)


_DEVICES: WeakSet[Device] = WeakSet()


def watch_device(device: Device) -> None:
    """Reports the memory of a device from now on, for as long as it is used."""
    _DEVICES.add(device)


def _observe(counter: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for device in list(_DEVICES):
            try:
                yield Observation(getattr(device.memory(), counter), {names.ATTR_DEVICE: device.label})
            except RuntimeError:
                return  # a lost device cannot be asked

    return observe


for _name, _counter, _text in (
    (names.METRIC_DEVICE_ALLOCATED, "allocated", "Device memory in use by tensors"),
    (names.METRIC_DEVICE_RESERVED, "reserved", "Device memory held by the allocator"),
    (names.METRIC_DEVICE_FREE, "free", "Device memory that a job could take"),
):
    _METER.create_observable_gauge(_name, [_observe(_counter)], "By", _text)
