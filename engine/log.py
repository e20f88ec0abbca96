"""Logging: one set-up for every process, and a way to say a thing once per kind."""

from __future__ import annotations

import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

from engine.clock import iso_utc

FILE_BYTES = 10 * 2**20
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """A line of JSON per record, times in ISO-8601 UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, object] = {
            "time": iso_utc(int(record.created * 1e9)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(
    level: str = "info", form: Literal["text", "json"] = "text", file: Path | None = None
) -> None:
    """Send the engine's records to standard error, or to a file that rotates.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    form
        ``text`` for people, ``json`` for machines.
    file
        Where to write; its folder is made. Standard error where none is given, or where it
        cannot be opened.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    refused = None
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=3)
        except OSError as error:
            refused = error
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT_FORMAT))
    logger = logging.getLogger("engine")
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    if refused is not None:
        logger.warning("log file %s cannot be opened (%s); logging here", file, refused)


class OncePerKind:
    """Logs the first of each kind and counts the rest, so a bad venue cannot flood the log.

    Parameters
    ----------
    logger
        Where the first of each kind goes.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.counts: dict[str, int] = {}

    def warn(self, kind: str, message: str) -> None:
        """Log `message` if `kind` is new; count it either way."""
        seen = self.counts.get(kind, 0)
        self.counts[kind] = seen + 1
        if not seen:
            self._logger.warning("%s (further ones of this kind are only counted)", message)
