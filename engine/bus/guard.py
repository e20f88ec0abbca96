"""Keeps a child program only as long as whoever started this script lives.

Run as ``python guard.py PROGRAM ARGUMENT…`` with two lines of descent on file descriptors:
standard input is the child's whole standard input (read to its end, then handed on), and
descriptor ``ENGINE_LIFELINE_FD`` is the reading end of a pipe that only the starter holds open
for writing. When the starter ends, however it ends, the pipe closes and the child is killed.
A script of its own and not a thread or ``prctl`` in the starter: after ``kill -9`` nothing of
the starter runs, and Linux' parent-death signal follows the starting *thread*, not the process.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

LIFELINE_VARIABLE = "ENGINE_LIFELINE_FD"
_PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    """Ask Linux to kill the child when this script is killed (it has one thread)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Run the child until it ends or the starter does; return the child's exit status."""
    lifeline = int(os.environ.pop(LIFELINE_VARIABLE))
    os.set_inheritable(lifeline, False)
    # Read before forking: the child's input must end even though ours was a pipe.
    text = sys.stdin.buffer.read()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.PIPE,
        preexec_fn=_die_with_guard,  # noqa: PLW1509 - this script has one thread
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    assert child.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
    try:
        child.stdin.write(text)
        child.stdin.close()
    except BrokenPipeError:
        return child.wait()
    while child.poll() is None:
        ready, _, _ = select.select([lifeline, wake_read], [], [])
        if lifeline in ready:
            child.kill()
            break
        os.read(wake_read, 64)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
