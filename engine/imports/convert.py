"""A file's sound rows as rows of ``candles``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.domain.market import CandleSource
from engine.domain.timeframe import Timeframe
from engine.imports.census import Census, stamp_of
from engine.imports.files import ImportFile
from engine.imports.problem import ImportProblem
from engine.imports.reading import Part, TableFile
from engine.imports.rows import OPTIONAL, PRICES, FileForm, Reading, Rows, read_rows

IMPORTED: CandleSource = "import"

IMPORT_VERSION = "1"
"""Changes when the same file would give other rows."""

_TIME = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file to be made into rows: all that a task needs.

    Parameters
    ----------
    file, form, timeframe, stamp
        As its census says.
    part
        Which part.
    keep
        Bits, of each of the part's rows: whether it is imported.
    fingerprint
        Of all that decides the file's rows.
    exchange
        The venue.
    seams
        Instrument (first generation) -> from when on it has which name, ascending.
    """

    file: ImportFile
    form: FileForm
    timeframe: Timeframe
    stamp: tuple[int, int]
    part: Part
    keep: NDArray[np.uint8]
    fingerprint: str
    exchange: str
    seams: Mapping[str, Sequence[tuple[int, str]]]


def file_parts(
    census: Census, exchange: str, seams: Mapping[str, Sequence[tuple[int, str]]], how: Reading
) -> list[FilePart]:
    """Cut a file into parts that can be converted side by side; parts without rows are left out."""
    found = []
    mine = {name: tuple(seams[name]) for name in census.told if name in seams}
    fingerprint = _fingerprint(census, exchange, mine, how)
    for part in TableFile(census.file).parts():
        keep = census.keep[part.first : part.first + part.rows] if part.rows else census.keep
        if keep.any():
            found.append(
                FilePart(
                    census.file, census.form, census.timeframe, census.stamp, part,
                    np.packbits(keep), fingerprint, exchange, mine,
                )
            )  # fmt: skip
    return found


def _fingerprint(
    census: Census, exchange: str, seams: Mapping[str, Sequence[tuple[int, str]]], how: Reading
) -> str:
    form = census.form
    decides = (
        IMPORT_VERSION, census.content, exchange, census.timeframe.value,
        sorted(form.columns.items()), form.times, form.instrument, sorted(seams.items()),
        sorted(how.names.given.items()),
    )  # fmt: skip
    digest = hashlib.blake2b(repr(decides).encode(), digest_size=16)
    digest.update(np.packbits(census.keep).tobytes())
    return digest.hexdigest()


def convert(part: FilePart, how: Reading) -> Iterator[tuple[str, pa.Table]]:
    """Yield pieces of a part: what the piece is called, and its rows with the table's columns.

    The same file cut for the same import gives the same pieces, so a piece that is stored need
    not be stored again.

    Raises
    ------
    ImportProblem
        Where the file is not what it was when it was checked.
    """
    if stamp_of(part.file) != part.stamp:
        raise ImportProblem(f"{part.file.name} was changed while it was imported; import it again")
    for rows in read_rows(TableFile(part.file), part.form, how, part.part):
        start = rows.first - part.part.first
        keep = _bits(part.keep, start, len(rows.times))
        if keep.any():
            last = rows.first + len(rows.times)
            yield f"rows {rows.first + 1}-{last}", _candles(rows, keep, part)


def _bits(packed: NDArray[np.uint8], start: int, number: int) -> NDArray[np.bool_]:
    """Return some of packed bits, without unpacking those before."""
    byte, rest = divmod(start, 8)
    return np.unpackbits(packed[byte:], count=rest + number)[rest:].astype(bool)


def _candles(rows: Rows, keep: NDArray[np.bool_], part: FilePart) -> pa.Table:
    times = rows.times[keep]
    number = len(times)
    columns: dict[str, pa.Array] = {
        "exchange": _constant(part.exchange, number),
        "instrument": _names(rows, keep, part),
        "timeframe": _constant(part.timeframe.value, number),
        "open_time": pa.array(times).cast(_TIME),
        "close_time": pa.array(times + part.timeframe.ns).cast(_TIME),
    }
    for name in (*PRICES, "volume"):
        columns[name] = pa.array(rows.values[name][keep])
    for name in OPTIONAL:
        columns[name] = _optional(rows, name, keep)
    columns["source"] = _constant(IMPORTED, number)
    columns["is_closed"] = pa.repeat(True, number)
    # One below that of the venue's own candle over REST, far below those made of trades: of
    # several sources the one that tells most counts, whichever comes first.
    columns["version"] = pa.array(times - 1)
    return pa.table(columns)


def _optional(rows: Rows, name: str, keep: NDArray[np.bool_]) -> pa.Array:
    kind = pa.int64() if name == "trade_count" else pa.float64()
    if name not in rows.values:
        return pa.nulls(int(np.count_nonzero(keep)), kind)
    values = pa.array(rows.values[name][keep], from_pandas=True)  # NaN becomes null
    return values.cast(kind)


def _names(rows: Rows, keep: NDArray[np.bool_], part: FilePart) -> pa.Array:
    """Return each row's instrument, generation included."""
    names = list(rows.instruments)
    codes, times = rows.codes[keep].copy(), rows.times[keep]
    for code, name in enumerate(rows.instruments):
        for start, again in part.seams.get(name, ()):
            later = (rows.codes[keep] == code) & (times >= start)
            if later.any():
                names.append(again)
                codes[later] = len(names) - 1
    return pa.DictionaryArray.from_arrays(codes, names).cast(pa.string())


def _constant(text: str, number: int) -> pa.Array:
    return pa.repeat(text, number)
