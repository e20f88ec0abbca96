"""One engine a data folder: a lock that is held from the first moment of ``engine up`` to its end.

The run file comes only when Ray runs, many seconds later: until then nothing else would tell a
second ``engine up`` of the first. The lock is an ``flock`` on a file in the state folder, so it
goes when the process goes, however it ended; the file itself stays. Engines with another data
folder, or another state folder, have another lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from engine.cli.processes import identity
from engine.cli.state_folder import state_dir, unwritable

HANDED_ON = "ENGINE_FOLDER_LOCK"
"""In the environment of a detached engine: the descriptor of the lock that was taken for it."""

_TRIES = 5
_BETWEEN_TRIES_S = 0.02
"""`holders` holds a lock for a moment: that is no engine."""


class Holder(msgspec.Struct, frozen=True):
    """An engine that starts or runs."""

    pid: int
    created: float
    """When that process began (seconds since 1970): a number used again is not the engine."""
    data_dir: str
    """Absolute."""


class FolderLock:
    """The right to run the engine of one data folder, for as long as it is held.

    Parameters
    ----------
    data_dir
        The data folder; it need not exist.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = str(data_dir.resolve())
        name = hashlib.sha256(self._data_dir.encode()).hexdigest()[:12]
        self.path = state_dir() / f"engine-{name}.lock"
        self.descriptor = -1
        """Of the open file; -1 while nothing is held."""

    def take(self) -> bool:
        """Take the lock, or the one that was handed on to this process.

        Returns
        -------
        bool
            False where another process has it.

        Raises
        ------
        StartError
            Where the state folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = self._handed_on()
            if descriptor is None:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _locked(descriptor):
                os.close(descriptor)
                return False
        except OSError as error:
            raise unwritable(self.path.parent, error) from None
        self.descriptor = descriptor
        self.name(os.getpid())
        return True

    def name(self, pid: int) -> None:
        """Write down which process holds it: this one, or the one it is handed on to."""
        text = msgspec.json.encode(Holder(*_identity(pid), self._data_dir))
        try:
            os.pwrite(self.descriptor, text, 0)
            os.ftruncate(self.descriptor, len(text))
        except OSError as error:
            raise unwritable(self.path.parent, error) from None

    def holder(self) -> Holder | None:
        """Return who has it; None where nobody has, or has not said so yet."""
        return _holder(self.path)

    def _handed_on(self) -> int | None:
        number = os.environ.pop(HANDED_ON, "")
        if not number.isdecimal():
            return None
        try:
            is_ours = os.path.samestat(os.fstat(int(number)), self.path.stat())
        except OSError:
            return None
        if not is_ours:
            return None
        # Else all that this engine starts would hold it too, and outlive it.
        os.set_inheritable(int(number), False)
        return int(number)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closed, not unlocked: where it was handed on, the other process keeps it.
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _identity(pid: int) -> tuple[int, float]:
    try:
        return identity(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return pid, 0.0


def holders() -> list[Holder]:
    """Return the engines of this state folder that start or run."""
    found = (_holder(path) for path in state_dir().glob("engine-*.lock"))
    return [holder for holder in found if holder is not None]


def _holder(path: Path) -> Holder | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            return msgspec.json.decode(os.pread(descriptor, 65_536, 0), type=Holder)
        except msgspec.DecodeError:
            return None
    else:
        return None
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
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
