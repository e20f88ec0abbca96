"""What adapters and replays share: refusals in the same words, and the replay's framing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.market import Candle, Level
from engine.domain.timeframe import Timeframe
from engine.errors import FrameError, VenueError

LARGEST = 1e18
"""Prices and amounts at or above this are taken for damage: their products and sums would
leave what a float can hold."""

LAST_TIME_NS = 4_102_444_800 * NS_PER_S
"""2100-01-01: a later time is damage, and would not fit the store."""

LAST_ID = 2**63 - 1

STAMP_BYTES = 8
"""Length of a replayed frame's receive time, big-endian nanoseconds, ahead of the frame."""
END_OF_RECORDING = "end of recording"
"""Close reason with which a replay says that it is complete."""

_OUT_OF_RANGE = re.compile(r"Expected `float` [<>]=? \S+ - at `(?P<path>[^`]*)`")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises, whatever the bytes."""

T = TypeVar("T")

Price = Annotated[float, msgspec.Meta(gt=0.0, lt=LARGEST)]
"""A field that a decoder refuses unless it is a price that a market can have."""

Amount = Annotated[float, msgspec.Meta(gt=0.0, lt=LARGEST)]
"""A field that a decoder refuses unless it is an amount that can be traded."""

Id = Annotated[int, msgspec.Meta(ge=0, le=LAST_ID)]
"""A field that a decoder refuses unless it is an id: 64 bits, not negative."""

LevelAmount = Annotated[float, msgspec.Meta(ge=0.0, lt=LARGEST)]
"""A field that a decoder refuses unless a book's level can have it; zero deletes the level."""

Rate = Annotated[float, msgspec.Meta(gt=-1.0, lt=1.0)]
"""A field that a decoder refuses unless it is a funding rate, as a fraction."""

