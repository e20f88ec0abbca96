"""Files as batches of rows, in their order; never a whole file at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.imports.files import ImportFile
from engine.imports.problem import ImportProblem

BATCH_ROWS = 100_000
"""Most rows of a batch."""

_BLOCK_BYTES = 1 << 23
_EMPTY = ("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "none")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file.

    Parameters
    ----------
    first
        Place of its first row among the readable rows of the file, from 0.
    rows
        As Arrow holds them; of a CSV file all columns are text.
    """

    first: int
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file that can be read by itself.

    Parameters
    ----------
    number
        Row group of a Parquet file; 0, the whole, of others.
    first, rows
        Place of its first row, and how many there are (0: known only when it is read).
    """

    number: int
    first: int
    rows: int


@dataclass(slots=True)
class TableFile:
    """An open file.

    Parameters
    ----------
    file
        Which.

    Raises
    ------
    ImportProblem
        Where it cannot be read as what its name says.
    """

    file: ImportFile
    names: tuple[str, ...] = field(init=False)
    """Its columns, by their own names."""
    schema: pa.Schema = field(init=False)
    malformed: list[tuple[int, str]] = field(init=False, default_factory=list)
    """Lines of a CSV file that have not as many values as its header, met so far: their place
    among all lines behind the header, from 1, and their text."""

    def __post_init__(self) -> None:
        with _told(self.file):
            if self.file.form == "parquet":
                with pq.ParquetFile(self.file.path) as opened:
                    self.schema = opened.schema_arrow
            elif self.file.form == "feather":
                with pa.memory_map(self.file.path) as source:
                    self.schema = pa.ipc.open_file(source).schema
            else:
                header = _header(self.file.path)
                self.schema = pa.schema([(name, pa.string()) for name in header])
        self.names = tuple(self.schema.names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ImportProblem(f"{self.file.name}: column {twice[0]!r} is there twice")

    def parts(self) -> list[Part]:
        """Return what can be read side by side."""
        if self.file.form != "parquet":
            return [Part(0, 0, 0)]
        with _told(self.file), pq.ParquetFile(self.file.path) as opened:
            sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
        firsts = [sum(sizes[:number]) for number in range(len(sizes))]
        return [
            Part(n, first, rows) for n, (first, rows) in enumerate(zip(firsts, sizes, strict=True))
        ]

    def batches(
        self, columns: list[str] | None = None, part: Part | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in order.

        Parameters
        ----------
        columns
            Which; all where None.
        part
            One of `parts`; the whole file where None.

        Raises
        ------
        ImportProblem
            Where the file turns out to be corrupt.
        """
        wanted = list(self.names) if columns is None else columns
        readers = {"parquet": self._parquet, "feather": self._feather, "csv": self._csv}
        first = part.first if part is not None else 0
        with _told(self.file):
            for found in readers[self.file.form](wanted, part):
                for start in range(0, found.num_rows, BATCH_ROWS):
                    rows = found.slice(start, BATCH_ROWS)
                    yield Batch(first, rows)
                    first += rows.num_rows

    def _parquet(self, columns: list[str], part: Part | None) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.file.path) as opened:
            numbers = range(opened.num_row_groups) if part is None else [part.number]
            for number in numbers:
                yield from opened.iter_batches(BATCH_ROWS, row_groups=[number], columns=columns)

    def _feather(self, columns: list[str], part: Part | None) -> Iterator[pa.RecordBatch]:
        del part
        with pa.memory_map(self.file.path) as source:
            opened = pa.ipc.open_file(source)
            for number in range(opened.num_record_batches):
                yield opened.get_batch(number).select(columns)

    def _csv(self, columns: list[str], part: Part | None) -> Iterator[pa.RecordBatch]:
        del part
        self.malformed.clear()

        def skip(row: pa_csv.InvalidRow) -> str:
            self.malformed.append((row.number - 1 if row.number else 0, row.text))
            return "skip"

        with pa.input_stream(self.file.path, compression="detect") as source:
            opened = pa_csv.open_csv(
                source,
                # One thread: only then are the numbers of malformed lines known.
                pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                pa_csv.ParseOptions(delimiter=_delimiter(self.file.path), invalid_row_handler=skip),
                pa_csv.ConvertOptions(
                    column_types={name: pa.string() for name in self.names},
                    include_columns=columns,
                    null_values=list(_EMPTY),
                    strings_can_be_null=True,
                ),
            )
            yield from opened


@contextmanager
def _told(file: ImportFile) -> Iterator[None]:
    """Turn what Arrow raises over a file into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise ImportProblem(f"{file.path} is not there (any more)") from None
    except PermissionError:
        raise ImportProblem(f"{file.path} may not be read by this user") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        first = next(iter(str(error).strip().splitlines()), "unreadable")
        raise ImportProblem(f"{file.name} cannot be read as {file.form}: {first}") from None


def _header(path: str) -> list[str]:
    """Return the columns that a CSV file's first line names."""
    line = _first_line(path)
    if not line.strip():
        raise ImportProblem(f"{Path(path).name} is empty: not even a header")
    return next(csv.reader([line], delimiter=_delimiter(path)))


def _delimiter(path: str) -> str:
    line = _first_line(path)
    return max(_DELIMITERS, key=line.count)


def _first_line(path: str) -> str:
    with pa.input_stream(path, compression="detect") as source:
        start = bytes(source.read(1 << 16))
    text = start.split(b"\n", 1)[0].decode("utf-8-sig")
    return text.rstrip("\r")
