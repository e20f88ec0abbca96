"""A file's times as UTC nanoseconds: with a zone, without one, or as numbers since 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.clock import NS_PER_S
from engine.imports.problem import Flaw, ImportProblem

EARLIEST_S = 1_230_940_800
"""2009-01-03: there was nothing to trade before."""
_LATEST_S = 4_102_444_800
"""2100. What lies between now and then is told apart by whoever knows what time it is."""

_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": NS_PER_S}
_DAY_S = 86_400
_EPOCH = re.compile(r"[+-]?\d{9,19}(\.0*)?")
_ZONED = re.compile(r".*\d(Z|[+-]\d{2}(:?\d{2})?| ?UTC)")

TimeKind = Literal["timestamp", "date", "epoch", "text"]


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How a column writes times: told once from its type and first values, then fixed.

    Parameters
    ----------
    kind
        What it holds.
    per_second
        How many of its units are a second.
    zone
        Time zone that times without one are in; empty where they carry their own.
    """

    kind: TimeKind
    per_second: int
    zone: str


def time_form(file: str, column: str, array: pa.Array, naive_timezone: str) -> TimeForm:
    """Tell how a column writes times.

    Parameters
    ----------
    file, column
        Names, for messages.
    array
        Its first values.
    naive_timezone
        Zone of times that name none; empty refuses them.

    Raises
    ------
    ImportProblem
        Where it holds no times, times without a zone and none is given, or numbers that are no
        seconds, milliseconds, microseconds or nanoseconds since 1970.
    """
    kind = array.type
    naive = ImportProblem(
        f"{file}: column {column!r} holds times without a time zone; say which one is meant, for "
        "example with --set naive_timezone=UTC"
    )
    if pa.types.is_timestamp(kind):
        if kind.tz is None and not naive_timezone:
            raise naive
        return TimeForm("timestamp", _PER_S[kind.unit], "" if kind.tz else naive_timezone)
    if pa.types.is_date(kind):
        if not naive_timezone:
            raise naive
        return TimeForm("date", 1, naive_timezone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return TimeForm(
            "epoch", _epoch_unit(file, column, array.cast(pa.float64(), safe=False)), ""
        )
    if _is_text(kind):
        texts = [text.strip() for text in array.drop_null().slice(0, 1000).to_pylist()]
        if texts and _EPOCH.fullmatch(texts[0]):
            numbers = pa.array([float(text) for text in texts if _EPOCH.fullmatch(text)])
            return TimeForm("epoch", _epoch_unit(file, column, numbers), "")
        if texts and not _ZONED.fullmatch(texts[0]):
            if re.match(r"\d{4}-\d{2}-\d{2}", texts[0]) is None:
                raise ImportProblem(
                    f"{file}: column {column!r} holds {texts[0]!r}, not a time: write "
                    "2026-11-01T12:00:00Z, or seconds or milliseconds since 1970"
                )
            if not naive_timezone:
                raise naive
            return TimeForm("text", NS_PER_S, naive_timezone)
        return TimeForm("text", NS_PER_S, "")
    raise ImportProblem(f"{file}: column {column!r} holds {kind}, not times")


def read_times(array: pa.Array, form: TimeForm) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return times as UTC nanoseconds, and the flaw of each (`Flaw.SOUND` for none).

    A flawed one is 0.
    """
    flaws = np.zeros(len(array), np.uint8)
    if form.kind == "epoch":
        raw, valid = _whole_numbers(array)
        return _scaled(raw, valid, form.per_second, flaws)
    if form.kind == "text":
        array = _parsed(array, bool(form.zone))
    elif form.kind == "date":
        array = array.cast(pa.timestamp("s"))
    per_second = _PER_S[array.type.unit]
    if form.zone and form.zone != "UTC":
        array, moved = _in_zone(array, form.zone)
        flaws[moved] = Flaw.AMBIGUOUS_TIME
    valid = ~_nulls(array)
    raw = pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return _scaled(raw, valid, per_second, flaws)


def _scaled(
    raw: NDArray[np.int64], valid: NDArray[np.bool_], per_second: int, flaws: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    fits = valid & (raw >= EARLIEST_S * per_second) & (raw < _LATEST_S * per_second)
    flaws[~fits & (flaws == Flaw.SOUND)] = Flaw.NO_TIME
    return np.where(fits, raw, 0) * (NS_PER_S // per_second), flaws


def _in_zone(array: pa.Array, zone: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Take naive times as of a zone; mark those that it has twice or never."""
    first, last = (
        pc.assume_timezone(array, zone, ambiguous=which, nonexistent=which)
        for which in ("earliest", "latest")
    )
    moved = pc.fill_null(pc.not_equal(first, last), False)
    return first, moved.to_numpy(zero_copy_only=False)


def _epoch_unit(file: str, column: str, numbers: pa.Array) -> int:
    """Return how many of the unit are a second: the ranges of plausible times do not meet."""
    values = numbers.drop_null().to_numpy(zero_copy_only=False)
    values = values[np.isfinite(values)]
    units = {
        name: int(np.count_nonzero((values >= EARLIEST_S * per) & (values < _LATEST_S * per)))
        for name, per in _PER_S.items()
    }
    found = [name for name, number in units.items() if number]
    if len(found) == 1:
        return _PER_S[found[0]]
    if not found:
        example = f" ({values[0]:.0f})" if len(values) else ""
        raise ImportProblem(
            f"{file}: column {column!r} holds numbers{example} that are no time since 2009 in "
            "seconds, milliseconds, microseconds or nanoseconds since 1970"
        )
    raise ImportProblem(
        f"{file}: column {column!r} mixes {found[0]} and {found[1]} since 1970; write all times in "
        "one unit"
    )


def _whole_numbers(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return numbers as whole ones, and which are."""
    if pa.types.is_integer(array.type):
        raw = pc.fill_null(array.cast(pa.int64(), safe=False), 0)
        return raw.to_numpy(zero_copy_only=False), ~_nulls(array)
    if _is_text(array.type):
        trimmed = pc.replace_substring_regex(pc.utf8_trim_whitespace(array), r"\.0*$", "")
        whole = pc.match_substring_regex(trimmed, r"^[+-]?\d{1,18}$|^[+-]?[0-8]\d{18}$")
        kept = pc.if_else(pc.fill_null(whole, False), trimmed, None)
        return _whole_numbers(kept.cast(pa.int64()))
    floats = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    valid = np.isfinite(floats) & (np.abs(floats) < 2**63)
    whole = np.where(valid, floats, 0.0)
    return whole.astype(np.int64), valid & (whole == np.floor(whole))


def _parsed(array: pa.Array, naive: bool) -> pa.Array:
    """Read ISO 8601; what is none becomes null."""
    texts = pc.utf8_trim_whitespace(array.cast(pa.string()))
    if not naive:
        texts = pc.replace_substring_regex(texts, r" ?UTC$", "Z")
    kind = pa.timestamp("ns", None if naive else "UTC")
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return pa.array([_one(text, kind) for text in texts], kind)


def _one(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def _nulls(array: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
