"""What is wrong with a file or a row of it."""

from __future__ import annotations

from enum import IntEnum

from engine.errors import EngineError


class ImportProblem(EngineError):
    """A file cannot be imported; its text names the file, and the column where there is one."""

    exit_code = 2


class Flaw(IntEnum):
    """Why a row cannot be a candle; 0 is sound. The first that is found counts."""

    SOUND = 0
    MALFORMED = 1
    NO_SYMBOL = 2
    UNKNOWN_SYMBOL = 3
    NO_TIME = 4
    AMBIGUOUS_TIME = 5
    FUTURE = 6
    OPEN = 7
    HIGH = 8
    LOW = 9
    CLOSE = 10
    VOLUME = 11
    QUOTE_VOLUME = 12
    TRADE_COUNT = 13
    VWAP = 14
    TWAP = 15
    TAKER_BUY_VOLUME = 16
    HIGH_BELOW = 17
    LOW_ABOVE = 18
    TAKER_ABOVE = 19
    OFF_GRID = 20
    CONTRADICTS = 21


_PRICE = "is not a finite number above 0"
_AMOUNT = "is neither empty nor a finite number from 0 on"

REASONS: dict[Flaw, tuple[str, str]] = {
    Flaw.MALFORMED: ("", "the line has not as many values as the header"),
    Flaw.NO_SYMBOL: ("symbol", "is empty"),
    Flaw.UNKNOWN_SYMBOL: ("symbol", "names no instrument of the venue"),
    Flaw.NO_TIME: ("open_time", "is no time since 2009"),
    Flaw.AMBIGUOUS_TIME: ("open_time", "comes twice or never in naive_timezone: clocks were moved"),
    Flaw.FUTURE: ("open_time", "lies in the future"),
    Flaw.OPEN: ("open", _PRICE),
    Flaw.HIGH: ("high", _PRICE),
    Flaw.LOW: ("low", _PRICE),
    Flaw.CLOSE: ("close", _PRICE),
    Flaw.VOLUME: ("volume", "is not a finite number from 0 on"),
    Flaw.QUOTE_VOLUME: ("quote_volume", _AMOUNT),
    Flaw.TRADE_COUNT: ("trade_count", "is neither empty nor a whole number from 0 on"),
    Flaw.VWAP: ("vwap", "is neither empty nor a finite number above 0"),
    Flaw.TWAP: ("twap", "is neither empty nor a finite number above 0"),
    Flaw.TAKER_BUY_VOLUME: ("taker_buy_volume", _AMOUNT),
    Flaw.HIGH_BELOW: ("high", "is below open, close or low"),
    Flaw.LOW_ABOVE: ("low", "is above open or close"),
    Flaw.TAKER_ABOVE: ("taker_buy_volume", "is more than volume"),
    Flaw.OFF_GRID: ("open_time", "is not at the start of an interval of the timeframe"),
    Flaw.CONTRADICTS: ("open_time", "has another row of the same symbol with other values"),
}
"""Flaw -> our column that shows it (empty for none), and what is wrong with the value."""


def reason_of(flaw: Flaw) -> str:
    """Return what is wrong, in the same words for all such rows.

    Examples
    --------
    >>> reason_of(Flaw.HIGH_BELOW)
    'high is below open, close or low'
    """
    column, what = REASONS[flaw]
    return f"{column} {what}".strip()
