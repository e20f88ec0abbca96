"""The rows of a training set: bars, joined with what was known when they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.datasets.columns import (
    PERPETUAL,
    SENTIMENT,
    UNIVERSE,
    dataset_schema,
    label_columns,
    mood_column,
)
from engine.datasets.point_in_time import Keys, Moments, Positions, newest_known
from engine.datasets.request import DatasetRequest
from engine.domain.instrument import Instrument, Market
from engine.domain.sentiment import Window

MARKET = ("exchange", "instrument")

TICK_MAX_AGE_NS = Window.D1.ns
"""What a venue said of a perpetual counts for a day: funding is paid every eight hours or less."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rows of some bars may be joined with; every table in any order."""

    sentiment: pa.Table
    """instrument, as_of, and the columns `SENTIMENT` but the last, of one window and model."""
    mood: pa.Table
    """series, available_at, value; of one moment the value that counts comes last."""
    ticks: Mapping[str, pa.Table] = field(default_factory=dict)
    """``funding_rate`` and ``mark_price``: exchange, instrument, receive_time, value."""
    listings: pa.Table | None = None
    """exchange, instrument, valid_from, status."""
    outcomes: pa.Table | None = None
    """Columns of the table ``outcomes``, of one version, known by the watermark."""


def training_rows(bars: pa.Table, facts: Facts, request: DatasetRequest) -> pa.Table:
    """Join bars with what was known when each closed.

    Not when its row became available: a repaired candle makes rows anew months later, and what
    is known by then would stand beside a return that has long been made. A row of a live run is
    there moments after the close, and that much older is what it is joined with.

    Parameters
    ----------
    bars
        exchange, instrument, open_time, close_time, available_at, close and the features.
    facts
        What there is. A fact is joined to a bar only where it became available at or before the
        bar's ``close_time``; labels, which nobody knew then, by the bar itself.
    request
        See there.

    Returns
    -------
    Table
        In the schema of `dataset_schema`, by open_time, exchange and instrument.
    """
    bars = bars.sort_by([(name, "ascending") for name in ("open_time", *MARKET)])
    moment = times_of(bars, "close_time")
    columns: dict[str, pa.ChunkedArray] = {name: bars.column(name) for name in bars.column_names}
    columns |= _sentiment(bars, moment, facts.sentiment, request)
    columns |= _mood(moment, facts.mood, request.mood_series)
    columns |= _perpetual(bars, moment, facts.ticks)
    columns |= _universe(bars, moment, facts.listings)
    for horizon in request.horizons:
        columns |= _labels(bars, facts.outcomes, horizon)
    schema = dataset_schema(request)
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema)


def perpetual_of(market: Market, known: frozenset[Market]) -> Market | None:
    """Return the perpetual that speaks for a market; None where none of `known` does.

    Itself where it is one; else the one of the same coin and quote on its venue, where spot and
    perpetuals share a name, or on the venue's perpetual side.

    Examples
    --------
    >>> swap = Market("binance_perp", "BTC-USDT-PERP")
    >>> perpetual_of(Market("binance", "BTC-USDT"), frozenset({swap})) == swap
    True
    """
    swap = str(Instrument.parse(market.instrument)._replace(perpetual=True, expiry=None))
    for exchange in (market.exchange, f"{market.exchange}_perp"):
        if Market(exchange, swap) in known:
            return Market(exchange, swap)
    return None


def times_of(table: pa.Table, name: str) -> Moments:
    """Return a column of times as UTC nanoseconds."""
    times = table.column(name).cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
    return np.asarray(times.to_numpy(), dtype=np.int64)


def _sentiment(
    bars: pa.Table, moment: Moments, facts: pa.Table, request: DatasetRequest
) -> dict[str, pa.ChunkedArray]:
    key, fact_key = _codes(_texts(bars, ("instrument",)), _texts(facts, ("instrument",)))
    at = newest_known(
        moment, key, times_of(facts, "as_of"), fact_key, Window(request.sentiment_window).ns
    )
    renamed = facts.rename_columns({"as_of": "sentiment_as_of"})
    return {column.name: taken(renamed.column(column.name), at) for column in SENTIMENT}


def _mood(moment: Moments, facts: pa.Table, series: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    found = {}
    for number, name in enumerate(series):
        key = np.full(len(moment), number, dtype=np.intp)
        fact_key = np.where(np.array(_texts(facts, ("series",))) == name, number, -1)
        at = newest_known(moment, key, times_of(facts, "available_at"), fact_key.astype(np.intp))
        found[mood_column(name)] = taken(facts.column("value"), at)
    return found


def _perpetual(
    bars: pa.Table, moment: Moments, ticks: Mapping[str, pa.Table]
) -> dict[str, pa.ChunkedArray]:
    found = {}
    for column in PERPETUAL:
        facts = ticks.get(column.name)
        if facts is None or not facts.num_rows:
            found[column.name] = pa.chunked_array([pa.nulls(len(moment), column.type)])
            continue
        names = _texts(facts, MARKET)
        known = frozenset(Market(*name.split(" ")) for name in set(names))
        asked = [_swap_name(name, known) for name in _texts(bars, MARKET)]
        key, fact_key = _codes(asked, names)
        at = newest_known(moment, key, times_of(facts, "receive_time"), fact_key, TICK_MAX_AGE_NS)
        found[column.name] = taken(facts.column("value"), at)
    return found


def _swap_name(market: str, known: frozenset[Market]) -> str:
    found = perpetual_of(Market(*market.split(" ")), known)
    return "" if found is None else " ".join(found)


def _universe(
    bars: pa.Table, moment: Moments, facts: pa.Table | None
) -> dict[str, pa.ChunkedArray]:
    (column,) = UNIVERSE
    if facts is None or not facts.num_rows:
        return {column.name: pa.chunked_array([pa.nulls(len(moment), column.type)])}
    key, fact_key = _codes(_texts(bars, MARKET), _texts(facts, MARKET))
    at = newest_known(moment, key, times_of(facts, "valid_from"), fact_key)
    return {column.name: taken(facts.column("status"), at)}


def _labels(bars: pa.Table, outcomes: pa.Table | None, horizon: str) -> dict[str, pa.ChunkedArray]:
    wanted = label_columns(horizon)
    if outcomes is None or not outcomes.num_rows:
        return {c.name: pa.chunked_array([pa.nulls(bars.num_rows, c.type)]) for c in wanted}
    own = outcomes.filter(pc.equal(outcomes.column("horizon"), horizon))
    at = _index(own).get_indexer(_index(bars))
    return {c.name: taken(own.column(c.name.removesuffix(f"_{horizon}")), at) for c in wanted}


def _index(rows: pa.Table) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([_texts(rows, MARKET), times_of(rows, "open_time")])


def _texts(rows: pa.Table, names: Sequence[str]) -> list[str]:
    """Return columns of text, joined by a space: no name of ours holds one."""
    columns = [rows.column(name).cast(pa.string()).to_pylist() for name in names]
    return columns[0] if len(columns) == 1 else list(map(" ".join, zip(*columns, strict=True)))


def _codes(left: Sequence[str], right: Sequence[str]) -> tuple[Keys, Keys]:
    """Return a number for each name; equal names have equal numbers on both sides."""
    codes = pd.factorize(np.array([*left, *right], dtype=object))[0].astype(np.intp)
    return codes[: len(left)], codes[len(left) :]


def taken(column: pa.ChunkedArray, at: Positions) -> pa.ChunkedArray:
    """Return the values at some positions; null where the position is negative."""
    return column.take(pa.array(at, mask=at < 0))
