"""Domain to JSON: a ranking is encoded once, and every answer is a join of ready pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from engine.clock import iso_utc
from engine.domain.features import FeatureRow
from engine.domain.market import Candle
from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Direction, Ranking, Signal

_encode = msgspec.json.encode
_SIGNAL_TIMES = ("as_of", "expires_at", "bar_open_time")


@dataclass(frozen=True, slots=True)
class Page:
    """A ready answer."""

    body: bytes
    etag: str


def signal_body(signal: Signal) -> dict[str, Any]:
    """Return a signal as the API shows it: fields as they are, times in ISO-8601."""
    body: dict[str, Any] = msgspec.structs.asdict(signal)
    for name in _SIGNAL_TIMES:
        body[name] = iso_utc(body[name])
    return body


def candle_body(candle: Candle) -> dict[str, Any]:
    """Return a candle without what its answer says once for all."""
    body: dict[str, Any] = msgspec.structs.asdict(candle)
    for name in ("exchange", "instrument", "timeframe", "version"):
        del body[name]
    body["open_time"] = iso_utc(candle.open_time)
    body["close_time"] = iso_utc(candle.close_time)
    return body


def features_body(row: FeatureRow, names: Sequence[str]) -> dict[str, Any]:
    """Return a row of features by name. NaN becomes null on encoding.

    Parameters
    ----------
    row
        The row; its values follow `names`.
    names
        The catalogue's names.
    """
    return {
        "exchange": row.exchange,
        "instrument": row.instrument,
        "timeframe": row.timeframe,
        "open_time": iso_utc(row.open_time),
        "close_time": iso_utc(row.close_time),
        "available_at": iso_utc(row.available_at),
        "close": row.close,
        "is_closed": row.is_closed,
        "version": row.version,
        "features": dict(zip(names, row.values, strict=True)),
    }


def sentiment_body(aggregate: SentimentAggregate) -> dict[str, Any]:
    """Return an aggregate with its number of mentions."""
    body: dict[str, Any] = msgspec.structs.asdict(aggregate)
    body["as_of"] = iso_utc(aggregate.as_of)
    body["mentions"] = aggregate.mentions
    return body


class RenderedRanking:
    """A ranking as bytes: each signal encoded once, pages joined and kept.

    Parameters
    ----------
    ranking
        What to render.
    """

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking
        self._signals = [_encode(signal_body(signal)) for signal in ranking.signals]
        self._places = {signal.instrument: i for i, signal in enumerate(ranking.signals)}
        head = {
            "as_of": iso_utc(ranking.as_of),
            "timeframe": ranking.timeframe,
            "is_closed_bar": ranking.is_closed_bar,
            "sequence": ranking.sequence,
            "universe": ranking.universe,
        }
        self._head = _encode(head)[:-1]  # open: the rest of the object follows
        self._pages: dict[int, Page] = {}

    def page(self, limit: int) -> Page:
        """Return the best `limit` signals, unfiltered.

        Built on the first request for this limit, kept as long as the ranking is the latest.
        """
        count = min(limit, len(self._signals))
        page = self._pages.get(count)
        if page is None:
            page = self._join(self._signals[:count], len(self._signals))
            self._pages[count] = page
        return page

    def filtered(
        self, limit: int, min_confidence: float = 0.0, direction: Direction | None = None
    ) -> Page:
        """Return the best `limit` of the signals that match, in the order of the ranking.

        Parameters
        ----------
        limit
            Most signals, at least 1.
        min_confidence
            Least confidence, in [0, 1].
        direction
            Only this direction; None takes all.
        """
        chosen = [
            self._signals[i]
            for i, signal in enumerate(self.ranking.signals)
            if signal.confidence >= min_confidence and direction in (None, signal.direction)
        ]
        return self._join(chosen[:limit], len(chosen))

    def signal(self, instrument: str) -> Page | None:
        """Return one instrument's signal, or None where it is not ranked."""
        place = self._places.get(instrument)
        return None if place is None else _page(self._signals[place])

    def _join(self, signals: Sequence[bytes], matched: int) -> Page:
        return _page(b'%b,"matched":%d,"signals":[%b]}' % (self._head, matched, b",".join(signals)))


def _page(body: bytes) -> Page:
    return Page(body, f'"{blake2b(body, digest_size=12).hexdigest()}"')
