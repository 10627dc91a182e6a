"""The file of API keys, and how much a key may do."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from wanworker.client.cli.app import app
from wanworker.gateway.keys import ApiKeys, read_keys
from wanworker.runtime.errors import ExhaustedError, PreconditionError
from wanworker.runtime.interceptors import CallLimits, LimitInterceptor

LIMITS = CallLimits(600, 32)
DIGEST = "sha256:" + "ab" * 32


def keys_new(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["keys", "new", *arguments], env={"COLUMNS": "200", **environment})


async def test_a_key_that_the_command_line_made_is_known_to_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    made = [keys_new(name, "--file", str(path)) for name in ("alice", "render-farm.2")]
    assert [result.exit_code for result in made] == [0, 0]
    authenticator = ApiKeys(path, LIMITS)
    for result, name in zip(made, ("alice", "render-farm.2"), strict=True):
        key = result.stdout.strip()
        assert re.fullmatch(r"wan_[A-Za-z0-9_-]{43}", key)
        assert key not in path.read_text()
        assert key not in result.stderr
        principal = await authenticator.authenticate({"authorization": f"Bearer {key}"}, "any")
        assert (principal.name, principal.limits) == (name, LIMITS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_the_line_is_shown(tmp_path: Path) -> None:
    result = keys_new("alice")
    line = result.stderr.splitlines()[1]
    (tmp_path / "keys").write_text(line)
    assert [key.name for key in read_keys(tmp_path / "keys", LIMITS)] == ["alice"]


def test_the_variable_names_the_file_and_a_torn_last_line_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"bob {DIGEST}")
    assert keys_new("alice", WANWORKER_GATEWAY_API_KEYS=str(path)).exit_code == 0
    assert [key.name for key in read_keys(path, LIMITS)] == ["bob", "alice"]


@pytest.mark.parametrize("name", ["", "a b", "-a", "a:b", "ä", "x" * 65])
def test_a_name_that_the_file_could_not_hold_is_refused(name: str) -> None:
    result = keys_new("--", name)
    assert result.exit_code == 2
    assert "1 to 64 letters" in result.stderr


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = keys_new("alice", "--file", str(tmp_path / "no" / "keys"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    assert "wan_" not in result.stdout


def test_lines_may_have_limits_and_names_may_have_several_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\na {DIGEST} calls_per_minute=5\na sha256:{'cd' * 32}  calls_per_minute=5\nb {DIGEST}\n")
    keys = read_keys(path, LIMITS)
    assert [(key.name, key.limits.calls_per_minute, key.limits.concurrent_calls) for key in keys] == [
        ("a", 5, 32),
        ("a", 5, 32),
        ("b", 600, 32),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("alice", "line 1: after the name 'alice' comes sha256:"),
        (f"\nal/ice {DIGEST}", "line 2: a name is 1 to 64"),
        ("alice wan_secret", "line 1: after the name 'alice' comes sha256:"),
        (f"alice {DIGEST.upper()}", "line 1: after the name"),
        (f"alice {DIGEST} calls_per_minute=0", "line 1: limits are"),
        (f"alice {DIGEST} calls=1", "line 1: limits are"),
        (f"a {DIGEST}\na {DIGEST} concurrent_calls=1", "line 2: 'a' has other limits on an earlier line"),
    ],
)
def test_what_makes_no_sense_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(PreconditionError) as caught:
        read_keys(path, LIMITS)
    assert said in str(caught.value)
    assert "wan_secret" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PreconditionError, match="it is not UTF-8"):
        read_keys(path, LIMITS)


def test_the_bucket_fills_with_time() -> None:
    moment = 0.0
    limiter = LimitInterceptor(lambda: moment)
    limits = CallLimits(calls_per_minute=60, concurrent_calls=100)

    def calls() -> int:
        for count in range(1000):
            try:
                limiter._begin("alice", limits).running -= 1
            except ExhaustedError as error:
                assert error.retry_after_seconds == pytest.approx(1.0)
                return count
        raise AssertionError("no limit")

    assert calls() == 60
    moment = 10.0
    assert calls() == 10
    moment = 100_000.0
    assert calls() == 60
