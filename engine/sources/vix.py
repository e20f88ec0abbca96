"""The VIX, what options say of the coming month's volatility of the S&P 500, in points.

``https://cdn.cboe.com/api/global/us_indices/daily_prices/VIX_History.csv``: ``DATE,OPEN,HIGH,LOW,
CLOSE`` from 1990-01-02 on, days as ``12/31/2024``; linked from
https://www.cboe.com/tradable_products/vix/vix_historical_data/, shape of 2026-11-21. The close
counts as available at midnight in New York; it is known since 16:15 to whoever pays for quotes.
"""

from __future__ import annotations

from engine.sources.cboe import day_ns, positive, published_ns, read_day, table_rows
from engine.sources.mood import Reading, Skip

SERIES = "vix"
URL = "https://cdn.cboe.com/api/global/us_indices/daily_prices/VIX_History.csv"


def read_vix(content: bytes, skip: Skip) -> list[Reading]:
    """Read the table: a day's close, in points.

    Parameters
    ----------
    content
        The CSV.
    skip
        Called with the line and the reason for each row that cannot be used.

    Returns
    -------
    list of Reading
        In the table's order.

    Raises
    ------
    ValueError
        Where it is no such table.
    """
    found = []
    for line, row in table_rows(content, ("DATE", "HIGH", "LOW", "CLOSE")):
        try:
            day = read_day(row["DATE"])
            high, low, close = (positive(row, name) for name in ("HIGH", "LOW", "CLOSE"))
            if not low <= close <= high:
                raise ValueError(f"the close {close} is outside {low} to {high}")
        except ValueError as error:
            skip(f"line {line}: {error}")
        else:
            found.append(Reading(day_ns(day), close, published_ns(day)))
    return found
