"""Who owns an embedded store: one process, held by the kernel and named in a file.

The lock is an ``flock`` on ``PATH/owner.json``: it goes when the process goes, however it
ended. The file says who owns it and how to reach it, so that another command can find the
running store. It holds passwords, so only the user may read it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StartError, StoreLocked

OWNER_FILE = "owner.json"
_TRIES = 5
_BETWEEN_TRIES_S = 0.02
"""`read_owner` holds the lock for a moment: that is no owner."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a store open.

    Parameters
    ----------
    pid
        Its process id.
    url
        Where it serves, for the engine (reads and writes).
    viewer_url
        The same for the read-only user.
    """

    pid: int
    url: str
    viewer_url: str


class HomeLock:
    """The right to open one folder, for as long as it is held.

    Parameters
    ----------
    path
        The store's folder, which must exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = path / OWNER_FILE
        self._descriptor: int | None = None

    def acquire(self) -> Owner | None:
        """Take the lock and return who held it last, if that is known.

        Raises
        ------
        StoreLocked
            Where another process, or this one, holds it.
        StartError
            Where the file cannot be written.
        """
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"the store's folder {self._file.parent} cannot be used: {error.strerror}; "
                "free space, mend its permissions or choose another store.url"
            ) from None
        try:
            _lock(descriptor)
        except OSError as error:
            owner = _parse(_read(descriptor))
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StartError(f"{self._file} cannot be locked: {error.strerror}") from None
            who = f"process {owner.pid}" if owner else "another process"
            raise StoreLocked(
                f"the store {self._file.parent} is open in {who}; "
                "stop it (engine down) or use its URL"
            ) from None
        self._descriptor = descriptor
        return _parse(_read(descriptor))

    def publish(self, url: str, viewer_url: str) -> None:
        """Write down who owns the store and where it serves.

        Raises
        ------
        StartError
            Where it cannot be written (a full disk).
        """
        if self._descriptor is None:
            raise StartError(f"{self._file} is not locked by this process")
        text = json.dumps({"pid": os.getpid(), "url": url, "viewer_url": viewer_url}).encode()
        try:
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))
        except OSError as error:
            raise StartError(f"{self._file} cannot be written: {error.strerror}") from None

    def release(self) -> None:
        """Let go; the file stays, so that the passwords stay the same."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_owner(path: Path) -> Owner | None:
    """Return the process that holds the store at `path` open, or None where none does."""
    try:
        descriptor = os.open(path / OWNER_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _parse(_read(descriptor))
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not left:
                raise
            time.sleep(_BETWEEN_TRIES_S)
        else:
            return


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, 65_536, 0)


def _parse(text: bytes) -> Owner | None:
    try:
        tree = json.loads(text)
        return Owner(int(tree["pid"]), str(tree["url"]), str(tree["viewer_url"]))
    except (ValueError, KeyError, TypeError):
        return None
