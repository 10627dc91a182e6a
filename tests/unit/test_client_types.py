"""Arguments become specs, messages become typed values."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from tests.support.client import good_run, job
from wanworker.client import conversions, enums
from wanworker.client.conversions import (
    event_from_proto,
    job_from_proto,
    spec_from_proto,
    spec_to_proto,
)
from wanworker.client.spec import SpecOptions, make_spec
from wanworker.client.types import JobSpec
from wanworker.v1 import enhancer_pb2, gateway_pb2, generator_pb2, types_pb2

FULL: dict[str, Any] = {
    "negative_prompt": "text",
    "job_type": "video_high",
    "quality": enums.Quality.BALANCED,
    "size": (256, 144),
    "duration": timedelta(seconds=2.5),
    "fps": 12,
    "steps": 7,
    "guidance_scale": 1,
    "seed": 0,
    "model": "demo",
    "reference_image": b"png",
    "enhance": False,
    "on_bad_reference": "reject",
    "degradation": "SAME_OUTPUT_ONLY",
    "request_id": "9f0e9a5e-8a2b-4a6f-9a53-7a7d0d5c4b11",
    "format": "mp4",
}


def spec(**options: Any) -> JobSpec:
    return make_spec("a red ball", SpecOptions(**options))  # type: ignore[typeddict-item]


def test_every_argument_reaches_the_message_and_comes_back() -> None:
    message = spec_to_proto(spec(**FULL))
    unset = [field.name for field, _ in message.ListFields()]
    assert set(unset) == {field.name for field in gateway_pb2.JobSpec.DESCRIPTOR.fields}
    assert message.seed == 0
    assert message.HasField("seed")
    assert message.duration.ToTimedelta() == timedelta(seconds=2.5)
    assert message.job_type == gateway_pb2.JOB_TYPE_VIDEO_HIGH
    assert message.degradation == gateway_pb2.DEGRADATION_POLICY_SAME_OUTPUT_ONLY
    assert spec_from_proto(message) == spec(**FULL)


def test_what_is_left_out_stays_out() -> None:
    message = spec_to_proto(spec(seed=None, model="", enhance=None))
    assert [field.name for field, _ in message.ListFields()] == ["prompt", "request_id"]
    assert spec().request_id != spec().request_id


def test_a_spec_can_be_made_again_with_changes() -> None:
    first = spec(**FULL)
    again = make_spec(first, SpecOptions(seed=2))
    assert (again.seed, again.steps) == (2, 7)
    assert again.request_id != first.request_id
    assert make_spec(first, SpecOptions()) == first


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"fps": "12"}, TypeError, "fps must be an int, not str"),
        ({"fps": True}, TypeError, "fps must be an int, not bool"),
        ({"fps": 12.0}, TypeError, "fps must be an int, not float"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
        ({"size": "256x144"}, TypeError, r"size must be \(width, height\)"),
        ({"size": (1, 2, 3)}, TypeError, r"size must be \(width, height\)"),
        ({"duration": "2s"}, TypeError, "duration must be a number, not str"),
        ({"quality": "best"}, ValueError, "'best' is not a Quality; accepted are fast, balanced, high"),
        ({"quality": 3}, TypeError, "Quality expected, not int"),
        ({"enhance": "no"}, TypeError, "enhance must be True, False or None, not str"),
        ({"reference_image": 3}, TypeError, "reference_image must be bytes, an https URL or a Path, not int"),
        ({"colour": "red"}, TypeError, "unknown argument colour; known are"),
    ],
)
def test_type_mistakes_are_told_at_once(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        spec(**options)
    with pytest.raises(TypeError, match="prompt must be a str"):
        make_spec(3, SpecOptions())  # type: ignore[arg-type]


def test_images_are_bytes_urls_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "first.png"
    file.write_bytes(b"png")
    assert spec_to_proto(spec(reference_image=file)).reference_image.data == b"png"
    url = "https://example.org/first.png"
    assert spec_to_proto(spec(reference_image=url)).reference_image.url == url
    assert spec_from_proto(spec_to_proto(spec(reference_image=url))).reference_image == url


def test_enums_are_those_of_the_protos() -> None:
    for kind, prefix in conversions._PREFIXES.items():
        numbers = {member.name: conversions._NUMBERS[member] for member in kind}
        name = prefix.rstrip("_").title().replace("_", "")
        modules = (gateway_pb2, types_pb2, generator_pb2, enhancer_pb2)
        proto = next(getattr(module, name) for module in modules if hasattr(module, name))
        theirs = {key.removeprefix(prefix): value for key, value in proto.items()}
        if "UNSPECIFIED" not in numbers:
            del theirs["UNSPECIFIED"]
        assert numbers == theirs


def test_every_field_of_a_job_has_an_attribute() -> None:
    made = job_from_proto(job("SUCCEEDED"))
    for field in gateway_pb2.Job.DESCRIPTOR.fields:
        assert hasattr(made, field.name)
    for field in gateway_pb2.Delivered.DESCRIPTOR.fields:
        assert hasattr(made.delivered, field.name)
    assert made.create_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert made.start_time is None
    assert made.delivered is not None
    assert made.delivered.duration == 2.062
    assert made.degradations[0].after.memory.tiled_decode
    assert not made.degradations[0].before.memory.tiled_decode


def test_newer_services_do_no_harm() -> None:
    newer = job("RUNNING")
    newer.state = 77  # type: ignore[assignment]
    assert job_from_proto(newer).state is enums.JobState.UNSPECIFIED
    assert not job_from_proto(newer).state.is_final
    assert event_from_proto(gateway_pb2.JobEvent(sequence=1)) is None


def test_every_kind_of_event_has_a_class() -> None:
    kinds = {field.name for field in gateway_pb2.JobEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    messages = [event for event in good_run() if isinstance(event, gateway_pb2.JobEvent)]
    assert {message.WhichOneof("event") for message in messages} == kinds
    events = [event_from_proto(message) for message in messages]
    assert len({type(event) for event in events}) == len(kinds)
    assert all(event is not None and event.raw is message for event, message in zip(events, messages, strict=True))


def test_optional_fields_are_optional_here_too() -> None:
    """Zero means something in these, so that None has to say that they are absent."""
    empty = spec_from_proto(gateway_pb2.JobSpec(prompt="x"))
    for field in gateway_pb2.JobSpec.DESCRIPTOR.fields:
        if field.has_presence and field.type != FieldDescriptor.TYPE_MESSAGE:
            name = "size" if field.name in ("width", "height") else field.name
            assert getattr(empty, name) is None


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; begin = time.perf_counter(); import wanworker.client; "
        "took = time.perf_counter() - begin; "
        "heavy = {'torch', 'llama_cpp', 'dbos', 'diffusers', 'opentelemetry', 'typer', 'rich', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)), took < 1.0, took)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_path())
    assert done.stdout.startswith("[] True"), done.stdout


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}
