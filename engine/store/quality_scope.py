"""Which rows the quality gate looks at, and how it sets some aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.domain.quality import QualityTable
from engine.domain.timeframe import Timeframe

INSTRUMENT_NAME = r"'^[A-Z0-9]{1,20}(~[0-9]{1,2})?-[A-Z0-9]{1,10}(-PERP|-[0-9]{6})?$'"
"""What the name of an instrument looks like (`engine.domain.instrument`), for ``match``."""


def between(column: str) -> str:
    """Return the scope's range on a time column, in a form that the primary key can use."""
    return (
        f"{column} >= fromUnixTimestamp64Nano({{start:Int64}}) "
        f"AND {column} < fromUnixTimestamp64Nano({{end:Int64}})"
    )


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are looked at."""

    start: int
    """UTC nanoseconds: the first ``open_time`` of candles, or ``available_at`` of texts."""
    end: int
    """Likewise; not included."""
    now: int
    """What is later than this claims to come from the future; UTC nanoseconds."""
    tables: Sequence[QualityTable] = ("candles", "texts")
    exchange: str | None = None
    """Only this venue's candles."""
    instruments: Sequence[str] = ()
    """Only these instruments' candles."""
    timeframes: Sequence[Timeframe] = ()
    """Only these candles; all but ``1s`` where none are given."""
    sources: Sequence[str] = ()
    """Only these sources of texts."""

    @property
    def span(self) -> dict[str, Any]:
        """The range as parameters of a query."""
        return {"start": self.start, "end": self.end, "now": self.now}

    @property
    def wanted_timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes, written out."""
        return tuple(self.timeframes) or tuple(t for t in Timeframe if t is not Timeframe.S1)


def set_aside(
    table: str, source: str, faults: dict[str, str], row: Sequence[str], rows: str
) -> str:
    """Return the statement that copies failing rows to ``quarantine``, each once.

    Parameters
    ----------
    table
        Where they are.
    source
        What says where a row comes from, in SQL.
    faults
        Reason -> when it holds, in SQL over `rows`.
    row
        Columns that the copy keeps.
    rows
        A query of the rows.
    """
    reasons = ", ".join(f"if({holds}, '{reason}', '')" for reason, holds in faults.items())
    return f"""
INSERT INTO quarantine
    (job, run_id, table_name, source, row_number, reason, row, quarantined_at)
WITH found AS
(
    SELECT {source} AS said, arrayJoin(arrayFilter(each -> each != '', [{reasons}])) AS why,
        formatRowNoNewline('JSONEachRow', {", ".join(row)}) AS held
    FROM ({rows})
)
SELECT 'check_quality', {{run_id:String}}, '{table}', said, 0, why, held,
    fromUnixTimestamp64Nano({{now:Int64}})
FROM found
WHERE (said, why, cityHash64(held)) NOT IN
    (SELECT source, reason, cityHash64(row) FROM quarantine WHERE table_name = '{table}')
"""
