"""The metrics of this process."""

from dataclasses import dataclass
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

_readers: list[InMemoryMetricReader] = []


@dataclass(frozen=True)
class Measured:
    """Values since `measured()`; there is one meter provider a process, and its counters never go back."""

    before: dict[tuple[str, frozenset[tuple[str, Any]]], float]

    def of(self, name: str, **attributes: str) -> float:
        """The sum of a metric's values whose attributes include these; of a histogram the number of values."""
        return _sum(_collected(), name, attributes) - _sum(self.before, name, attributes)

    def now(self, name: str, **attributes: str) -> float:
        """The same as it stands, for gauges."""
        return _sum(_collected(), name, attributes)


def measured() -> Measured:
    """Begins to count."""
    if not _readers:
        _readers.append(InMemoryMetricReader())
        metrics.set_meter_provider(MeterProvider(_readers, shutdown_on_exit=False))
    return Measured(_collected())


def _collected() -> dict[tuple[str, frozenset[tuple[str, Any]]], float]:
    data: Any = _readers[0].get_metrics_data()
    return {
        (metric.name, frozenset(point.attributes.items())): point.count if hasattr(point, "count") else point.value
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def _sum(values: dict[tuple[str, frozenset[tuple[str, Any]]], float], name: str, attributes: dict[str, str]) -> float:
    wanted = {(key.replace("__", "."), value) for key, value in attributes.items()}
    return sum(value for (known, labels), value in values.items() if known == name and wanted <= labels)
