"""The crypto Fear & Greed index, in the JSON of alternative.me.

``{"data": [{"value": "40", "timestamp": "1551157200", …}, …]}``: one value a day from 0
(extreme fear) to 100 (extreme greed), the newest first. Format:
https://alternative.me/crypto/fear-and-greed-index/ (section API).
"""

from __future__ import annotations

import msgspec

from engine.clock import NS_PER_S
from engine.domain.text import MarketMood
from engine.errors import SourceError

SERIES = "fear_greed"


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
