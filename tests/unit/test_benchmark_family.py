"""The benchmark of the family runs: tiny networks on the CPU, and a polite word where there is no GPU."""

import json
import sys

import pytest
import torch

from benchmarks import family
from wanworker.generator.engine import Engine


def test_toy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["family", "--toy"])
    with pytest.raises(SystemExit) as ended:
        family.main()
    assert ended.value.code == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("{")]
    assert not [line for line in lines if "failed" in line]
    assert [line["name"] for line in lines] == [
        "wan2.1-t2v-1.3b text",
        "wan2.1-t2v-1.3b text, a still",
        "wan2.1-vace-1.3b text",
        "wan2.1-vace-1.3b first frame",
        "wan2.1-vace-1.3b first and last frame",
        "wan2.1-vace-1.3b two subjects",
        "wan2.1-vace-1.3b a clip to go on from",
        "wan2.2-ti2v-5b text",
        "wan2.2-ti2v-5b first frame",
        "wan2.1-i2v-14b-480p first frame",
        "wan2.1-t2v-14b text",
        "wan2.1-t2v-14b text, a still",
    ]
    assert all(0 < line["mean luma"] < 1 for line in lines)


def test_a_failure_is_a_line_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(sys, "argv", ["family", "--toy", "--only", "ti2v"])
    monkeypatch.setattr(Engine, "generate", generate)
    with pytest.raises(SystemExit) as ended:
        family.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.count('"failed": "ValueError: no"') == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["family"])
    family.main()
    assert "skipped" in capsys.readouterr().out