Milliseconds = Annotated[int, msgspec.Meta(gt=0, lt=LAST_TIME_NS // NS_PER_MS)]
"""A field that a decoder refuses unless it is a time between 1970 and 2100."""


def decode(decoder: msgspec.json.Decoder[T], frame: bytes | msgspec.Raw) -> T:
    """Decode a frame, or say what is wrong with it.

    Raises
    ------
    FrameError
        Kind ``bad_field`` where it is JSON of another shape, ``not_json`` where it is none.
    """
    try:
        return decoder.decode(frame)
    except msgspec.ValidationError as error:
        raise FrameError("bad_field", f"{error}: {shorten(frame)}") from None
    except REFUSED as error:
        raise FrameError("not_json", f"{error}: {shorten(frame)}") from None


def blame(error: FrameError, prices: re.Pattern[str]) -> FrameError:
    r"""Give the refusal of a number out of its type's range the kind of what it is.

    Parameters
    ----------
    error
        As `decode` raised it.
    prices
        Matches the path of a price; any other number with a range is an amount.

    Examples
    --------
    >>> refused = FrameError("bad_field", "Expected `float` > 0.0 - at `$.price`: '{}'")
    >>> blame(refused, re.compile("price")).kind
    'bad_price'
    """
    found = _OUT_OF_RANGE.match(str(error))
    if found is None:
        return error
    kind = "bad_price" if prices.search(found["path"]) else "bad_amount"
    return FrameError(kind, str(error))


def decode_answer(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    """Decode a REST answer.

    Raises
    ------
    VenueError
        Where it is not of the documented shape; `what` names it.
    """
    try:
        return decoder.decode(body)
    except REFUSED as error:
        raise VenueError(f"{what} is not as documented ({error}): {shorten(body)}") from None


def optional_number(text: str, what: str) -> float | None:
    """Read a number that a venue leaves empty where it has none.

    Raises
    ------
    VenueError
        Where `text` is neither empty nor a finite number; `what` names its place.

    Examples
    --------
    >>> optional_number("0.5", "the tick"), optional_number("", "the tick")
    (0.5, None)
    """
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        raise VenueError(f"{what} says {text[:40]!r} where a number is due")
    return number


def shorten(frame: bytes | msgspec.Raw) -> str:
    """Return the beginning of a frame, fit for a log line."""
    return repr(bytes(frame)[:120].decode("utf-8", "replace"))


def check_price(price: float, what: str) -> None:
    """Refuse a price that no market has.

    Raises
    ------
    FrameError
        Kind ``bad_price`` where it is NaN, infinite, zero, negative or beyond `LARGEST`.
    """
    if not 0.0 < price < LARGEST:
        raise FrameError("bad_price", f"{what} is {price!r}, not a price above zero")


def check_amount(amount: float, what: str) -> None:
    """Refuse an amount that nobody can trade.

    Raises
    ------
    FrameError
        Kind ``bad_amount`` where it is NaN, infinite, zero, negative or beyond `LARGEST`.
    """
    if not 0.0 < amount < LARGEST:
        raise FrameError("bad_amount", f"{what} is {amount!r}, not an amount above zero")


def check_levels(levels: Iterable[Level]) -> None:
    """Refuse levels of a book that no book can hold.

    Raises
    ------
    FrameError
        Kind ``bad_price`` where a price is not above zero, ``bad_amount`` where an amount is
        below zero (zero deletes its price); both where it is NaN, infinite or beyond `LARGEST`.
    """
    for price, amount in levels:
        if not (0.0 < price < LARGEST and 0.0 <= amount < LARGEST):
            check_price(price, "a level's price")
            raise FrameError("bad_amount", f"a level's amount is {amount!r}, not zero or above")


def check_id(number: int, what: str) -> None:
    """Refuse an id that is negative or does not fit 64 bits.

    Raises
    ------
    FrameError
        Kind ``bad_field``.
    """
    if not 0 <= number <= LAST_ID:
        raise FrameError("bad_field", f"{what} is {number}, not an id")


def milliseconds_ns(time_ms: int) -> int:
    """Turn a venue's milliseconds since 1970 into nanoseconds.

    Raises
    ------
    FrameError
        Kind ``bad_field`` outside 1970 to 2100.
    """
    time_ns = time_ms * NS_PER_MS
    if not 0 < time_ns < LAST_TIME_NS:
        raise FrameError("bad_field", f"time {time_ms} ms lies outside 1970 to 2100")
    return time_ns


def moment_ns(moment: datetime) -> int:
    """Turn a venue's RFC 3339 time (microseconds) into nanoseconds.

    Raises
    ------
    FrameError
        Kind ``bad_field`` where it has no zone or lies outside 1970 to 2100.
    """
    if moment.tzinfo is None:
        raise FrameError("bad_field", f"time {moment} has no zone")
    since = moment - _EPOCH
    time_ns = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000
    if not 0 < time_ns < LAST_TIME_NS:
        raise FrameError("bad_field", f"time {moment} lies outside 1970 to 2100")
    return time_ns


def rest_candle(
    exchange: str,
    instrument: str,
    timeframe: Timeframe,
    *,
    as_of: int,
    open_time: int,
    prices: tuple[float, float, float, float],
    volume: float,
    quote_volume: float | None = None,
    trade_count: int | None = None,
    vwap: float | None = None,
    taker_buy_volume: float | None = None,
) -> Candle:
    """Make a candle of a venue's REST row; `prices` are open, high, low and close.

    Raises
    ------
    VenueError
        Where a price or the volume is impossible, or the times are off the grid.
    """
    first, high, low, last = prices
    sound = (
        all(0.0 < price < LARGEST for price in prices)
        and low <= min(first, last)
        and high >= max(first, last)
        and 0.0 < volume < LARGEST
        and 0 <= open_time < LAST_TIME_NS
        and timeframe.floor(open_time) == open_time
    )
    if not sound:
        raise VenueError(
            f"{exchange} sent an impossible {timeframe} candle of {instrument}: "
            f"opens at {open_time} ns, prices {prices}, volume {volume}"
        )
    close_time = open_time + timeframe.ns
    return Candle(
        exchange=exchange,
        instrument=instrument,
        timeframe=timeframe.value,
        open_time=open_time,
        close_time=close_time,
        open=first,
        high=high,
        low=low,
        close=last,
        volume=volume,
        quote_volume=quote_volume,
        trade_count=trade_count,
        vwap=vwap,
        twap=None,
        taker_buy_volume=taker_buy_volume,
        source="rest",
        is_closed=close_time <= as_of,
        version=as_of,
    )
