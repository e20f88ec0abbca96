"""Typed questions to the store. Values are always bound, never written into the SQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.domain.credibility import SourceCredibility
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle, Gap, Listing, Trade
from engine.domain.sentiment import SentimentAggregate, SentimentEvent, SentimentScore, Window
from engine.domain.signal import Ranking, Signal
from engine.domain.text import MarketMood, TextItem
from engine.features.catalogue import FEATURE_NAMES
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.sentiment_history import SentimentHistory
from engine.store.tables import TABLES

MAX_ROWS = 1_000_000
"""Most rows that a question without a limit of its own returns."""


def _between(column: str) -> str:
    """Return a half-open range on a time column, in a form that the primary key can use."""
    return (
        f"{column} >= fromUnixTimestamp64Nano({{start:Int64}}) "
        f"AND {column} < fromUnixTimestamp64Nano({{end:Int64}})"
    )


IN_MARKETS = (
    "(exchange, instrument) IN (SELECT arrayJoin("
    "arrayZip({exchanges:Array(String)}, {instruments:Array(String)})))"
)
"""Condition that takes the parameters of `names_of`."""


class FirstTrade(NamedTuple):
    """The earliest trade that is held of a market."""

    sequence: int
    exchange_time: int
    receive_time: int


class Reader:
    """Reads rows back as the domain's structs. Blocking, and safe to share between threads.

    Every method raises `StoreUnavailable` where there is no answer. Times are UTC nanoseconds,
    ranges ``[start, end)``.

    Parameters
    ----------
    store
        Where the rows are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def candles(
        self,
        exchange: str,
        instrument: str,
        timeframe: str,
        start: int,
        end: int,
        limit: int = MAX_ROWS,
    ) -> list[Candle]:
        """Return the newest version of a market's candles by open_time, the earliest `limit`."""
        return self._rows(
            "candles",
            "FINAL WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
            f"AND timeframe = {{timeframe:String}} AND {_between('open_time')} "
            "ORDER BY open_time LIMIT {limit:UInt64}",
            exchange=exchange,
            instrument=instrument,
            timeframe=str(timeframe),
            start=start,
            end=end,
            limit=limit,
        )

    def last_candles(
        self, exchange: str, instrument: str, timeframe: str, end: int, limit: int
    ) -> list[Candle]:
        """Return a market's last `limit` candles that open before `end`, ascending."""
        newest_first = self._rows(
            "candles",
            "FINAL WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
            "AND timeframe = {timeframe:String} "
            "AND open_time < fromUnixTimestamp64Nano({end:Int64}) "
            "ORDER BY open_time DESC LIMIT {limit:UInt64}",
            exchange=exchange,
            instrument=instrument,
            timeframe=str(timeframe),
            end=end,
            limit=limit,
        )
        return newest_first[::-1]

    def candles_of_markets(
        self, markets: Sequence[Market], timeframe: str, start: int, end: int
    ) -> list[Candle]:
        """Return the newest version of many markets' candles, by market and open_time."""
        if not markets:
            return []
        return self._rows(
            "candles",
            f"FINAL WHERE {IN_MARKETS} AND timeframe = {{timeframe:String}} "
            f"AND {_between('open_time')} ORDER BY exchange, instrument, open_time",
            **names_of(markets),
            timeframe=str(timeframe),
            start=start,
            end=end,
        )

    def book_snapshots(
        self, exchange: str, instrument: str, start: int, end: int
    ) -> list[BookSnapshot]:
        """Return the snapshots of a market's L2 book by as_of."""
        return self._rows(
            "book_snapshots",
            "FINAL WHERE exchange = {exchange:String} AND instrument = {instrument:String} "
            f"AND {_between('as_of')} ORDER BY as_of",
            exchange=exchange,
            instrument=instrument,
            start=start,
            end=end,
        )

    def last_book_snapshots(
        self, markets: Sequence[Market], step_ns: int, start: int, end: int
    ) -> list[BookSnapshot]:
        """Return the last snapshot of each market and interval, a market's ascending in time.

        Intervals begin behind the whole multiples of `step_ns`, and include their end.
        """
        if not markets:
            return []
        return self._rows(
            "book_snapshots",
            f"FINAL WHERE {IN_MARKETS} AND {_between('as_of')} "
            "ORDER BY exchange, instrument, as_of DESC LIMIT 1 BY exchange, instrument, "
            "intDiv(toUnixTimestamp64Nano(as_of) - 1, {step:Int64})",
            **names_of(markets),
            step=step_ns,
            start=start,
            end=end,
        )[::-1]

    def trades(self, exchange: str, instrument: str, start: int, end: int) -> list[Trade]:
        """Return a market's trades by (exchange_time, sequence, trade_id)."""
        return self.trades_of_markets([Market(exchange, instrument)], start, end)

    def trades_of_markets(self, markets: Sequence[Market], start: int, end: int) -> list[Trade]:
        """Return many markets' trades by market, then (exchange_time, sequence, trade_id)."""
        if not markets:
            return []
        return self._rows(
            "trades",
            f"WHERE {IN_MARKETS} AND {_between('exchange_time')} "
            "ORDER BY exchange, instrument, exchange_time, sequence, trade_id",
            **names_of(markets),
            start=start,
            end=end,
        )

    def last_trades(self, exchange: str) -> dict[str, tuple[int, int]]:
        """Return each instrument's largest sequence and latest exchange_time."""
        found = self._store.query_arrow(
            "SELECT instrument, max(sequence) AS sequence, max(exchange_time) AS time FROM trades "
            "WHERE exchange = {exchange:String} GROUP BY instrument ORDER BY instrument",
            {"exchange": exchange},
        )
        names, sequences, times = (
            python_values(found.column(name)) for name in ("instrument", "sequence", "time")
        )
        return dict(zip(names, zip(sequences, times, strict=True), strict=True))

    def first_trades(self, exchange: str, since: int) -> dict[str, FirstTrade]:
        """Return the earliest stored trade of each instrument that has none before `since`."""
        found = self._store.query_arrow(
            "SELECT instrument, min(exchange_time) AS time, "
            "argMin(sequence, (exchange_time, sequence)) AS number, "
            "argMin(receive_time, (exchange_time, sequence)) AS received FROM trades "
            "WHERE exchange = {exchange:String} GROUP BY instrument "
            "HAVING time >= fromUnixTimestamp64Nano({since:Int64}) ORDER BY instrument",
            {"exchange": exchange, "since": since},
        )
        names, *values = (
            python_values(found.column(name))
            for name in ("instrument", "number", "time", "received")
        )
        return dict(zip(names, map(FirstTrade, *values), strict=True))

    def counts(self) -> dict[str, int]:
        """Return the stored rows of each table, superseded versions included."""
        found = self._store.query_arrow(
            "SELECT name, toInt64(assumeNotNull(total_rows)) AS rows FROM system.tables "
            "WHERE database = currentDatabase() AND has({tables:Array(String)}, name)",
            {"tables": list(TABLES)},
        )
        pairs = zip(
            python_values(found.column("name")), python_values(found.column("rows")), strict=True
        )
        counted = dict(pairs)
        return {name: counted[name] for name in TABLES if name in counted}

    def texts(self, start: int, end: int) -> list[TextItem]:
        """Return texts by available_at."""
        return self._rows(
            "texts",
            f"FINAL WHERE {_between('available_at')} ORDER BY available_at, text_id",
            start=start,
            end=end,
        )

    def text_ids(self, source: str, newest: int = 100_000) -> list[str]:
        """Return the ids of a source's texts, the newest of them, in no order."""
        found = self._store.query_arrow(
            "SELECT text_id FROM (SELECT text_id, max(available_at) AS moment FROM texts "
            "WHERE source = {source:String} GROUP BY text_id) "
            "ORDER BY moment DESC LIMIT {newest:UInt32}",
            {"source": source, "newest": newest},
        )
        return list(found.column("text_id").to_pylist())

    def mood(self, series: str) -> list[MarketMood]:
        """Return the values of an index of mood by time."""
        return self._rows(
            "market_mood", "FINAL WHERE series = {series:String} ORDER BY time", series=series
        )

    def scores(self, start: int, end: int, model: str = "") -> list[SentimentScore]:
        """Return the scores of the texts available in a range, of one model or of all."""
        return self._rows(
            "sentiment_scores",
            "FINAL WHERE text_id IN "
            f"(SELECT text_id FROM texts WHERE {_between('available_at')}) "
            "AND (model = {model:String} OR {model:String} = '') "
            "ORDER BY scored_at, text_id, model",
            start=start,
            end=end,
            model=model,
        )

    def source_credibility(self, model: str, version: str) -> list[SourceCredibility]:
        """Return how often sources were right by a model and version of the rules, by as_of."""
        return self._rows(
            "source_credibility",
            "FINAL WHERE model = {model:String} AND version = {version:String} "
            "ORDER BY as_of, source, level, name",
            model=model,
            version=version,
        )

    def latest_aggregates(self, as_of: int) -> list[SentimentAggregate]:
        """Return the newest aggregate not after `as_of` of every instrument and window."""
        return self._rows(
            "sentiment_aggregates",
            "FINAL WHERE as_of <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "ORDER BY instrument, window, as_of DESC, model LIMIT 1 BY instrument, window",
            as_of=as_of,
        )

    def sentiment_events(
        self,
        start: int,
        end: int,
        limit: int,
        instrument: str = "",
        kind: str = "",
        window: Window | None = None,
    ) -> list[SentimentEvent]:
        """Return events of sentiment; see `engine.store.sentiment_history`."""
        history = SentimentHistory(self._store)
        return history.events(start, end, limit, instrument, kind, window)

    def aggregates(
        self, instrument: str, window: str, start: int, end: int
    ) -> list[SentimentAggregate]:
        """Return an instrument's aggregates of a window by as_of."""
        return self._rows(
            "sentiment_aggregates",
            "FINAL WHERE instrument = {instrument:String} AND window = {window:String} "
            f"AND {_between('as_of')} ORDER BY as_of, model",
            instrument=instrument,
            window=str(window),
            start=start,
            end=end,
        )

    def latest_features(self, instrument: str, timeframe: str) -> FeatureRow | None:
        """Return the newest row of features of an instrument, or None."""
        rows: list[FeatureRow] = self._rows(
            "features",
            "FINAL WHERE instrument = {instrument:String} AND timeframe = {timeframe:String} "
            "ORDER BY open_time DESC, exchange LIMIT 1",
            instrument=instrument,
            timeframe=str(timeframe),
        )
        return rows[0] if rows else None

    def feature_values(
        self,
        markets: Sequence[Market],
        timeframe: str,
        names: Sequence[str],
        version: str,
        start: int,
        end: int,
    ) -> list[tuple[Market, int, tuple[float, ...]]]:
        """Return some features of many markets' bars by market and open_time; NaN where missing.

        Parameters
        ----------
        markets, timeframe, start, end
            Which bars, by open_time.
        names
            Of the catalogue.
        version
            Of the catalogue: rows of another are left out.
        """
        unknown = set(names) - set(FEATURE_NAMES)
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]!r} is no feature of the catalogue")
        if not markets:
            return []
        wanted = ", ".join(["exchange", "instrument", "open_time", *names])
        found = self._store.query_arrow(
            f"SELECT {wanted} FROM features FINAL WHERE {IN_MARKETS} "
            "AND timeframe = {timeframe:String} AND version = {version:String} "
            f"AND {_between('open_time')} ORDER BY exchange, instrument, open_time",
            names_of(markets)
            | {"timeframe": str(timeframe), "version": version, "start": start, "end": end},
        )
        columns = (python_values(found.column(name)) for name in wanted.split(", "))
        return [
            (
                Market(exchange, instrument),
                open_time,
                tuple(math.nan if value is None else value for value in values),
            )
            for exchange, instrument, open_time, *values in zip(*columns, strict=True)
        ]

    def signal_history(
        self, instrument: str, timeframe: str, start: int, end: int, limit: int = MAX_ROWS
    ) -> list[Signal]:
        """Return an instrument's signals by as_of, the earliest `limit`."""
        return self._rows(
            "signals",
            "FINAL WHERE instrument = {instrument:String} AND timeframe = {timeframe:String} "
            f"AND {_between('as_of')} ORDER BY as_of, signal_id LIMIT {{limit:UInt64}}",
            instrument=instrument,
            timeframe=str(timeframe),
            start=start,
            end=end,
            limit=limit,
        )

    def latest_ranking(self, timeframe: str) -> Ranking | None:
        """Return the newest stored ranking, or None. Its `sequence` is 0: it was not counted."""
        signals: list[Signal] = self._rows(
            "signals",
            "FINAL WHERE timeframe = {timeframe:String} AND as_of = "
            "(SELECT max(as_of) FROM signals WHERE timeframe = {timeframe:String}) ORDER BY rank",
            timeframe=str(timeframe),
        )
        if not signals:
            return None
        return Ranking(
            as_of=signals[0].as_of,
            timeframe=str(timeframe),
            universe=tuple(sorted(signal.instrument for signal in signals)),
            signals=tuple(signals),
            is_closed_bar=all(signal.is_closed_bar for signal in signals),
            sequence=0,
        )

    def listings(self, exchange: str) -> list[Listing]:
        """Return a venue's whole registry of instruments, by name and time."""
        return self._rows(
            "instruments",
            "FINAL WHERE exchange = {exchange:String} ORDER BY instrument, valid_from",
            exchange=exchange,
        )

    def open_gaps(self) -> list[Gap]:
        """Return the gaps that are not repaired, oldest first."""
        return self._rows("feed_gaps", "FINAL WHERE isNull(repaired_at) ORDER BY opened_at, gap_id")

    def _rows(self, table: str, rest: str, **parameters: Any) -> list[Any]:
        declared = TABLES[table]
        # All but {name:Type} comes from this file and tables.py, never from a caller.
        sql = f"SELECT {declared.select} FROM {table} {rest}"
        return declared.from_arrow(self._store.query_arrow(sql, parameters))


def names_of(markets: Sequence[Market]) -> dict[str, list[str]]:
    """Return the parameters of `IN_MARKETS`."""
    return {
        "exchanges": [market.exchange for market in markets],
        "instruments": [market.instrument for market in markets],
    }
