"""Options: what is accepted, and refusals that name the option and what is accepted."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from wanworker.client.cli import formats, parsing
from wanworker.client.cli.app import app
from wanworker.client.enums import JobType, OutputFormat, Stage
from wanworker.client.types import StageDuration
from wanworker.v1 import types_pb2


@pytest.mark.parametrize(("text", "size"), [("256x144", (256, 144)), ("1280X720", (1280, 720)), ("64 × 64", (64, 64))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parsing.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2.0), ("2", 2.0), ("2.5s", 2.5), ("500ms", 0.5), (" .5 s ", 0.5), ("3 sec", 3.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parsing.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--size", "256"], ["--size", "'256'", "WIDTHxHEIGHT", "256x144"]),
        (["--size", "ax144"], ["--size", "'ax144'"]),
        (["--duration", "2 minutes"], ["--duration", "'2 minutes'", "2s, 2.5s or 500ms"]),
        (["--duration", "-1s"], ["--duration", "'-1s'"]),
        (["--job-type", "film"], ["--job-type", "'film'", "image-fast, image-high, video-fast, video-high"]),
        (["--quality", "best"], ["--quality", "'best'", "fast, balanced, high"]),
        (["--degradation", "x"], ["--degradation", "allowed, same-output-only, forbidden"]),
        (["--on-bad-reference", "x"], ["--on-bad-reference", "text-to-video, reject"]),
        (["--fps", "many"], ["--fps", "integer"]),
        (["--seed", "-1"], ["--seed"]),
        (["--image", "no-such.png"], ["--image", "no-such.png", "No such file", "https://"]),
        (["--image", "http://example.org/x.png"], ["--image", "no https URL"]),
        (["-o", "x.png"], ["--output", "x.png", ".mp4", "--job-type image-fast"]),
        (["-o", "x.mp4", "--job-type", "image_high"], ["--output", "x.mp4", ".png or .webp"]),
        (["-o", "no-such/x.mp4"], ["--output", "no-such"]),
    ],
)
def test_refusals_name_the_option_and_what_is_accepted(arguments: list[str], parts: list[str]) -> None:
    result = CliRunner().invoke(app, ["generate", "a ball", *arguments, "--address", "127.0.0.1:1"])
    assert result.exit_code == 2
    text = " ".join(result.stderr.split())
    for part in parts:
        assert part in text


def test_images_are_read_and_limited(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(b"png")
    assert parsing.parse_image(str(file)) == b"png"
    assert parsing.parse_image("https://example.org/x.png") == "https://example.org/x.png"
    file.write_bytes(bytes(3 * 1024 * 1024 + 1))
    with pytest.raises(typer.BadParameter, match="3 MiB"):
        parsing.parse_image(str(file))


def test_the_name_decides_the_format(tmp_path: Path) -> None:
    assert parsing.output_format(None, JobType.IMAGE_FAST) is None
    assert parsing.output_format(tmp_path, None) is None
    assert parsing.output_format(tmp_path / "x.mp4", None) is OutputFormat.MP4
    assert parsing.output_format(tmp_path / "x.PNG", JobType.IMAGE_HIGH) is OutputFormat.PNG
    assert parsing.output_format(tmp_path / "x.webp", JobType.IMAGE_FAST) is OutputFormat.WEBP


def test_numbers_for_people() -> None:
    assert [formats.seconds_text(s) for s in (0.04, 9.94, 9.96, 61, 7805)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 01 s", "2 h 10 min",
    ]  # fmt: skip
    assert [formats.bytes_text(n) for n in (0, 1023, 62669, 2**31)] == ["0 B", "1023 B", "61.2 KiB", "2.0 GiB"]
    assert [formats.bar(share, 2) for share in (0, 0.25, 0.5, 1, 7)] == ["", "▌", "█", "██", "██"]
    rows = formats.stage_rows((StageDuration(Stage.DENOISING, 3.0), StageDuration(Stage.DECODING, 1.0)))
    assert rows[0] == ("denoising", "3.0 s", "█" * 18)
    assert set(formats.STAGE_TEXT) == set(Stage)


def test_json_is_protobufs_own_with_the_names_of_the_protos() -> None:
    message = types_pb2.Progress(total_steps=3, fraction=0.5)
    assert formats.as_dict(message) == {"total_steps": 3, "fraction": 0.5}


@pytest.mark.parametrize(
    "command",
    ["generate", "estimate", "enhance", "status", "up", "demo"]
    + [f"jobs {name}" for name in ("list", "get", "watch", "cancel", "download")],
)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
