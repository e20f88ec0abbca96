"""Who owns an embedded store: one process, held by the kernel and named in a file.

The lock (`engine.file_lock`) is on ``PATH/owner.json``. The file says who owns it and how to
reach it, so that another command can find the running store. It holds passwords, so only the
user may read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StartError, StoreLocked
from engine.file_lock import open_lock, read_held, read_text, try_lock, write_held

OWNER_FILE = "owner.json"


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
            descriptor = open_lock(self._file)
        except OSError as error:
            raise StartError(
                f"the store's folder {self._file.parent} cannot be used: {error.strerror}; "
                "free space, mend its permissions or choose another store.url"
            ) from None
        try:
            is_ours = try_lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise StartError(f"{self._file} cannot be locked: {error.strerror}") from None
        last = _parse(read_text(descriptor))
        if not is_ours:
            os.close(descriptor)
            who = f"process {last.pid}" if last else "another process"
            raise StoreLocked(
                f"the store {self._file.parent} is open in {who}; "
                "stop it (engine down) or use its URL"
            )
        self._descriptor = descriptor
        return last

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
            write_held(self._descriptor, text)
        except OSError as error:
            raise StartError(f"{self._file} cannot be written: {error.strerror}") from None

    def release(self) -> None:
        """Let go; the file stays, so that the passwords stay the same."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_owner(path: Path) -> Owner | None:
    """Return the process that holds the store at `path` open, or None where none does."""
    held = read_held(path / OWNER_FILE)
    return None if held is None else _parse(held)


def _parse(text: bytes) -> Owner | None:
    try:
        tree = json.loads(text)
        return Owner(int(tree["pid"]), str(tree["url"]), str(tree["viewer_url"]))
    except (ValueError, KeyError, TypeError):
        return None
