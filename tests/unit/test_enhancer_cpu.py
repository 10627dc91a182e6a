import os
from pathlib import Path

import pytest

from wanworker.enhancer.cpu import MAX_THREADS, default_threads


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four physical cores of two threads each."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


def test_hyper_threads_do_not_count(machine: Path) -> None:
    assert default_threads(machine, machine) == 4


def test_the_affinity_mask_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4, 5})
    assert default_threads(machine, machine) == 2


@pytest.mark.parametrize(("quota", "threads"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_containers_quota_counts(machine: Path, quota: str, threads: int) -> None:
    (machine / "cpu.max").write_text(quota)
    assert default_threads(machine, machine) == threads


def test_a_machine_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(200)), raising=False)
    assert default_threads(tmp_path, tmp_path) == MAX_THREADS
