"""The crypto Fear & Greed index of alternative.me, from 0 (extreme fear) to 100 (extreme greed).

``GET https://api.alternative.me/fng/?limit=30`` answers ``{"data": [{"value": "40", "timestamp":
"1551157200", …}, …]}``: one value a day, stamped with its beginning, the newest first; ``limit=0``
gives all since 2018-02-01. Tables of it, ``timestamp,value,…``, are read too. Source:
https://alternative.me/crypto/fear-and-greed-index/ (section API), shape of 2026-11-21. A day's
value is made of the days before and shown at its beginning; history counts it as available an hour
later.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

from engine.clock import NS_PER_S
from engine.sources.mood import Reading, Skip

SERIES = "fear_greed"
URL = "https://api.alternative.me/fng/"
HISTORY = {"limit": "0"}
LATEST = {"limit": "30"}
DAY_NS = 86_400 * NS_PER_S
PUBLISHED_AFTER_NS = 3600 * NS_PER_S


class _Value(msgspec.Struct):
    value: str
    timestamp: str


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]


def read_fear_greed(content: bytes, skip: Skip) -> list[Reading]:
    """Read an answer, or a table.

    Parameters
    ----------
    content
        The JSON document, or CSV with the columns ``timestamp`` (seconds) and ``value``.
    skip
        Called with the place and the reason for each row that cannot be used.

    Returns
    -------
    list of Reading
        In the document's order, values in [0, 100].

    Raises
    ------
    ValueError
        Where it is no such document.
    """
    found = []
    for number, row in enumerate(_rows(content), 1):
        try:
            found.append(_reading(row))
        except ValueError as error:
            skip(f"row {number}: {error}")
    return found


def _rows(content: bytes) -> Sequence[msgspec.Raw | _Value]:
    if content.lstrip().startswith(b"{"):
        return msgspec.json.decode(content, type=_Answer).data
    table = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    missing = {"timestamp", "value"} - set(table.fieldnames or ())
    if missing:
        raise ValueError(f"neither its JSON nor a table: no column {', '.join(sorted(missing))}")
    return [_Value(row["value"] or "", row["timestamp"] or "") for row in table]


def _reading(row: msgspec.Raw | _Value) -> Reading:
    cells = row if isinstance(row, _Value) else msgspec.json.decode(row, type=_Value)
    time, value = int(cells.timestamp) * NS_PER_S, float(cells.value)
    if not 0 <= value <= 100:
        raise ValueError(f"value {cells.value} is outside 0 to 100")
    # Copies stamp a day with another hour of it: the day is what tells values apart.
    return Reading(time - time % DAY_NS, value, time + PUBLISHED_AFTER_NS)
