"""How many threads do a language model good on this machine."""

import os
from pathlib import Path

MAX_THREADS = 16
"""Writing one token is bound by memory bandwidth: more threads gain nothing."""


def default_threads(cpus: Path = Path("/sys/devices/system/cpu"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of physical cores that this process may use, 1 to 16.

    llama.cpp's threads wait for each other in a busy loop, so one too many costs far more than one too few.
    Hence hyper-threads, the affinity mask and a container's CPU quota are all respected.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(cpus, cpu) for cpu in usable}
    return max(1, min(len(cores), _quota(group) or len(cores), MAX_THREADS))


def _siblings(cpus: Path, cpu: int) -> str:
    """Return a name of the physical core, the same for all its hyper-threads."""
    try:
        return (cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota(group: Path) -> int | None:
    """Return the whole CPUs of the container's quota (cgroup v2), None if it has none."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None
