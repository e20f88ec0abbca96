"""Every error the engine raises on purpose.

A message says what was wrong, where (file, key, venue, offset) and what to do::

    EngineError
    ├── ConfigError          a configuration file, override or key is wrong
    ├── StartError           the machine refuses: port, permission, disk, program
    ├── NotRunningError      a command needs a running engine and found none
    ├── StoreError           anything the store answers
    │   ├── StoreUnavailable     no answer: retry is safe, the token makes it once
    │   ├── StoreLocked          another process owns the embedded path
    │   └── StoreQueryError      the database refused the statement (has its code)
    ├── BusError             Redis does not answer or refuses
    ├── FrameError           one frame of a venue cannot be used (has its kind)
    ├── VenueError           a venue's REST answer or subscription is refused
    ├── RecordingError       a recording cannot be read or written
    ├── SourceError          a text source cannot be read
    ├── SentimentUnavailable no sentiment replica answers
    └── InstrumentError      an instrument's name is malformed or unknown

``exit_code`` is what the ``engine`` command exits with: 2 for what the user wrote,
3 for what the machine lacks, 4 where nothing runs, 1 for the rest.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all; its text is one clear sentence for the person who sees it."""

    exit_code = 1


class ConfigError(EngineError):
    """A configuration file, override or key is wrong; nothing was started."""

    exit_code = 2


class StartError(EngineError):
    """The machine refuses what the engine needs: a port, a permission, space, a program."""

    exit_code = 3


class NotRunningError(EngineError):
    """The command needs a running engine and found none."""

    exit_code = 4


class StoreError(EngineError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store gave no answer. Retrying with the same token is safe."""

    exit_code = 3


class StoreLocked(StoreError):
    """Another process owns this embedded store's path."""

    exit_code = 3


class StoreQueryError(StoreError):
    """The database refused a statement.

    Parameters
    ----------
    message
        What the database said.
    code
        ClickHouse's error code (for example 60, unknown table); 0 where none was given.
    """

    exit_code = 2

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[StoreQueryError], tuple[str, int]]:
        return type(self), (str(self), self.code)


class BusError(EngineError):
    """Redis does not answer or refuses."""

    exit_code = 3


class FrameError(EngineError):
    """One frame of a venue cannot be used; the stream goes on without it.

    Parameters
    ----------
    kind
        A short stable name, used as a metric label and for logging once per kind:
        ``not_json``, ``unknown_message``, ``bad_field``, ``bad_price``, ``bad_amount``,
        ``oversized``, ``unknown_symbol``.
    message
        What was wrong with it, with the offending part shortened.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[FrameError], tuple[str, str]]:
        return type(self), (self.kind, str(self))


class VenueError(EngineError):
    """A venue refused a subscription or a REST request."""


class RecordingError(EngineError):
    """A recording of frames cannot be read or written."""

    exit_code = 2


class SourceError(EngineError):
    """A text source cannot be read."""


class SentimentUnavailable(EngineError, ConnectionError):
    """No sentiment replica answers; trying again later is safe."""

    exit_code = 3


class InstrumentError(EngineError, ValueError):
    """An instrument's name is malformed or unknown."""

    exit_code = 2
