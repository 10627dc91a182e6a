"""One running system for all end-to-end tests, with an OTLP receiver that its spans go to."""

from collections.abc import Iterator

import pytest

from tests.support.otlp import Receiver, otlp_receiver
from tests.support.system import System, running_system


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[System]:
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with running_system(tmp_path_factory.mktemp("system"), telemetry) as running:
        yield running
