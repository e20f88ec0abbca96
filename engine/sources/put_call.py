"""The put/call ratio of all options on Cboe's exchanges: puts traded for each call.

Until 2019-10-04 in one table, ``https://cdn.cboe.com/resources/options/volume_and_call_put_ratios/
totalpc.csv``: a preamble, then ``DATE,CALL,PUT,TOTAL,P/C Ratio`` (copies spell it ``CALLS,PUTS,…,
Ratio``), days as ``10/4/2019``. Since 2019-10-07 a document for each day,
``https://cdn.cboe.com/data/us/options/market_statistics/daily/2024-01-02_daily_options``:
``{"ratios": [{"name": "TOTAL PUT/CALL RATIO", "value": "0.93"}, …], …}``, 403 for days without
trading. It is what the page https://www.cboe.com/us/options/market_statistics/daily/ shows, and is
nowhere documented: the shape is that of 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import httpx
import msgspec

from engine.clock import NS_PER_S, Clock
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.sources.answer import Refused
from engine.sources.base import SourceReport
from engine.sources.cboe import (
    day_in_new_york,
    day_ns,
    positive,
    published_ns,
    read_day,
    table_rows,
)
from engine.sources.http import SourceClient
from engine.sources.mood import FirstPrints, Reading, Skip, read_mood

SERIES = "put_call"
ARCHIVE_URL = "https://cdn.cboe.com/resources/options/volume_and_call_put_ratios/totalpc.csv"
DAILY_URL = "https://cdn.cboe.com/data/us/options/market_statistics/daily"
PER_MINUTE = 60.0
FIRST_DAILY = date(2019, 10, 7)
MOST_DAYS = 250
"""Days asked for in one look: history follows look by look."""
MOST_ABSENT = 10
"""Weekdays in a row without a document; more than that is no holiday."""

_TOTAL = "TOTAL PUT/CALL RATIO"
_RATIOS = ("P/C RATIO", "RATIO")
_ROUNDING = 0.011


class _Ratio(msgspec.Struct):
    name: str
    value: str


class _Day(msgspec.Struct):
    ratios: list[_Ratio]


def read_put_call(content: bytes, skip: Skip) -> list[Reading]:
    """Read the table of the years until 2019, or one like it.

    Parameters
    ----------
    content
        The CSV.
    skip
        Called with the line and the reason for each row that cannot be used.

    Raises
    ------
    ValueError
        Where it is no such table.
    """
    found = []
    for line, row in table_rows(content, ("DATE",)):
        ratio_column = next((name for name in _RATIOS if name in row), "")
        if not ratio_column:
            raise ValueError(f"it has no column P/C Ratio; it has {', '.join(row)}")
        try:
            day = read_day(row["DATE"])
            ratio = positive(row, ratio_column)
            _check_volumes(row, ratio)
        except ValueError as error:
            skip(f"line {line}: {error}")
        else:
            found.append(Reading(day_ns(day), ratio, published_ns(day)))
    return found


def _check_volumes(row: dict[str, str], ratio: float) -> None:
    names = next((pair for pair in (("PUT", "CALL"), ("PUTS", "CALLS")) if pair[0] in row), None)
    if names is not None:
        puts, calls = (positive(row, name) for name in names)
        if abs(puts / calls - ratio) > _ROUNDING:
            raise ValueError(f"the ratio {ratio} is not {puts:.0f} / {calls:.0f}")


def read_total(content: bytes) -> float:
    """Read the ratio of one day's document.

    Raises
    ------
    ValueError
        Where it has none.
    """
    for ratio in msgspec.json.decode(content, type=_Day).ratios:
        if ratio.name.upper() == _TOTAL:
            return positive({_TOTAL: ratio.value}, _TOTAL)
    raise ValueError(f"it has no {_TOTAL}")


class PutCall:
    """The ratio from Cboe's own addresses; keeps the contract of `engine.sources.mood.MoodSource`.

    Parameters
    ----------
    client
        Who asks.
    clock
        What time it is.
    archive_url, daily_url
        Where the years until 2019 and the days since are.
    """

    series = SERIES

    def __init__(
        self,
        client: SourceClient,
        clock: Clock,
        archive_url: str = ARCHIVE_URL,
        daily_url: str = DAILY_URL,
    ) -> None:
        self._client = client
        self._clock = clock
        self._archive_url = archive_url
        self._daily_url = daily_url
        self._prints = FirstPrints(SERIES, clock)

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._prints.intake.report

    @property
    def has_more(self) -> bool:
        """Whether today has not been reached yet."""
        return not self._prints.is_live

    def resume(self, stored: Iterable[MarketMood]) -> None:
        """Leave out what is stored already; see `engine.sources.mood.MoodSource`."""
        self._prints.resume(stored)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def poll(self) -> list[MarketMood]:
        """Return what is new; see `engine.sources.mood.MoodSource`.

        Where a day fails after others came, those are returned and the next look meets the
        failure.
        """
        if self._prints.newest is None:
            answer = await self._client.get(self._archive_url)
            return self._prints.new(
                read_mood(
                    SERIES, self._archive_url, read_put_call, answer.content, self._prints.skip
                )
            )
        found: list[Reading] = []
        try:
            is_whole = await self._read_days(found)
        except SourceError:
            if not found:
                raise
            is_whole = False
        fresh = self._prints.new(found)
        self._prints.is_live = self._prints.is_live or is_whole
        return fresh

    async def _read_days(self, found: list[Reading]) -> bool:
        """Read days into `found`, oldest first; tell whether today was reached."""
        absent = 0
        for asked, day in enumerate(self._days()):
            if asked == MOST_DAYS:
                return False
            reading = await self._day(day)
            if reading is not None:
                found.append(reading)
                absent = 0
                continue
            absent += 1
            if absent > MOST_ABSENT:
                raise SourceError(
                    f"source {SERIES}: {self._daily_url} has nothing for {absent} weekdays up to "
                    f"{day}; it has moved, or does not answer to this address"
                )
        return True

    def _days(self) -> Iterator[date]:
        """Yield the weekdays after the newest known one, until today."""
        newest = datetime.fromtimestamp((self._prints.newest or 0) // NS_PER_S, UTC).date()
        day = max(FIRST_DAILY, newest + timedelta(days=1))
        today = day_in_new_york(self._clock.now_ns())
        while day <= today:
            if day.weekday() < 5:
                yield day
            day += timedelta(days=1)

    async def _day(self, day: date) -> Reading | None:
        url = f"{self._daily_url}/{day}_daily_options"
        try:
            content = (await self._client.get(url)).content
        except Refused as refusal:
            if refusal.status in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
                return None
            raise
        try:
            return Reading(day_ns(day), read_total(content), published_ns(day))
        except ValueError as error:
            self._prints.skip(f"{day}: {error}")
            return None
