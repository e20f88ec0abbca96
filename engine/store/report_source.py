"""From the store to a report: the ranking of a moment, and what is told beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.config import Config
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.outcome import BarOutcome
from engine.domain.signal import Ranking, Signal
from engine.errors import StoreError
from engine.features.catalogue import FEATURE_VERSION
from engine.features.warm_up import WARM_UP_BARS
from engine.reports.report import (
    PastSignal,
    PriceChart,
    Report,
    ReportedSignal,
    Source,
    TrackRecord,
    count_directions,
)
from engine.signals.ranker import HORIZONS, model_name, rank
from engine.signals.weights import load_weights
from engine.store.client import Store
from engine.store.report_reader import Bar, ReportReader

EVER = 2**63 - 1
"""As a moment: whatever is stored."""

RECENT_BARS = 24
"""A market with features this many bars before the ranked one is missed where it has none of it."""

Universe = Callable[[list[Market]], list[Market]]
"""Chooses which of the markets that have features are compared, as the engine does."""


class ReportSource:
    """Gathers a report.

    Parameters
    ----------
    store
        Where the rows are.
    config
        ``report`` says what is wanted, ``ranking`` how feature rows are ranked.
    universe
        Of rankings that are made here.
    """

    def __init__(self, store: Store, config: Config, universe: Universe) -> None:
        self._reader = ReportReader(store)
        self._config = config
        self._universe = universe
        self._weights = load_weights(config.ranking.weights)
        self._timeframe = config.report.timeframe or config.ranking.timeframe
        self.horizon, self._horizon_ns = HORIZONS[self._timeframe]

    def report(self) -> Report:
        """Gather it.

        Raises
        ------
        StoreError
            Where there is nothing to rank; it says what to do.
        """
        moment = self._config.report.moment()
        as_of = EVER if moment is None else moment
        stored = self._reader.ranking(self._timeframe, as_of, model_name(self._weights))
        if stored:
            return self._told(
                stored, tuple(sorted(one.instrument for one in stored)), (), "signals"
            )
        bar = self._newest_bar(as_of)
        ranking, rows = self._ranked(bar.open_time, bar.close_time)
        if not ranking.signals:
            raise StoreError(
                f"none of the {len(rows)} markets with features of the {self._timeframe} bar has "
                "a factor to be compared by; the bars before it are missing: import them, and run "
                "build_features again"
            )
        return self._told(
            ranking.signals, ranking.universe, self._absent(bar.open_time, rows), "features"
        )

    def _newest_bar(self, as_of: int) -> Bar:
        least = self._config.ranking.min_universe
        found = self._reader.newest_bar(self._timeframe, FEATURE_VERSION, as_of, least)
        if found is not None:
            return found
        versions = self._reader.feature_versions(self._timeframe, as_of)
        until = f" up to {self._config.report.as_of}" if self._config.report.as_of else ""
        if not versions:
            raise StoreError(
                f"there is neither a signal nor a row of features of {self._timeframe} bars{until} "
                "in the store; make features with: engine submit build_features"
            )
        if FEATURE_VERSION not in versions:
            raise StoreError(
                f"the stored features of {self._timeframe} bars are of catalogue "
                f"{', '.join(versions)}, this version ranks {FEATURE_VERSION}; make them anew "
                "with: engine submit build_features"
            )
        raise StoreError(
            f"no {self._timeframe} bar{until} has features of {least} markets, which "
            "ranking.min_universe asks for"
        )

    def _ranked(self, open_time: int, close_time: int) -> tuple[Ranking, list[FeatureRow]]:
        """Rank the stored rows of one bar as of its close."""
        rows = self._reader.features_of_bar(self._timeframe, FEATURE_VERSION, open_time)
        chosen = set(self._universe([Market(row.exchange, row.instrument) for row in rows]))
        rows = [row for row in rows if Market(row.exchange, row.instrument) in chosen]
        window = self._config.ranking.sentiment_window
        ranking = rank(
            rows,
            self._reader.sentiment_known(window, close_time),
            as_of=close_time,
            config=self._config.ranking,
            weights=self._weights,
            feed={},
            sequence=0,
        )
        return ranking, rows

    def _absent(self, open_time: int, rows: Sequence[FeatureRow]) -> tuple[str, ...]:
        """Name the markets that had features lately and have none of this bar."""
        start = open_time - RECENT_BARS * self._timeframe.ns
        lately = self._reader.markets_with_features(self._timeframe, max(0, start), open_time)
        here = {Market(row.exchange, row.instrument) for row in rows}
        chosen = self._universe([*here, *(market for market in lately if market not in here)])
        return tuple(sorted(str(market) for market in chosen if market not in here))

    def _told(
        self,
        signals: Sequence[Signal],
        universe: tuple[str, ...],
        absent: tuple[str, ...],
        source: Source,
    ) -> Report:
        """Put beside the best signals what is told with them."""
        as_of = signals[0].as_of
        best = list(signals[: self._config.report.top])
        records = self._records(best, as_of, source)
        charts = self._charts(best, as_of)
        since = as_of - WARM_UP_BARS * self._timeframe.ns
        return Report(
            as_of=as_of,
            timeframe=self._timeframe.value,
            horizon=best[0].horizon,
            source=source,
            model=best[0].model,
            feature_version=best[0].feature_version,
            universe=universe,
            ranked=len(signals),
            directions=count_directions(signals),
            absent=absent,
            incomplete=sum(not signal.coverage.feed_complete for signal in signals),
            gaps=tuple(self._reader.gaps_open_at(universe, as_of, max(0, since))),
            mood=tuple(self._reader.mood_known(as_of)),
            signals=tuple(
                ReportedSignal(
                    signal,
                    charts[_market(signal)],
                    None if records is None else records.get(_market(signal), TrackRecord(())),
                )
                for signal in best
            ),
        )

    def _charts(self, signals: Sequence[Signal], as_of: int) -> Mapping[Market, PriceChart]:
        bar_ns = self._timeframe.ns
        start = max(0, as_of - self._config.report.chart_bars * bar_ns)
        markets = [_market(signal) for signal in signals]
        candles = self._reader.closes(markets, self._timeframe, start, as_of)
        return {
            market: PriceChart(
                bar_ns,
                tuple(candle.close_time for candle in candles[market]),
                tuple(candle.close for candle in candles[market]),
            )
            for market in markets
        }

    def _records(
        self, signals: Sequence[Signal], as_of: int, source: Source
    ) -> Mapping[Market, TrackRecord] | None:
        """Return how earlier signals turned out; None where nothing is stored of that."""
        if not self._reader.has_outcomes(self._timeframe, self.horizon):
            return None
        moments = [
            as_of - number * self._horizon_ns
            for number in range(1, self._config.report.past + 1)
            if as_of > number * self._horizon_ns
        ]
        if not moments:
            return {}
        markets = {_market(signal) for signal in signals}
        if source == "signals":
            names = sorted({market.instrument for market in markets})
            earlier = self._reader.earlier_signals(
                self._timeframe, signals[0].model, names, moments
            )
        else:
            earlier = self._ranked_before(moments)
        mine = [signal for signal in earlier if _market(signal) in markets]
        outcomes = self._reader.outcomes_of(
            sorted(markets),
            self._timeframe,
            self.horizon,
            [moment - self._timeframe.ns for moment in moments],
            as_of,
        )
        return _joined(mine, outcomes)

    def _ranked_before(self, moments: Sequence[int]) -> list[Signal]:
        """Rank the stored rows of earlier bars, as they were ranked or would have been."""
        found: list[Signal] = []
        for close_time in moments:
            ranking, _ = self._ranked(close_time - self._timeframe.ns, close_time)
            found.extend(ranking.signals)
        return found


def _market(signal: Signal) -> Market:
    return Market(signal.exchange, signal.instrument)


def _joined(
    signals: Sequence[Signal], outcomes: Sequence[BarOutcome]
) -> Mapping[Market, TrackRecord]:
    """Join each signal with what followed its bar; those without a known return are left out."""
    followed = {(one.exchange, one.instrument, one.open_time): one for one in outcomes}
    past: dict[Market, list[PastSignal]] = {}
    for signal in sorted(signals, key=lambda one: one.as_of):
        outcome = followed.get((signal.exchange, signal.instrument, signal.bar_open_time))
        if outcome is None or outcome.forward_return is None:
            continue
        net = {
            "bullish": outcome.net_return_long,
            "bearish": outcome.net_return_short,
            "neutral": None,
        }[signal.direction]
        past.setdefault(_market(signal), []).append(
            PastSignal(
                signal.as_of,
                signal.rank,
                signal.score,
                signal.direction,
                outcome.forward_return,
                net,
            )
        )
    return {market: TrackRecord(tuple(each)) for market, each in past.items()}
