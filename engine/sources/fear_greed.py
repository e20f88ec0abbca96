"""The crypto Fear & Greed index, in the JSON of alternative.me.

``{"data": [{"value": "40", "timestamp": "1551157200", …}, …]}``: one value a day from 0
(extreme fear) to 100 (extreme greed), the newest first. Format:
https://alternative.me/crypto/fear-and-greed-index/ (section API).
"""

from __future__ import annotations

import httpx
import msgspec

from engine.clock import NS_PER_S, Clock
from engine.domain.text import MarketMood
from engine.errors import SourceError

SERIES = "fear_greed"
DAYS_ASKED = 30
TIMEOUT_S = 15.0


class FearGreed:
    """Reads the index from where it is published; each value is given once.

    Parameters
    ----------
    url
        Address of the JSON document.
    clock
        When a value became available to us.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._newest = -1

    async def poll(self) -> list[MarketMood]:
        """Return the values that are new since the last time, oldest first.

        Raises
        ------
        SourceError
            Where it cannot be reached or read; the next time misses nothing.
        """
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.get(self._url, params={"limit": DAYS_ASKED})
        except httpx.HTTPError as error:
            raise SourceError(f"Fear & Greed: {self._url} does not answer: {error}") from None
        if not answer.is_success:
            raise SourceError(f"Fear & Greed: {self._url} answered {answer.status_code}")
        moods = read_fear_greed(answer.content, self._clock.now_ns())
        fresh = [mood for mood in moods if mood.time > self._newest]
        self._newest = max([self._newest, *(mood.time for mood in fresh)])
        return fresh


class _Value(msgspec.Struct):
    value: str
    timestamp: str


class _Answer(msgspec.Struct):
    data: list[_Value]


def read_fear_greed(content: bytes, now_ns: int | None = None) -> list[MarketMood]:
    """Read an answer.

    Parameters
    ----------
    content
        The JSON document.
    now_ns
        When it was fetched: no value was available to us before. None reads history, where a
        value counts as available at its own time, at which the index is published.

    Returns
    -------
    list of MarketMood
        Oldest first, values in [0, 100].

    Raises
    ------
    SourceError
        Where it is no such document, or a value is outside [0, 100].
    """
    try:
        rows = msgspec.json.decode(content, type=_Answer).data
        moods = [(int(row.timestamp) * NS_PER_S, float(row.value)) for row in rows]
    except (msgspec.MsgspecError, ValueError) as error:
        raise SourceError(f"Fear & Greed: not the expected JSON: {error}") from None
    for time, value in moods:
        if not 0 <= value <= 100:
            raise SourceError(f"Fear & Greed: value {value} at {time} is outside 0 to 100")
    return [
        MarketMood(SERIES, time, value, time if now_ns is None else max(time, now_ns))
        for time, value in sorted(moods)
    ]
