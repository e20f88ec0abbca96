"""Batches of a file as our columns, and what is wrong with each row; whole columns at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.domain.timeframe import Timeframe
from engine.imports.columns import map_columns
from engine.imports.files import ImportFile
from engine.imports.problem import Flaw, ImportProblem
from engine.imports.reading import Batch, Part, TableFile
from engine.imports.symbols import SymbolNames
from engine.imports.times import TimeForm, read_times, time_form

Floats = NDArray[np.float64]

PRICES = ("open", "high", "low", "close")
OPTIONAL = ("quote_volume", "trade_count", "vwap", "twap", "taker_buy_volume")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_TOLERANCE = 1e-9
"""By which a sum that was rounded may be above the one that it is part of, relative."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be understood: the same for all files of an import.

    Parameters
    ----------
    columns
        Our column -> theirs, where the configuration says so.
    names
        Instruments by symbols.
    timeframe
        Of all files; None tells it from the times of each.
    naive_timezone
        Zone of times that name none; empty refuses them.
    wanted
        Instruments (first generation) to import; empty takes all.
    begin, end
        Which open times to import, ``[begin, end)`` in UTC nanoseconds.
    now
        Intervals that end later are still forming, UTC nanoseconds.
    """

    columns: Mapping[str, str]
    names: SymbolNames
    timeframe: Timeframe | None
    naive_timezone: str
    wanted: frozenset[str]
    begin: int
    end: int
    now: int


@dataclass(frozen=True, slots=True)
class FileForm:
    """How one file is written: told from its header and first rows, then fixed.

    Parameters
    ----------
    columns
        Our column -> the file's.
    times
        How its times are written.
    instrument
        Whose candles all rows are, where the file has no column for it.
    """

    columns: Mapping[str, str]
    times: TimeForm
    instrument: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file in our terms.

    Parameters
    ----------
    first
        Place of the first one in the file, from 0.
    instruments
        Names that `codes` point into, first generation.
    codes
        Of each row; -1 where no instrument is known.
    times
        Open times, UTC nanoseconds; 0 where there is none.
    values
        Our column -> numbers; NaN where there is none.
    flaws
        `Flaw` of each row.
    """

    first: int
    instruments: tuple[str, ...]
    codes: NDArray[np.int32]
    times: NDArray[np.int64]
    values: Mapping[str, Floats]
    flaws: NDArray[np.uint8]


def file_form(file: ImportFile, opened: TableFile, how: Reading) -> FileForm:
    """Tell how a file is written.

    Raises
    ------
    ImportProblem
        Where a column is missing, holds something else than it should, or times have no zone.
    """
    columns = map_columns(file.name, opened.names, how.columns)
    for ours, theirs in columns.items():
        _check_type(file, ours, theirs, opened.schema.field(theirs).type)
    instrument = None if "symbol" in columns else _of_whole_file(file, how)
    sample = _first_times(opened, columns["open_time"])
    if sample is None:
        raise ImportProblem(f"{file.name} holds no rows")
    times = time_form(file.name, columns["open_time"], sample, how.naive_timezone)
    return FileForm(columns, times, instrument)


def read_rows(
    opened: TableFile, form: FileForm, how: Reading, part: Part | None = None
) -> Iterator[Rows]:
    """Yield a file's rows in our terms, unchecked but for what cannot be read at all."""
    wanted = list(dict.fromkeys(form.columns.values()))
    for batch in opened.batches(wanted, part):
        yield _converted(batch, form, how)


def check(rows: Rows) -> None:
    """Mark in `Rows.flaws` every row that is no candle; a flaw that is there already stays."""
    values = rows.values
    open_, high, low, close = (values[name] for name in PRICES)
    volume = values["volume"]
    traded = volume > 0
    with np.errstate(invalid="ignore"):
        for name in PRICES:
            _mark(rows, ~((values[name] > 0) & (values[name] < np.inf)), Flaw[name.upper()])
        _mark(rows, ~((volume >= 0) & (volume < np.inf)), Flaw.VOLUME)
        for name in ("quote_volume", "trade_count", "taker_buy_volume"):
            if name in values:
                _mark(
                    rows, ~(np.isnan(values[name]) | _is_amount(values[name])), Flaw[name.upper()]
                )
        if "trade_count" in values:
            count = values["trade_count"]
            _mark(rows, ~np.isnan(count) & (count != np.floor(count)), Flaw.TRADE_COUNT)
        for name in ("vwap", "twap"):
            if name in values:
                mean = values[name]
                sound = np.isnan(mean) | ((mean > 0) & (mean < np.inf))
                _mark(rows, traded & ~sound, Flaw[name.upper()])
        _mark(rows, high < np.maximum(np.maximum(open_, close), low), Flaw.HIGH_BELOW)
        _mark(rows, low > np.minimum(open_, close), Flaw.LOW_ABOVE)
        if "taker_buy_volume" in values:
            most = volume * (1 + _TOLERANCE)
            _mark(rows, values["taker_buy_volume"] > most, Flaw.TAKER_ABOVE)


