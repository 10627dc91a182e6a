"""Becomes a service that cannot outlive its parent: `python orphan_guard.py PARENT_PID MODULE`.

On Linux the kernel sends this process SIGTERM when its parent dies, however it dies (`PR_SET_PDEATHSIG`,
which outlives exec). The request is made here, between fork and exec, because a `preexec_fn` in a process
with threads may deadlock. Elsewhere only an orderly end of the parent stops the services. Imports nothing but
the standard library.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Binds the process to its parent and replaces it by the module's."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        # The parent may have died before it was asked for.
        if os.getppid() != parent:
            raise SystemExit(1)
    os.execv(sys.executable, [sys.executable, "-m", module])


if __name__ == "__main__":
    main()
