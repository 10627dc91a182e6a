"""Plots of what the GPU benchmark prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts import plot_benchmarks

MACHINE = {"part": "machine", "name": "FakeGPU", "torch": "2.13.0"}
STAGES = {"encode s": 0.1, "denoise s": 20.0, "decode s": 2.0, "mux s": 0.5, "end to end s": 23.0, "floor s": 15.0}
COMPARED = [{"part": "compare", "name": name, **STAGES} for name in ("high-480p ours", "high-480p plain")]
PREDICTED = [
    {"part": "predict", "name": "480p", "peak GiB": 12.0, "predicted GiB": 12.5, "took s": 5.0, "predicted s": 6.0},
    {"part": "predict", "name": "1088p", "predicted GiB": 40.0, "failed": "OutOfMemoryError"},
]


def written(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    path = tmp_path / "log"
    path.write_text("compare\n  what people read\n" + "".join(f"  {json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("lines", "plots"),
    [
        ([MACHINE, *COMPARED, *PREDICTED], {"end_to_end.png", "estimates.png"}),
        (COMPARED, {"end_to_end.png"}),
        ([MACHINE, *PREDICTED[1:]], set()),
    ],
)
def test_what_was_measured_is_drawn(lines: list[dict[str, Any]], plots: set[str], tmp_path: Path) -> None:
    plot_benchmarks.main(written(tmp_path, lines), tmp_path / "plots")
    assert {each.name for each in (tmp_path / "plots").iterdir()} == plots
    for name in plots:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert picture.width > 500
            darkest, lightest = picture.convert("L").getextrema()
            assert (darkest, lightest) == (0, 255)


def test_json_lines_are_found_among_the_rest(tmp_path: Path) -> None:
    assert plot_benchmarks.read(written(tmp_path, [MACHINE, *COMPARED])) == [MACHINE, *COMPARED]
