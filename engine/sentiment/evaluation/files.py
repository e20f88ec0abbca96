"""Where evaluations lie: a file for each run and format, and the newest as ``latest``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.clock import iso_utc
from engine.errors import StartError
from engine.sentiment.evaluation.html import to_html
from engine.sentiment.evaluation.report import EvaluationReport, to_json, to_markdown

WRITERS: Mapping[str, Callable[[EvaluationReport], str]] = {
    "md": to_markdown,
    "json": to_json,
    "html": to_html,
}


def write_evaluation(
    report: EvaluationReport, folder: Path, formats: Sequence[str], made_at: int
) -> list[Path]:
    """Write a report, and the same as ``latest``.

    Parameters
    ----------
    report
        What to write.
    folder
        Made where it is missing.
    formats
        Keys of `WRITERS`.
    made_at
        Moment in the files' names, UTC nanoseconds.

    Raises
    ------
    StartError
        Where the folder cannot be written.
    """
    moment = iso_utc(made_at)[:19].replace("-", "").replace(":", "")
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form in formats:
            text = WRITERS[form](report)
            for name in (f"sentiment-{moment}Z.{form}", f"latest.{form}"):
                fresh = folder / f".{name}.{os.getpid()}"
                fresh.write_text(text, encoding="utf-8")
                written.append(fresh.replace(folder / name))
    except OSError as error:
        raise StartError(
            f"the folder {folder} cannot be written ({error.strerror}); choose another: "
            "--set out=FOLDER"
        ) from None
    return written
