"""Opinions of texts and what came of them, read from the store; what was measured, written back.

An opinion is a text that says something new, that one model reads as bullish or bearish about
an instrument whose bar was labelled: the first bar that closed when the text could be read, or
later. Where several venues have that bar, the first in alphabetical order counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.credibility import SourceCredibility
from engine.domain.timeframe import Timeframe
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.reader import Reader
from engine.store.toward import toward
from engine.texts.credibility import Opinion

_LABEL = toward("label", "said.instrument", "read")
_OPINIONS = f"""
SELECT source, author, engagement, said.instrument AS about, text_id, available_at,
    known_at, forward_return > 0 AS rose, {_LABEL} = 'bullish' AS is_bullish
FROM (
    SELECT text_id, source, author, engagement, available_at,
        arrayJoin(arrayDistinct(instruments)) AS instrument,
        intDiv(toUnixTimestamp64Nano(available_at) - 1, {{step:Int64}}) * {{step:Int64}} AS opened
    FROM texts FINAL
    WHERE empty(duplicate_of) AND available_at < fromUnixTimestamp64Nano({{end:Int64}})
) AS said
INNER JOIN (
    SELECT text_id, label, target_instruments, target_labels FROM sentiment_scores FINAL
    WHERE model = {{model:String}}
) AS read ON said.text_id = read.text_id
INNER JOIN (
    SELECT instrument, toUnixTimestamp64Nano(open_time) AS opened, known_at, forward_return
    FROM outcomes FINAL
    WHERE timeframe = {{timeframe:String}} AND horizon = {{horizon:String}}
        AND isNotNull(forward_return) AND forward_return != 0
        AND open_time < fromUnixTimestamp64Nano({{end:Int64}})
    ORDER BY exchange LIMIT 1 BY instrument, open_time
) AS followed ON said.instrument = followed.instrument AND said.opened = followed.opened
WHERE {_LABEL} IN ('bullish', 'bearish')
"""
_COLUMNS = (
    "source", "author", "engagement", "about", "text_id", "available_at", "known_at", "rose",
    "is_bullish",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpinionScope:
    """Which opinions are judged."""

    model: str
    """Name and version, as in ``sentiment_scores``."""
    timeframe: Timeframe
    """Of the labelled bars."""
    horizon: str
    """As ``outcomes`` names it."""
    end: int
    """Texts that became available before, UTC nanoseconds."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for the question."""
        return {
            "model": self.model,
            "timeframe": self.timeframe.value,
            "step": self.timeframe.ns,
            "horizon": self.horizon,
            "end": self.end,
        }


def read_opinions(store: Store, scope: OpinionScope) -> list[Opinion]:
    """Return the opinions of a scope that can be judged, in any order.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = store.query_arrow(_OPINIONS, scope.parameters)
    columns = (python_values(found.column(name)) for name in _COLUMNS)
    return [
        Opinion(
            source=source,
            author=author,
            engagement=engagement,
            instrument=instrument,
            text_id=text_id,
            available_at=available_at,
            known_at=known_at,
            is_right=bool(rose) == bool(is_bullish),
        )
        for source, author, engagement, instrument, text_id, available_at, known_at, rose,
        is_bullish in zip(*columns, strict=True)
    ]  # fmt: skip


def split_by_stored(
    store: Store, rows: Sequence[SourceCredibility], model: str, version: str
) -> tuple[list[SourceCredibility], int, int]:
    """Tell rows that are not stored from those whose subject and moment are.

    Returns
    -------
    tuple
        The rows that are not stored; how many are as they are; how many are, with other values.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    held = {_key(row): row for row in Reader(store).source_credibility(model, version)}
    fresh = [row for row in rows if _key(row) not in held]
    equal = sum(held.get(_key(row)) == row for row in rows)
    return fresh, equal, len(rows) - len(fresh) - equal


def _key(row: SourceCredibility) -> tuple[str, str, str, int]:
    return row.source, row.level, row.name, row.as_of
