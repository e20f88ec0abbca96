"""Where reports lie: a file for each ranking and format, and the newest as ``latest``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.clock import iso_utc
from engine.errors import StartError
from engine.reports.html import to_html
from engine.reports.json_text import to_json
from engine.reports.markdown import to_markdown
from engine.reports.report import Report

WRITERS: Mapping[str, Callable[[Report], str]] = {
    "md": to_markdown,
    "json": to_json,
    "html": to_html,
}


def report_name(report: Report) -> str:
    """Return the name of a report's files, without the format: ``report-1h-20260203T140000Z``."""
    moment = iso_utc(report.as_of)[:19].replace("-", "").replace(":", "")
    return f"report-{report.timeframe}-{moment}Z"


def write_report(report: Report, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write a report, and make ``latest`` the newest that lies there.

    A report of an earlier moment than one that lies there already leaves ``latest`` alone. Whoever
    reads meanwhile sees the old file or the new one, never half of one.

    Raises
    ------
    StartError
        Where the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            text = WRITERS[form](report)
            path = folder / f"{report_name(report)}.{form}"
            _replace(path, text)
            written.append(path)
            if not _lies_later(folder, form, path):
                _replace(folder / f"latest.{form}", text)
                written.append(folder / f"latest.{form}")
    except OSError as error:
        raise StartError(
            f"the folder {folder} cannot be written ({error.strerror}); choose another: "
            "--set out=FOLDER"
        ) from None
    return written


def _lies_later(folder: Path, form: str, mine: Path) -> bool:
    """Say whether a report of a later moment lies there: their names end with it."""
    moment = mine.stem.rpartition("-")[2]
    others = folder.glob(f"report-*.{form}")
    return any(other.stem.rpartition("-")[2] > moment for other in others)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
