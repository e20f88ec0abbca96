"""One engine a data folder: a lock that is held from the first moment of ``engine up`` to its end.

The run file comes only when Ray runs, many seconds later: until then nothing else would tell a
second ``engine up`` of the first. The lock (`engine.file_lock`) is on a file in the state folder.
Engines with another data
folder, or another state folder, have another lock.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from engine.cli.processes import identity
from engine.cli.state_folder import state_dir, unwritable
from engine.file_lock import open_lock, read_held, try_lock, write_held

HANDED_ON = "ENGINE_FOLDER_LOCK"
"""In the environment of a detached engine: the descriptor of the lock that was taken for it."""


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
                descriptor = open_lock(self.path)
            if not try_lock(descriptor):
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
            write_held(self.descriptor, text)
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
    held = read_held(path)
    if held is None:
        return None
    try:
        return msgspec.json.decode(held, type=Holder)
    except msgspec.DecodeError:
        return None
