"""What a source of texts is, and what all of them need: stable ids, memory, a report."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.domain.text import TextItem
from engine.errors import ConfigError
from engine.log import OncePerKind
from engine.metrics import ERRORS

AUTHOR_KEY_VARIABLE = "ENGINE_AUTHOR_KEY"
SEEN_CAPACITY = 100_000
PROBLEMS_KEPT = 20


@dataclass(slots=True)
class SourceReport:
    """What a source has done since it was opened."""

    texts: int = 0
    """Given out."""
    repeats: int = 0
    """Met again and left out."""
    skipped: int = 0
    """Rows or entries that could not be used."""
    problems: deque[str] = field(default_factory=lambda: deque(maxlen=PROBLEMS_KEPT))
    """The latest reasons, each naming its place."""


class Source(Protocol):
    """Somewhere texts come from.

    A source gives every text once: not again in a later `poll`, and, as far as `resume` is
    told, not again after a restart. A bad row or entry is skipped, counted and named in
    `report`; only a source that cannot be read at all raises, and the caller tries again
    later. After an error the next `poll` misses nothing.
    """

    @property
    def name(self) -> str:
        """Its name in the configuration and the store."""
        ...

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        ...

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Go on where an earlier process left off; call it before the first `poll`.

        Parameters
        ----------
        since_ns
            Newest `published_at` that is stored already: a source that can ask for later
            texts only, does.
        seen
            Ids of texts stored already: they are not given again.
        """
        ...

    async def poll(self) -> list[TextItem]:
        """Return the texts that are new since the last call, oldest first.

        Raises
        ------
        SourceError
            Where the source cannot be read; it says what to do.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; more than once does no harm."""
        ...


def text_id(source: str, own_id: str) -> str:
    """Return the stable id of a text.

    Parameters
    ----------
    source
        The source's configured name.
    own_id
        The source's own id, or the content where it has none.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return hashlib.blake2b(f"{source}\0{own_id}".encode(), digest_size=16).hexdigest()


class Memory:
    """The ids given out lately; the oldest are forgotten first.

    Parameters
    ----------
    capacity
        Most ids held.
    """

    def __init__(self, capacity: int = SEEN_CAPACITY) -> None:
        self._capacity = capacity
        self._ids: dict[str, None] = {}

    def __contains__(self, text_id: object) -> bool:
        return text_id in self._ids

    def add(self, text_id: str) -> None:
        """Remember an id as the newest."""
        self._ids.pop(text_id, None)
        self._ids[text_id] = None
        if len(self._ids) > self._capacity:
            del self._ids[next(iter(self._ids))]


class Intake:
    """The common end of every source: leaves repeats out, counts, and names what is skipped.

    Parameters
    ----------
    name
        The source's name.
    """

    def __init__(self, name: str) -> None:
        self.report = SourceReport()
        self._name = name
        self._memory = Memory()
        self._log = OncePerKind(logging.getLogger("engine.sources"))

    def remember(self, ids: Iterable[str]) -> None:
        """Treat these as given out."""
        for known in ids:
            self._memory.add(known)

    def knows(self, known_id: str) -> bool:
        """Whether this one was given out."""
        return known_id in self._memory

    def new(self, items: Iterable[TextItem]) -> list[TextItem]:
        """Return those not given out before, oldest first, and remember them."""
        fresh = []
        for item in items:
            if item.text_id in self._memory:
                self.report.repeats += 1
            else:
                fresh.append(item)
            self._memory.add(item.text_id)
        self.report.texts += len(fresh)
        return sorted(fresh, key=lambda item: (item.published_at, item.text_id))

    def skip(self, kind: str, reason: str) -> None:
        """Count something that could not be used and keep the reason.

        Parameters
        ----------
        kind
            A short stable name: the metric's label.
        reason
            What was wrong, and where.
        """
        self.report.skipped += 1
        self.report.problems.append(reason)
        ERRORS.labels(stage="source", kind=kind).inc()
        self._log.warn(kind, f"source {self._name}: {reason}")


class AuthorHasher:
    """Turns authors' names into ids that only this installation could link to them.

    Parameters
    ----------
    key
        Secret of 1 to 64 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if not 1 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ConfigError("the author key must have 1 to 64 bytes; set " + AUTHOR_KEY_VARIABLE)
        self._key = key

    def __call__(self, author: str) -> str:
        """Return 32 hexadecimal digits; empty for no author."""
        name = author.strip()
        if not name:
            return ""
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=16).hexdigest()


def load_author_key(path: Path | None = None) -> bytes:
    """Return the installation's key for authors.

    The variable ``ENGINE_AUTHOR_KEY`` comes first, then the file. A missing file is made with
    a random key, readable by its owner only. Without a file the key lasts as long as the
    process, and the same author gets another id after a restart.

    Raises
    ------
    ConfigError
        Where the file can be neither read nor made.
    """
    given = os.environ.get(AUTHOR_KEY_VARIABLE, "")
    if given:
        return given.encode()
    fresh = secrets.token_bytes(32)
    if path is None:
        return fresh
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise ConfigError(f"author key {path} cannot be made: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(fresh)
    return fresh


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"author key {path} cannot be read: {error.strerror}") from None
    if not key:
        raise ConfigError(f"author key {path} is empty; delete it to have a new one made")
    return key
