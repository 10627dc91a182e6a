"""What the dashboard and the alerts ask for is really there."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.ops import asked_for
from tests.support.system import SERVICES, System

WITH_A_DEVICE = {
    *(f"wanworker_device_memory_{counter}_bytes" for counter in ("allocated", "reserved", "free")),
    "wanworker_memory_peak_bytes_bucket",
}
"""The CPU does not count its memory."""


def exposed(system: System, service: str) -> dict[str, list[dict[str, str]]]:
    """The samples of a service: name to labels."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(system.metrics(service)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_the_services_expose_every_metric_that_is_asked_for(system: System, tmp_path: Path) -> None:
    done = system.cli(
        "generate", "a blue square", "--size", "128x64", "--duration", "0.7s", "--fps", "12",
        "--output", str(tmp_path / "metrics.mp4"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    samples = {service: exposed(system, service) for service in SERVICES}
    there = set[str]().union(*samples.values())
    assert asked_for() - WITH_A_DEVICE - there == set()
    gateway = samples["gateway"]
    ended = {(row["wanworker_job_state"], row["wanworker_reason"]) for row in gateway["wanworker_jobs_total"]}
    assert {("SUCCEEDED", ""), ("FAILED", "GPU_OUT_OF_MEMORY"), ("CANCELLED", "")} <= ended
    assert {row["state"] for row in gateway["wanworker_disk_space_bytes"]} == {"free", "used"}
    stages = {
        row["wanworker_stage"]
        for service in ("gateway", "generator")
        for row in samples[service]["wanworker_stage_duration_seconds_count"]
    }
    assert {"ENHANCING", "ENCODING_TEXT", "DENOISING", "DECODING", "MUXING", "STORING"} <= stages
    for service in SERVICES:
        assert {row["rpc_response_status_code"] for row in samples[service]["rpc_server_call_duration_seconds_count"]}
