"""Labelled texts from files: CSV, Parquet or JSON lines."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from engine.domain.sentiment import Label
from engine.errors import ConfigError
from engine.sentiment.training.examples import Example

USUAL_LABELS: Mapping[str, Label] = {
    "bearish": "bearish", "negative": "bearish", "neg": "bearish", "-1": "bearish",
    "neutral": "neutral", "neu": "neutral", "0": "neutral",
    "bullish": "bullish", "positive": "bullish", "pos": "bullish", "1": "bullish",
}  # fmt: skip
"""What a file may write without being told; digits only where there is a -1 among them."""

TEXT_COLUMNS = ("text", "title", "headline", "sentence", "content", "tweet")
LABEL_COLUMNS = ("label", "sentiment", "class", "target")
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")

_FIELDS = ("text", "label", "source", "time")


def read_labelled(
    path: str, columns: Mapping[str, str] | None = None, labels: Mapping[str, Label] | None = None
) -> list[Example]:
    """Read labelled texts.

    Parameters
    ----------
    path
        A file, a folder or a pattern.
    columns
        ``text``, ``label``, ``source``, ``time`` -> the files' columns, where they have no usual
        names. Without a column for the source it is the file's name; a time is only read from a
        column that is named here.
    labels
        The files' label -> ours, where they are not the usual words.

    Returns
    -------
    list of Example
        In the order of the files; rows without a label are left out, those without a text stay.

    Raises
    ------
    ConfigError
        Where a file, a column or a label is missing or is not understood.
    """
    files = _files(path)
    asked = dict(columns or {})
    for name in asked:
        if name not in _FIELDS:
            raise ConfigError(f"columns.{name} is no field; there are {', '.join(_FIELDS)}")
    found: list[Example] = []
    for file in files:
        found += _examples(file, _table(file), asked, labels or {})
    if not found:
        raise ConfigError(f"{path} holds no labelled text")
    return found


def _files(path: str) -> list[Path]:
    place = Path(path)
    if place.is_dir():
        found = sorted(file for file in place.rglob("*") if file.suffix in SUFFIXES)
    else:
        found = [Path(file) for file in sorted(glob.glob(path, recursive=True))]
    if not found:
        raise ConfigError(
            f"path {path} is no file, and no folder or pattern of files that end with "
            f"{', '.join(SUFFIXES)}"
        )
    return found


def _table(file: Path) -> pa.Table:
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file)
        if file.suffix in (".jsonl", ".ndjson", ".json"):
            return pa_json.read_json(file)
        delimiter = "\t" if file.suffix == ".tsv" else ","
        parsing = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        return pa_csv.read_csv(file, parse_options=parsing)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{file} cannot be read as {file.suffix[1:]}: {first}") from None


def _examples(
    file: Path, table: pa.Table, columns: Mapping[str, str], labels: Mapping[str, Label]
) -> list[Example]:
    text = _column(file, table, "text", columns.get("text"), TEXT_COLUMNS)
    label = _column(file, table, "label", columns.get("label"), LABEL_COLUMNS)
    texts, given = table.column(text).to_pylist(), table.column(label).to_pylist()
    sources = [file.stem] * len(texts)
    named = columns.get("source", "source" if "source" in table.column_names else None)
    if named is not None:
        name = _column(file, table, "source", named, ())
        sources = [str(one or file.stem) for one in table.column(name).to_pylist()]
    written = [_written(one) for one in given]
    times: list[int | None] = [None] * len(texts)
    if "time" in columns:
        name = _column(file, table, "time", columns["time"], ())
        times = _times(file, name, table.column(name))
    known = label_map(file, label, [one for one in written if one], labels)
    return [
        Example(str(text or ""), known[label], source, time=time)
        for text, label, source, time in zip(texts, written, sources, times, strict=True)
        if label
    ]


def _times(file: Path, column: str, values: pa.ChunkedArray) -> list[int | None]:
    """Return UTC nanoseconds; a time without a zone is UTC."""
    try:
        times = values.cast(pa.timestamp("ns")).cast(pa.int64())
    except pa.ArrowException:
        raise ConfigError(
            f"columns.time: {file}, column {column!r} holds {values.type} values that are no "
            "times: write them as 2024-05-01T12:00:00Z"
        ) from None
    found: list[int | None] = times.to_pylist()
    return found


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _column(
    file: Path, table: pa.Table, field: str, asked: str | None, usual: Sequence[str]
) -> str:
    names = table.column_names
    if asked is not None:
        if asked in names:
            return asked
        close = difflib.get_close_matches(asked, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
        raise ConfigError(f"columns.{field}: {file} has no column {asked!r}; {hint}")
    for name in usual:
        if name in names:
            return name
    raise ConfigError(
        f"{file} has no column for the {field}; say which of {', '.join(names)} it is: "
        f"--set columns={{{field}: NAME}}"
    )


def label_map(
    file: Path, column: str, written: Sequence[str], labels: Mapping[str, Label]
) -> dict[str, Label]:
    """Return what each label of a file means.

    Raises
    ------
    ConfigError
        Where one is not known, or numbers are used that mean different things in different sets.
    """
    asked = {name.strip().lower(): label for name, label in labels.items()}
    distinct = sorted(set(written))
    known = asked or USUAL_LABELS
    if not asked and "-1" not in distinct and all(one.isdigit() for one in distinct):
        known = {}
    strange = [one for one in distinct if one not in known]
    if strange:
        raise ConfigError(
            f"{file}, column {column!r}: what the labels {', '.join(strange[:5])} mean is not "
            f"known; say it for each: --set labels={{'{strange[0]}': bearish, …}}"
        )
    return {one: known[one] for one in distinct}
