"""The benchmark of the memory plans runs: a tiny network on the CPU, and a polite word where there is no GPU."""

import json
import sys

import pytest
import torch

from benchmarks import plans
from wanworker.generator.engine import Engine


def test_toy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plans", "--toy"])
    with pytest.raises(SystemExit) as ended:
        plans.main()
    assert ended.value.code == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("{")]
    assert [line["card GB"] for line in lines] == [24, 48, 80]
    assert all(line["end to end s"] > 0 and "failed" not in line for line in lines)


def test_a_failure_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(sys, "argv", ["plans", "--toy"])
    monkeypatch.setattr(Engine, "generate", generate)
    with pytest.raises(SystemExit) as ended:
        plans.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.count('"failed": "ValueError: no"') == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plans"])
    plans.main()
    assert "skipped" in capsys.readouterr().out
