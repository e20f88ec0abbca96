"""From a stored signal back to the trades and texts it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Market
from engine.domain.market import Gap
from engine.domain.sentiment import SentimentAggregate, Window
from engine.domain.signal import Signal
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import FEATURE_NAMES
from engine.features.warm_up import WARM_UP_BARS
from engine.signals.factors import SENTIMENT, sentiment_value
from engine.signals.ranker import MODEL_PREFIX
from engine.signals.weights import load_weights
from engine.store.candle_writers import candle_writers, stored_candles
from engine.store.client import Store
from engine.store.lineage import Origin, Plain, one_row, stored_rows, writer_of
from engine.store.toward import toward

MOST_TEXTS = 20
"""Texts that are listed; all are counted."""

MOST_GAPS = 20

MOST_MARKETS = 100

_SEGMENT_NAMES = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}

_MARKET = "exchange = {exchange:String} AND instrument = {instrument:String}"


def signal_lineage(store: Store, signal_id: str) -> Origin | None:
    """Return where a signal came from; None where no such signal is stored.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found: list[Signal] = stored_rows(
        store, "signals", "WHERE signal_id = {id:String} LIMIT 1", id=signal_id
    )
    if not found:
        return None
    return _SignalTrail(store, found[0]).origin()


class _SignalTrail:
    def __init__(self, store: Store, signal: Signal) -> None:
        self._store = store
        self._signal = signal
        self._timeframe = Timeframe(signal.timeframe)
        self._opened = signal.bar_open_time
        self._closed = self._opened + self._timeframe.ns
        segment = self._timeframe.segment_start(self._opened)
        self._first = max(0, segment - WARM_UP_BARS * self._timeframe.ns)
        moment = datetime.fromtimestamp(segment // NS_PER_S, UTC)
        segment_name = moment.strftime(_SEGMENT_NAMES[self._timeframe.segment_span])
        self._unit = f"{signal.timeframe} {segment_name}"
        self._market = {
            "exchange": signal.exchange,
            "instrument": signal.instrument,
            "timeframe": signal.timeframe,
        }

    def origin(self) -> Origin:
        signal = self._signal
        return Origin(
            f"signal {signal.signal_id}",
            {
                "market": f"{signal.exchange}:{signal.instrument}",
                "timeframe": signal.timeframe,
                "as_of": iso_utc(signal.as_of),
                "rank": signal.rank,
                "score": signal.score,
                "direction": signal.direction,
                "reference_price": signal.reference_price,
                "model": signal.model,
                "feature_version": signal.feature_version,
            },
            (self._features(), self._sentiment(), self._weights(), self._gaps()),
        )

    def _weights(self) -> Origin:
        """Return what the factors' weights were measured on."""
        name = self._signal.model.removeprefix(MODEL_PREFIX)
        try:
            weights = load_weights(name)
        except ConfigError:
            return Origin("weights", {"name": name, "file": "not one of this version's"})
        data = weights.data
        return Origin(
            "weights",
            {
                "name": name,
                "timeframe": weights.timeframe,
                "horizon_bars": weights.horizon_bars,
                "feature_version": weights.feature_version,
                "out_of_sample_ic": weights.out_of_sample_ic,
            },
            (
                Origin(
                    f"candles of {data.file}",
                    {
                        "sha256": data.sha256,
                        "rows": data.rows,
                        "instruments": data.instruments,
                        "from": data.start,
                        "to": data.end,
                        "out_of_sample_from": data.split,
                    },
                ),
            ),
        )

    def _features(self) -> Origin:
        present = " + ".join(f"isNotNull(`{name}`)" for name in FEATURE_NAMES)
        row = one_row(
            self._store,
            "SELECT available_at, close, version, inserted_at, toInt64(present) AS present FROM "
            f"(SELECT *, {present} AS present FROM features FINAL WHERE {_MARKET} AND timeframe = "
            "{timeframe:String} AND open_time = fromUnixTimestamp64Nano({opened:Int64}) LIMIT 1)",
            **self._market,
            opened=self._opened,
        )
        if not row:
            return Origin("features", {"row": "not stored (expired, or never written)"}, (
                self._candles(),
            ))  # fmt: skip
        facts = {
            "bar_open_time": iso_utc(self._opened),
            "available_at": iso_utc(row["available_at"]),
            "close": row["close"],
            "feature_version": row["version"],
            "values": f"{row['present']} of {len(FEATURE_NAMES)}",
        }
        if row["version"] != self._signal.feature_version:
            facts["changed"] = "written again since, by another version of the catalogue"
        elif row["close"] != self._signal.reference_price:
            facts["changed"] = "written again since, with another close"
        writer = writer_of(
            self._store, "build_features", self._unit, self._closed, row["inserted_at"]
        )
        written = writer or Origin("live", {"written_at": iso_utc(row["inserted_at"])})
        books = [book for book in (self._book(),) if book is not None]
        return Origin("features", facts, (written, self._candles(), *books, self._universe()))

    def _book(self) -> Origin | None:
        """Return the snapshot that the features of the book are of, if it is stored."""
        found = one_row(
            self._store,
            "SELECT as_of, receive_time, sequence, spread_bps, imbalance, microprice "
            f"FROM book_snapshots FINAL WHERE {_MARKET} "
            "AND as_of > fromUnixTimestamp64Nano({opened:Int64}) "
            "AND as_of <= fromUnixTimestamp64Nano({closed:Int64}) ORDER BY as_of DESC LIMIT 1",
            exchange=self._signal.exchange,
            instrument=self._signal.instrument,
            opened=self._opened,
            closed=self._closed,
        )
        if not found:
            return None
        times = {name: iso_utc(found.pop(name)) for name in ("as_of", "receive_time")}
        return Origin("book at the end of the bar", times | found)

    def _universe(self) -> Origin:
        """Return the rows that this one was ranked and measured among."""
        found = self._store.query_arrow(
            "SELECT exchange, instrument, close, toUnixTimestamp64Nano(available_at) AS available "
            "FROM features FINAL WHERE timeframe = {timeframe:String} "
            "AND open_time = fromUnixTimestamp64Nano({opened:Int64}) ORDER BY exchange, instrument",
            {"timeframe": self._signal.timeframe, "opened": self._opened},
        ).to_pylist()
        listed = [
            Origin(
                f"{row['exchange']}:{row['instrument']}",
                {"close": row["close"], "available_at": iso_utc(row["available"])},
            )
            for row in found[:MOST_MARKETS]
        ]
        if len(found) > MOST_MARKETS:
            listed.append(Origin(f"{len(found) - MOST_MARKETS} more markets"))
        return Origin("rows of that bar, for ranks and scores", {"markets": len(found)}, listed)

    def _candles(self) -> Origin:
        market = Market(self._signal.exchange, self._signal.instrument)
        held = stored_candles(self._store, market, self._timeframe, self._first, self._opened)
        if not held:
            return Origin("candles", {"candles": 0, "rows": "not stored (expired?)"})
        first, last = held[0].open_time, held[-1].open_time
        of = Counter(candle.source for candle in held)
        versions = [candle.version for candle in held]
        facts: dict[str, Plain] = {
            "candles": len(held),
            "intervals_without_one": (last - first) // self._timeframe.ns + 1 - len(held),
            "from": iso_utc(first),
            "to": iso_utc(last + self._timeframe.ns),
            "of_our_trades": of["trades"],
            "of_the_venue": of["rest"],
            "imported": of["import"],
            "versions": f"{iso_utc(min(versions))} to {iso_utc(max(versions))}",
        }
        if last != self._opened:
            facts["bar"] = "without trades: a flat bar at the close before it"
        writers = candle_writers(self._store, market, self._timeframe, held)
        return Origin("candles of its segment and the warm-up", facts, (*writers, self._trades()))

    def _trades(self) -> Origin:
        found = one_row(
            self._store,
            "SELECT toInt64(count()) AS trades, argMin(trade_id, (exchange_time, sequence)) AS "
            "first_id, argMax(trade_id, (exchange_time, sequence)) AS last_id, "
            "min(exchange_time) AS first, max(exchange_time) AS last FROM trades "
            f"WHERE {_MARKET} AND exchange_time >= fromUnixTimestamp64Nano({{opened:Int64}}) "
            "AND exchange_time < fromUnixTimestamp64Nano({closed:Int64})",
            exchange=self._signal.exchange,
            instrument=self._signal.instrument,
            opened=self._opened,
            closed=self._closed,
        )
        if not found.get("trades"):
            return Origin("trades of the bar", {"trades": 0})
        return Origin(
            "trades of the bar",
            {
                "trades": found["trades"],
                "first_id": found["first_id"],
                "last_id": found["last_id"],
                "from": iso_utc(found["first"]),
                "to": iso_utc(found["last"]),
            },
        )

    def _sentiment(self) -> Origin:
        used = next((c for c in self._signal.contributions if c.factor == SENTIMENT), None)
        if used is None or used.value is None:
            return Origin("sentiment", {"texts": "none was known about it"})
        known: list[SentimentAggregate] = stored_rows(
            self._store,
            "sentiment_aggregates",
            "WHERE instrument = {instrument:String} "
            "AND as_of <= fromUnixTimestamp64Nano({as_of:Int64}) "
            "ORDER BY window, model, as_of DESC LIMIT 1 BY window, model",
            instrument=self._signal.instrument,
            as_of=self._signal.as_of,
        )
        same = [one for one in known if sentiment_value(one) == used.value]
        if not same:
            return Origin(
                "sentiment",
                {"value": used.value, "aggregate": "not stored as it was (expired, or rewritten)"},
            )
        aggregate = same[0]
        return Origin(
            "sentiment",
            {
                "value": used.value,
                "contribution": used.contribution,
                "window": aggregate.window,
                "as_of": iso_utc(aggregate.as_of),
                "score": aggregate.score,
                "bullish": aggregate.bullish,
                "neutral": aggregate.neutral,
                "bearish": aggregate.bearish,
                "model": aggregate.model,
            },
            tuple(self._texts(aggregate)),
        )

    def _texts(self, aggregate: SentimentAggregate) -> Sequence[Origin]:
        found = self._store.query_arrow(
            "SELECT t.text_id AS text_id, source, title, url, "
            "toUnixTimestamp64Nano(available_at) AS available, "
            f"{toward('score', '{instrument:String}', 's')} AS score, "
            f"{toward('label', '{instrument:String}', 's')} AS label "
            "FROM texts AS t FINAL INNER JOIN "
            "(SELECT * FROM sentiment_scores FINAL WHERE model = {model:String}) AS s "
            "ON t.text_id = s.text_id WHERE has(instruments, {instrument:String}) "
            "AND empty(duplicate_of) AND available_at > fromUnixTimestamp64Nano({after:Int64}) "
            "AND available_at <= fromUnixTimestamp64Nano({until:Int64}) "
            "ORDER BY available_at DESC, text_id",
            {
                "model": aggregate.model,
                "instrument": aggregate.instrument,
                "after": aggregate.as_of - Window(aggregate.window).ns,
                "until": aggregate.as_of,
            },
        ).to_pylist()
        listed = [
            Origin(
                f"text {row['text_id']}",
                {
                    "source": row["source"],
                    "available_at": iso_utc(row["available"]),
                    "score": row["score"],
                    "label": row["label"],
                    "title": row["title"],
                    "url": row["url"] or None,
                },
            )
            for row in found[:MOST_TEXTS]
        ]
        if len(found) > MOST_TEXTS:
            listed.append(Origin(f"{len(found) - MOST_TEXTS} more texts"))
        return listed

    def _gaps(self) -> Origin:
        found: list[Gap] = stored_rows(
            self._store,
            "feed_gaps",
            f"WHERE {_MARKET} AND from_time < fromUnixTimestamp64Nano({{closed:Int64}}) "
            "AND (isNull(to_time) OR to_time >= fromUnixTimestamp64Nano({first:Int64})) "
            "ORDER BY opened_at, gap_id",
            exchange=self._signal.exchange,
            instrument=self._signal.instrument,
            first=self._first,
            closed=self._closed,
        )
        unrepaired = [gap for gap in found if gap.repaired_at is None]
        return Origin(
            "gaps of its feed over that time",
            {"open": len(unrepaired), "repaired": len(found) - len(unrepaired)},
            tuple(_gap(gap) for gap in unrepaired[:MOST_GAPS]),
        )


def _gap(gap: Gap) -> Origin:
    return Origin(
        f"gap {gap.gap_id}",
        {
            "channel": gap.channel,
            "cause": gap.cause,
            "from": iso_utc(gap.from_time),
            "to": None if gap.to_time is None else iso_utc(gap.to_time),
            "problem": gap.problem or None,
        },
    )