def _mark(rows: Rows, where: NDArray[np.bool_], flaw: Flaw) -> None:
    rows.flaws[where & (rows.flaws == Flaw.SOUND)] = flaw


def _is_amount(values: Floats) -> NDArray[np.bool_]:
    return (values >= 0) & (values < np.inf)


def _converted(batch: Batch, form: FileForm, how: Reading) -> Rows:
    rows = batch.rows
    times, flaws = read_times(rows.column(form.columns["open_time"]), form.times)
    values = {}
    for ours, theirs in form.columns.items():
        if ours in ("symbol", "open_time"):
            continue
        numbers, unread = _numbers(rows.column(theirs))
        values[ours] = numbers
        flaws[unread & (flaws == Flaw.SOUND)] = Flaw[ours.upper()]
    if form.instrument is not None:
        codes = np.zeros(rows.num_rows, np.int32)
        return Rows(batch.first, (form.instrument,), codes, times, values, flaws)
    column = rows.column(form.columns["symbol"])
    names, codes, missing = _instruments(column, how.names)
    flaws[codes < 0] = Flaw.UNKNOWN_SYMBOL
    flaws[missing] = Flaw.NO_SYMBOL
    return Rows(batch.first, names, codes, times, values, flaws)


def _instruments(
    column: pa.Array, names: SymbolNames
) -> tuple[tuple[str, ...], NDArray[np.int32], NDArray[np.bool_]]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    symbols = encoded.dictionary.to_pylist()
    known: dict[str, int] = {}
    places = [-1]  # of a missing symbol
    for symbol in symbols:
        name = names.instrument(symbol) if symbol else None
        places.append(-1 if name is None else known.setdefault(name, len(known)))
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    empty = np.array([True, *(not symbol for symbol in symbols)])
    codes = np.array(places, np.int32)[indices + 1]
    return tuple(known), codes, empty[indices + 1]


def _numbers(column: pa.Array) -> tuple[Floats, NDArray[np.bool_]]:
    """Return a column as floats (NaN for null), and which of its values are no numbers."""
    unread = np.zeros(len(column), bool)
    try:
        found = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
        is_number = pc.match_substring_regex(trimmed, _NUMBER)
        unread = pc.fill_null(pc.invert(is_number), False).to_numpy(zero_copy_only=False)
        found = pc.if_else(is_number, trimmed, None).cast(pa.float64())
    return pc.fill_null(found, np.nan).to_numpy(zero_copy_only=False), unread


def _check_type(file: ImportFile, ours: str, theirs: str, kind: pa.DataType) -> None:
    """Refuse a column of another kind; text is read where a file has nothing else (CSV)."""
    if ours == "open_time":
        return  # `time_form` looks at it
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(value) or pa.types.is_large_string(value)
    if ours == "symbol":
        if not is_text:
            raise ImportProblem(f"{file.name}: column {theirs!r} holds {kind}, not symbols")
        return
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if not is_number and not (file.form == "csv" and is_text):
        raise ImportProblem(f"{file.name}: column {theirs!r} holds {kind}, not numbers")


def _of_whole_file(file: ImportFile, how: Reading) -> str:
    if len(how.wanted) == 1:
        return next(iter(how.wanted))
    found = how.names.of_file(file.name)
    if found is None:
        raise ImportProblem(
            f"{file.name} has no column of symbols, and its name is none; name the column with "
            "--set columns.symbol=NAME, or the instrument with --set 'instruments=[BTC-USDT]'"
        )
    return found


def _first_times(opened: TableFile, column: str) -> pa.Array | None:
    """Return the first times that are not missing; None where the file has no row."""
    found: pa.Array | None = None
    for batch in opened.batches([column]):
        found = batch.rows.column(0)
        if found.null_count < len(found):
            break
    return found
