"""A gRPC client that nobody here wrote: `buf curl`, with the schema that the gateway tells it by reflection."""

import base64
import json
from typing import Any

from google.rpc import error_details_pb2

from tests.support.system import System

RUN_JOB = "wanworker.v1.GatewayService/RunJob"
SMALL = {"width": 128, "height": 64, "duration": "0.7s", "fps": 12, "steps": 2, "seed": "3"}


def json_stream(text: str) -> list[dict[str, Any]]:
    """JSON values that stand one after the other."""
    decoder, values, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at + (len(text[at:]) - len(text[at:].lstrip())))
        values.append(value)
    return values


def test_methods_are_listed_by_reflection(system: System) -> None:
    for service, methods in {
        "gateway": ("CreateJob", "RunJob", "WatchJob", "ReadArtifact", "EstimateJob"),
        "enhancer": ("Enhance", "GetStatus", "Unload"),
        "generator": ("Generate", "Estimate", "GetStatus"),
    }.items():
        done = system.buf_curl(service, "")
        assert done.returncode == 0, done.stderr
        for method in methods:
            assert f"wanworker.v1.{service.capitalize()}Service/{method}" in done.stdout


def test_run_job_streams_to_a_final_snapshot(system: System) -> None:
    done = system.buf_curl("gateway", RUN_JOB, {"spec": {"prompt": "a red ball", "enhance": False, **SMALL}})
    assert done.returncode == 0, done.stderr
    events = [message["event"] for message in json_stream(done.stdout)]
    assert events[0]["snapshot"]["spec"]["prompt"] == "a red ball"
    assert events[-1]["snapshot"]["state"] == "JOB_STATE_SUCCEEDED"
    assert events[-1]["snapshot"]["delivered"]["frames"] == 9


def test_bad_fields_come_as_bad_request_details(system: System) -> None:
    done = system.buf_curl("gateway", RUN_JOB, {"spec": {"prompt": " ", "fps": 99}})
    assert done.returncode != 0
    error = json.loads(done.stderr)
    assert error["code"] == "invalid_argument"
    details = {detail["type"]: detail for detail in error["details"]}
    assert set(details) == {"google.rpc.ErrorInfo", "google.rpc.BadRequest"}
    raw = details["google.rpc.BadRequest"]["value"]
    bad = error_details_pb2.BadRequest.FromString(base64.b64decode(raw + "=" * (-len(raw) % 4)))
    assert {violation.field for violation in bad.field_violations} == {"spec.prompt", "spec.fps"}
