"""What a report asks the store: all of it as it was known at the report's moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import Candle, Gap
from engine.domain.outcome import BarOutcome
from engine.domain.sentiment import SentimentAggregate, Window
from engine.domain.signal import Signal
from engine.domain.text import MarketMood
from engine.store.columns import python_values
from engine.store.reader import IN_MARKETS, Reader, names_of


class Bar(NamedTuple):
    """A bar that several markets have features of."""

    open_time: int
    close_time: int


class ReportReader(Reader):
    """Reads rankings, and what is told beside them. See `engine.store.reader.Reader`."""

    def ranking(self, timeframe: str, as_of: int, model: str) -> list[Signal]:
        """Return the newest stored ranking not after `as_of`, best first; empty where none is.

        Where several models ranked that bar, `model` is preferred, else the first by name.
        """
        found: list[Signal] = self._rows(
            "signals",
            "FINAL WHERE timeframe = {timeframe:String} AND as_of = ("
            "SELECT max(as_of) FROM signals WHERE timeframe = {timeframe:String} "
            "AND as_of <= fromUnixTimestamp64Nano({as_of:Int64})) "
            "ORDER BY model != {model:String}, model, rank",
            timeframe=timeframe,
            as_of=as_of,
            model=model,
        )
        return [signal for signal in found if signal.model == found[0].model]

    def earlier_signals(
        self, timeframe: str, model: str, instruments: Sequence[str], moments: Sequence[int]
    ) -> list[Signal]:
        """Return what one model said of some instruments at some moments, by instrument."""
        return self._rows(
            "signals",
            "FINAL WHERE timeframe = {timeframe:String} AND model = {model:String} "
            "AND has({instruments:Array(String)}, instrument) "
            "AND as_of >= fromUnixTimestamp64Nano({first:Int64}) "
            "AND as_of <= fromUnixTimestamp64Nano({last:Int64}) "
            "AND has({moments:Array(Int64)}, toUnixTimestamp64Nano(as_of)) "
            "ORDER BY instrument, as_of",
            timeframe=timeframe,
            model=model,
            instruments=list(instruments),
            moments=list(moments),
            first=min(moments),
            last=max(moments),
        )

    def newest_bar(
        self, timeframe: str, version: str, as_of: int, least_markets: int
    ) -> Bar | None:
        """Return the newest bar that closed by `as_of` and that enough markets have features of."""
        found = self._store.query_arrow(
            "SELECT open_time, any(close_time) AS ends FROM features "
            "WHERE timeframe = {timeframe:String} AND version = {version:String} "
            "AND close_time <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "GROUP BY open_time HAVING uniqExact(exchange, instrument) >= {least:UInt64} "
            "ORDER BY open_time DESC LIMIT 1",
            {"timeframe": timeframe, "version": version, "as_of": as_of, "least": least_markets},
        )
        if not found.num_rows:
            return None
        ends = (python_values(found.column(name))[0] for name in ("open_time", "ends"))
        return Bar(*ends)

    def feature_versions(self, timeframe: str, as_of: int) -> list[str]:
        """Return the versions of the catalogue that features closed by `as_of` are of."""
        found = self._store.query_arrow(
            "SELECT DISTINCT version FROM features WHERE timeframe = {timeframe:String} "
            "AND close_time <= fromUnixTimestamp64Nano({as_of:Int64}) ORDER BY version",
            {"timeframe": timeframe, "as_of": as_of},
        )
        return list(map(str, found.column("version").to_pylist()))

    def features_of_bar(self, timeframe: str, version: str, open_time: int) -> list[FeatureRow]:
        """Return every market's row of features of one bar, by venue and instrument."""
        return self._rows(
            "features",
            "FINAL WHERE timeframe = {timeframe:String} AND version = {version:String} "
            "AND open_time = fromUnixTimestamp64Nano({open_time:Int64}) "
            "ORDER BY exchange, instrument",
            timeframe=timeframe,
            version=version,
            open_time=open_time,
        )

    def markets_with_features(self, timeframe: str, start: int, end: int) -> list[Market]:
        """Return the markets that have a row of features of a bar in a range."""
        found = self._store.query_arrow(
            "SELECT DISTINCT exchange, instrument FROM features "
            "WHERE timeframe = {timeframe:String} "
            "AND open_time >= fromUnixTimestamp64Nano({start:Int64}) "
            "AND open_time < fromUnixTimestamp64Nano({end:Int64}) ORDER BY exchange, instrument",
            {"timeframe": timeframe, "start": start, "end": end},
        )
        columns = (found.column(name).to_pylist() for name in ("exchange", "instrument"))
        return [Market(*pair) for pair in zip(*columns, strict=True)]

    def sentiment_known(self, window: str, as_of: int) -> Mapping[str, SentimentAggregate]:
        """Return each instrument's newest aggregate of a window that still speaks at `as_of`."""
        found: list[SentimentAggregate] = self._rows(
            "sentiment_aggregates",
            "FINAL WHERE window = {window:String} "
            "AND as_of > fromUnixTimestamp64Nano({after:Int64}) "
            "AND as_of <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "ORDER BY instrument, as_of DESC, model LIMIT 1 BY instrument",
            window=str(window),
            after=max(0, as_of - Window(window).ns),
            as_of=as_of,
        )
        return {aggregate.instrument: aggregate for aggregate in found}

    def outcomes_of(
        self,
        markets: Sequence[Market],
        timeframe: str,
        horizon: str,
        bars: Sequence[int],
        known_by: int,
    ) -> list[BarOutcome]:
        """Return what followed some bars of some markets, as far as it was known at a moment.

        Parameters
        ----------
        markets, timeframe, horizon
            Of what.
        bars
            Their open times; at least one.
        known_by
            UTC nanoseconds.
        """
        if not markets:
            return []
        return self._rows(
            "outcomes",
            f"FINAL WHERE {IN_MARKETS} AND timeframe = {{timeframe:String}} "
            "AND horizon = {horizon:String} "
            "AND open_time >= fromUnixTimestamp64Nano({first:Int64}) "
            "AND open_time <= fromUnixTimestamp64Nano({last:Int64}) "
            "AND has({bars:Array(Int64)}, toUnixTimestamp64Nano(open_time)) "
            "AND known_at <= fromUnixTimestamp64Nano({known_by:Int64}) "
            "ORDER BY exchange, instrument, open_time",
            **names_of(markets),
            timeframe=timeframe,
            horizon=horizon,
            bars=list(bars),
            first=min(bars),
            last=max(bars),
            known_by=known_by,
        )

    def has_outcomes(self, timeframe: str, horizon: str) -> bool:
        """Say whether anything is stored of what followed bars over a horizon."""
        found = self._store.query_arrow(
            "SELECT 1 FROM outcomes WHERE timeframe = {timeframe:String} "
            "AND horizon = {horizon:String} LIMIT 1",
            {"timeframe": timeframe, "horizon": horizon},
        )
        return bool(found.num_rows)

    def closes(
        self, markets: Sequence[Market], timeframe: str, start: int, end: int
    ) -> Mapping[Market, list[Candle]]:
        """Return each market's closed candles that open in a range, ascending."""
        found: dict[Market, list[Candle]] = {market: [] for market in markets}
        for candle in self.candles_of_markets(markets, timeframe, start, end):
            if candle.is_closed:
                found[Market(candle.exchange, candle.instrument)].append(candle)
        return found

    def gaps_open_at(self, instruments: Sequence[str], as_of: int, since: int) -> list[Gap]:
        """Return the gaps that were open at a moment and reach into the time after `since`."""
        return self._rows(
            "feed_gaps",
            "FINAL WHERE has({instruments:Array(String)}, instrument) "
            "AND opened_at <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "AND (isNull(repaired_at) OR repaired_at > fromUnixTimestamp64Nano({as_of:Int64})) "
            "AND (isNull(to_time) OR to_time > fromUnixTimestamp64Nano({since:Int64})) "
            "ORDER BY opened_at, gap_id",
            instruments=list(instruments),
            as_of=as_of,
            since=since,
        )

    def mood_known(self, as_of: int) -> list[MarketMood]:
        """Return the newest value of each index of mood that was known at a moment."""
        return self._rows(
            "market_mood",
            "FINAL WHERE available_at <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "ORDER BY series, time DESC LIMIT 1 BY series",
            as_of=as_of,
        )
