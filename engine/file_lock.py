"""Locks on files that say who holds them: one process each, and gone with it, however it ended.

The lock is an ``flock``. The file stays, and holds whatever the holder wrote into it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

_TRIES = 5
_BETWEEN_TRIES_S = 0.02
"""`read_held` holds a lock for a moment: that is no holder."""

_MOST_BYTES = 65_536


def open_lock(path: Path) -> int:
    """Open a lock's file, which only its user may read, and return the descriptor.

    Raises
    ------
    OSError
        Where it cannot be opened or made.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file; False where another descriptor holds it.

    Raises
    ------
    OSError
        Where the file system has no locks.
    """
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            if left:
                time.sleep(_BETWEEN_TRIES_S)
        else:
            return True
    return False


def write_held(descriptor: int, text: bytes) -> None:
    """Write down who holds it, in place of what was there.

    Raises
    ------
    OSError
        Where it cannot be written (a full disk).
    """
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def read_text(descriptor: int) -> bytes:
    """Return what is written in a lock's file."""
    return os.pread(descriptor, _MOST_BYTES, 0)


def read_held(path: Path) -> bytes | None:
    """Return what the holder of a lock wrote; None where nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return read_text(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)
