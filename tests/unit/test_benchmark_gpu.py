"""The GPU benchmark runs: tiny networks on the CPU, and a polite word where there is no GPU."""

import json
import sys

import pytest
import torch

from benchmarks import gpu


@pytest.mark.parametrize(
    ("part", "rows"),
    [("compare", ["fast-480p ours", "fast-480p plain"]), ("predict", []), ("share", ["the same bytes"])],
)
def test_toy(part: str, rows: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--toy", "--part", part, "--only", "fast-480p"])
    gpu.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("{")]
    machine = lines.pop(0)
    assert (machine["part"], machine["attention"], machine["name"]) == ("machine", "native", "cpu, toy")
    assert all(line["part"] == part and "failed" not in line for line in lines)
    assert {line["name"] for line in lines} >= set(rows)
    if part == "predict":
        assert len(lines) == 12
        assert all(line["predicted GiB"] > 0 and line["took s"] > 0 for line in lines)
    if part == "share":
        assert next(line["of four"] for line in lines if line["name"] == "the same bytes") == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    assert "skipped" in capsys.readouterr().out
