"""Which instrument a symbol named when: its ticker may have been used again.

A symbol that is silent for long, while others of the same files trade, names another instrument
from its next trade on. What the registry knows goes before what silence suggests, and no row is
added that says something else than the venue said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.clock import iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import Listing, ListingStatus


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which a symbol traded, without a long silence."""

    start: int
    """First open time, UTC nanoseconds."""
    end: int
    """Last close time."""
    has_ended: bool
    """Whether it is followed by a long silence in which others traded."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a symbol is called when.

    Parameters
    ----------
    seams
        From when on (UTC nanoseconds, ascending), and the instrument's name: those behind the
        first generation.
    listings
        Rows for the registry.
    doubt
        Why the registry is left as it is, in a sentence; empty where it is not.
    """

    seams: tuple[tuple[int, str], ...]
    listings: tuple[Listing, ...]
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the registry holds of one generation."""

    begin: int
    rows: Sequence[Listing]

    @property
    def last(self) -> Listing:
        return self.rows[-1]

    @property
    def end(self) -> int | None:
        return self.last.delisted_at if self.last.status == "delisted" else None


def name_generations(
    exchange: str,
    instrument: str,
    symbol: str,
    spans: Sequence[Span],
    known: Sequence[Listing],
    silence: int,
) -> Named:
    """Say what a symbol's spans are called, and what the registry does not know of them yet.

    Parameters
    ----------
    exchange, instrument, symbol
        The venue, the first generation's name and the venue's own.
    spans
        When it traded, ascending and apart; at least one.
    known
        The registry's rows of this symbol, any order.
    silence
        How long it must be silent to be another instrument, nanoseconds.

    Examples
    --------
    >>> spans = [Span(100, 200, True), Span(900, 1000, False)]
    >>> name_generations("binance", "LUNA-USDT", "LUNAUSDT", spans, [], 500).seams
    ((900, 'LUNA~2-USDT'),)
    """
    history = _history(known)
    spans = _cut_at_known_ends(spans, history)
    numbers = _numbers(spans, history, silence)
    name = Instrument.parse(instrument)
    names = [str(name._replace(generation=number)) for number in numbers]
    seams = tuple(
        (span.start, each)
        for place, (span, each) in enumerate(zip(spans, names, strict=True))
        if numbers[place] != (numbers[place - 1] if place else 1)
    )
    later = _contradiction(spans, numbers, history)
    if later is not None:
        return Named(
            seams,
            (),
            f"the registry calls {symbol} {later.instrument} at {iso_utc(later.valid_from)[:10]}, "
            f"the files {names[-1]} before; the registry stays as it is",
        )
    rows: list[Listing] = []
    for place, span in enumerate(spans):
        follows = spans[place + 1].start if place + 1 < len(spans) else None
        rows += _rows(
            Listing(exchange, names[place], symbol, "trading", None, None, 1.0, None, None, 0),
            span,
            history.get(numbers[place]),
            numbers[place] + 1 in history,
            follows,
            silence,
        )
    return Named(seams, tuple(rows))


def _history(known: Sequence[Listing]) -> dict[int, _Known]:
    grouped: dict[int, list[Listing]] = {}
    for row in sorted(known, key=lambda row: row.valid_from):
        grouped.setdefault(Instrument.parse(row.instrument).generation, []).append(row)
    return {
        number: _Known(min([rows[0].valid_from, *(r.listed_at for r in rows if r.listed_at)]), rows)
        for number, rows in grouped.items()
    }


def _cut_at_known_ends(spans: Sequence[Span], history: dict[int, _Known]) -> list[Span]:
    """Cut where the registry knows that the symbol went on as another instrument."""
    cut = list(spans)
    for number, each in history.items():
        end = each.end
        if end is None or number + 1 not in history:
            continue
        cut = [
            part
            for span in cut
            for part in (
                (Span(span.start, end, True), Span(end, span.end, span.has_ended))
                if span.start < end < span.end
                else (span,)
            )
        ]
    return cut


def _numbers(spans: Sequence[Span], history: dict[int, _Known], silence: int) -> list[int]:
    """Return each span's generation: one more for every end before it, known or shown here."""
    numbers: list[int] = []
    for span in spans:
        ended = [
            number
            for number, each in history.items()
            if each.end is not None
            and each.end <= span.start
            and (number + 1 in history or span.start - each.end > silence)
        ]
        number = 1 + max(ended, default=0)
        numbers.append(max(number, numbers[-1] + 1) if numbers else number)
    return numbers


def _contradiction(
    spans: Sequence[Span], numbers: Sequence[int], history: dict[int, _Known]
) -> Listing | None:
    """Return a row that speaks of an older generation at a later time than a span's."""
    for span, number in zip(spans, numbers, strict=True):
        for older, each in history.items():
            if older < number and each.end is None and each.last.valid_from > span.start:
                return each.last
    return None


def _rows(
    pattern: Listing,
    span: Span,
    known: _Known | None,
    has_successor: bool,
    follows: int | None,
    silence: int,
) -> list[Listing]:
    """Return what the registry lacks of one span: that it traded, and that it ended."""
    rows: list[Listing] = []
    if known is None or span.start < known.begin:
        rows.append(_row(pattern, "trading", None, span.start))
    end = known.end if known is not None else None
    if known is not None and end is not None:
        if has_successor or span.end <= end:
            return rows
        # It was taken for delisted, and traded on.
        rows.append(_row(known.last, "trading", None, known.last.valid_from + 1))
    elif known is not None and known.last.valid_from >= span.end:
        return rows  # the venue listed it later than this ends
    if span.has_ended:
        noticed = span.end + silence if follows is None else min(span.end + silence, follows)
        rows.append(_row(pattern, "delisted", span.end, noticed))
    return rows


def _row(
    pattern: Listing, status: ListingStatus, delisted_at: int | None, valid_from: int
) -> Listing:
    return Listing(
        pattern.exchange,
        pattern.instrument,
        pattern.symbol,
        status,
        pattern.tick_size,
        pattern.lot_size,
        pattern.contract_size,
        pattern.listed_at,
        delisted_at,
        valid_from,
    )
