"""Starts processes that do not outlive us.

Linux sends a child a signal when the *thread* that started it ends (`prctl(2)`, PR_SET_PDEATHSIG). So every child is
started from one thread that lives as long as this interpreter, whichever thread asked. The signal is set by this very
file, run as a small launcher in the child after it changed user (the kernel forgets the setting when credentials
change) and before it becomes the program; there is no Python code between fork and exec of a threaded process.

The launcher part imports the standard library alone: it runs with `python -I -S`.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

_PR_SET_PDEATHSIG: Final = 1
_LAUNCHER: Final = str(Path(__file__).resolve())
_spawner: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tether")

Process = subprocess.Popen[bytes]
Output = int | IO[bytes] | None


def spawn(
    arguments: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    user: tuple[int, int] | None = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    output: Output = None,
) -> Process:
    """Start `arguments` in a session of its own (Ctrl-C reaches us alone), tied to the life of this process.

    `death_signal` is sent when this process ends, however it ends. `user` is (uid, gid), for root only. `output` takes
    standard output and standard error.
    """
    uid, gid = user or (-1, -1)
    launcher = [sys.executable, "-I", "-S", _LAUNCHER, str(int(death_signal)), str(os.getpid()), str(uid), str(gid)]

    def start() -> Process:
        return subprocess.Popen(
            [*launcher, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            cwd=cwd,
            env=None if environ is None else dict(environ),
            start_new_session=True,
        )

    return _spawner.submit(start).result()


def _become(death_signal: int, parent: int, uid: int, gid: int, arguments: list[str]) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the tie was made
            sys.exit(1)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
