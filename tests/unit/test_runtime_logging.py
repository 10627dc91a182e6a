"""Log lines."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from wanworker.runtime.logging import bind, setup_logging
from wanworker.runtime.settings import ServiceSettings

LOG = logging.getLogger("wanworker.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Takes back what `setup_logging` does to the process."""
    root, ours = logging.getLogger(), logging.getLogger("wanworker")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logging_to(stream: io.StringIO, **values: Any) -> io.StringIO:
    setup_logging(ServiceSettings(**values), "wanworker-test", stream)
    return stream


def test_lines_are_json_away_from_a_terminal() -> None:
    out = logging_to(io.StringIO())
    LOG.info("%d\nlines", 2, extra={"model": "demo"})
    (line,) = out.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "INFO",
        "logger": "wanworker.test",
        "service": "wanworker-test",
        "message": "2\nlines",
        "model": "demo",
    }


def test_lines_are_text_on_a_terminal() -> None:
    out = logging_to(FakeTerminal())
    LOG.warning("careful", extra={"model": "demo"})
    assert "wanworker.test: careful model=demo\n" in out.getvalue()
    assert "\x1b[33mWARNING" in out.getvalue()


@pytest.mark.parametrize(("given", "is_json"), [("json", True), ("text", False)])
def test_the_format_can_be_set(given: str, is_json: bool) -> None:
    out = logging_to(FakeTerminal() if is_json else io.StringIO(), log_format=given)
    LOG.info("hello")
    assert out.getvalue().startswith("{") is is_json
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("given", ["json", "text"])
def test_tracebacks_are_kept(given: str) -> None:
    out = logging_to(io.StringIO(), log_format=given)
    try:
        raise KeyError("lost")
    except KeyError:
        LOG.exception("failed")
    assert "Traceback" in out.getvalue()
    assert "KeyError: 'lost'" in out.getvalue()
    if given == "json":
        assert len(out.getvalue().splitlines()) == 1


def test_lines_inside_a_span_name_it() -> None:
    out = logging_to(io.StringIO())
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work") as span:
        LOG.info("inside")
    LOG.info("outside")
    inside, outside = (json.loads(line) for line in out.getvalue().splitlines())
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


async def test_bound_fields_stay_in_their_task() -> None:
    out = logging_to(io.StringIO())

    async def work(job_id: str) -> None:
        bind(job_id=job_id)
        await asyncio.sleep(0)
        LOG.info("working")

    await asyncio.gather(*(asyncio.create_task(work(name)) for name in ("a", "b")))
    LOG.info("done")
    first, second, last = (json.loads(line) for line in out.getvalue().splitlines())
    assert {first["job_id"], second["job_id"]} == {"a", "b"}
    assert "job_id" not in last


def test_levels() -> None:
    out = logging_to(io.StringIO(), log_level="WARNING")
    LOG.info("ours, quiet")
    logging.getLogger("theirs").info("theirs, quiet")
    logging.getLogger("theirs").warning("theirs, loud")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["theirs, loud"]


def test_a_field_that_is_no_json_is_shown_all_the_same() -> None:
    out = logging_to(io.StringIO())
    LOG.info("x", extra={"thing": {1, 2}, "service": "not the service"})
    fields = json.loads(out.getvalue())
    assert fields["thing"] == "{1, 2}"
    assert fields["service"] == "wanworker-test"
