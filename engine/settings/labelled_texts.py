"""Where a job finds labelled texts."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.settings.section import FilePath, JobSection
from engine.settings.sentiment_models import SentimentLabel


class LabelledTextsSection(JobSection):
    """A job over labelled texts."""

    path: FilePath = ""
    """A CSV, TSV, Parquet or JSON lines file, a folder of them, or a pattern."""
    columns: dict[str, str] = {}
    """``text``, ``label``, ``source`` -> the files' column, where it is not one of the usual
    names."""
    labels: dict[str, SentimentLabel] = {}
    """The files' label -> ours, where it is not one of the usual words (``positive``, ``-1``)."""

    def require(self) -> None:
        """Refuse a job without texts."""
        super().require()
        if not self.path:
            raise ConfigError(
                "path is missing: name a file of labelled texts with --set path=…, its columns "
                "with --set columns={text: …, label: …}"
            )
