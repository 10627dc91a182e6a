"""The enhancer's benchmark runs on a tiny model: every row is there, and no bar is set for so small a one."""

import sys
from pathlib import Path

import pytest

from benchmarks import enhancer
from tests.support.enhancer import build_gguf


def test_a_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_gguf(tmp_path / "tiny.gguf")
    arguments = ["--gguf", str(path), "--rounds", "1", "--tokens", "16", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["enhancer", *arguments])
    assert enhancer.main() == 0
    table = capsys.readouterr().out
    for row in ("bare", "with sampling", "engine", "service", "engine, reused", "service, after Unload", "loaded"):
        assert row in table
