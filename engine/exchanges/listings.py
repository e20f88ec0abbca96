"""The dated registry of instruments: what a venue listed, and from when on we knew.

A venue's list of symbols is looked at again and again. `observe` compares a look with what is
known and returns the rows to write: only what changed. Rows are never altered, so what was known
at any moment can be asked for (`as_of`), and a symbol that a venue delists and uses again becomes
another instrument, the next generation of its name (``LUNA~2-USDT``).

Everything here is a pure function of its arguments, whatever their order; observing the same
again gives nothing. Rows and looks are of one venue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import astuple, replace

from engine.clock import NS_PER_S, SKEW_NS
from engine.domain.instrument import Instrument, first_generation
from engine.domain.market import Listing, SymbolMetadata

ABSENT_NS = 600 * NS_PER_S
"""A symbol is delisted when it is absent from two looks at least this far apart, and from all
between them."""

LONG_HALT_NS = 2 * 86_400 * NS_PER_S
"""Where a venue tells no listing dates, a symbol that trades again after a halt of at least this
long names another instrument. Binance spot keeps delisted symbols in its list as halted
(``BREAK``), and so do redenominations of 1 to 1,000, which last three or four days. To split an
instrument in vain costs a warm-up; to join two spoils every feature over the seam."""

PLAUSIBLE_SHARE = 0.5
"""A look that lacks more than this share of what is listed is an accident, not a delisting."""


def observe(
    known: Sequence[Listing],
    seen: Sequence[SymbolMetadata],
    now: int,
    *,
    absent_ns: int = ABSENT_NS,
    long_halt_ns: int = LONG_HALT_NS,
) -> list[Listing]:
    """Return the rows that a look at a venue's list adds to the registry.

    A row is written for a new symbol; a changed symbol, tick, lot or contract size or date; a
    halt and its end; a delisting; and a relisting, which also closes the generation before.

    A symbol is **delisted** by the venue's word (its status, or an announced end that has come
    and the symbol gone), or when it is missing. The first look that misses it writes it as halted
    with `delisted_at` equal to `valid_from`; the first one at least `absent_ns` later as delisted,
    at the moment when it was first missed. If it is back before, it goes on as it was.

    It is **another instrument** when it is listed again after a delisting, when the venue states
    a listing date later than a moment at which we knew it to trade, or, where the venue tells no
    dates, after a halt of `long_halt_ns`. An equal listing date always means the same one.

    A look that lacks more than half of what is listed (see `doubt`) delists nothing and marks
    nothing as missing; what it does hold is taken. Likewise not more than half are
    split by long halts at once: after an engine's long rest that would be the venue's own
    maintenance.

    Parameters
    ----------
    known
        Every row of the venue, in any order.
    seen
        The venue's whole list, in any order: pages that could not be fetched must not be missing.
    now
        When it was fetched, UTC nanoseconds. Rows are valid from then on, or directly behind the
        newest row of their instrument, should that be later.
    absent_ns, long_halt_ns
        See `ABSENT_NS` and `LONG_HALT_NS`.

    Returns
    -------
    list of Listing
        In the order of their names.

    Raises
    ------
    ValueError
        Where rows or metadata of several venues are mixed.

    Examples
    --------
    >>> look = [SymbolMetadata("binance", "LUNA-USDT", "LUNAUSDT", "trading", 0.01, 0.01)]
    >>> rows = observe([], look, 1)
    >>> [(row.instrument, row.status, row.valid_from) for row in rows]
    [('LUNA-USDT', 'trading', 1)]
    >>> observe(rows, look, 2)
    []
    """
    _one_venue(known, seen)
    histories = _histories(known)
    looks = _by_name(seen)
    splits = {
        name
        for name, look in looks.items()
        if name in histories and _resumed(histories[name], look, now, long_halt_ns)
    }
    if len(splits) > PLAUSIBLE_SHARE * len(histories):
        splits = set()
    rows: list[Listing] = []
    for name, look in looks.items():
        history = histories.get(name)
        if history is None:
            rows.append(_first_row(look, now))
        elif name in splits or _relisted(history, look):
            rows += _next_generation(history, look, now)
        else:
            rows += _changed(history[-1], _updated(history[-1], look, now))
    if not doubt(known, seen):
        for name in histories.keys() - looks.keys():
            rows += _changed(histories[name][-1], _missing(histories[name][-1], now, absent_ns))
    return sorted(rows, key=lambda row: (row.instrument, row.valid_from))


def doubt(known: Sequence[Listing], seen: Sequence[SymbolMetadata]) -> str:
    """Return, in a sentence, why a look cannot be the venue's whole list; empty where it can.

    It is for the owner to log: `observe` delists nothing by such a look.
    """
    listed = {name for name, row in current(known).items() if row.status != "delisted"}
    looks = _by_name(seen)
    missing = listed - looks.keys()
    # With what is new in the look, so that looking again comes to the same conclusion.
    whole = listed | {name for name, look in looks.items() if look.status != "delisted"}
    if len(missing) <= PLAUSIBLE_SHARE * len(whole):
        return ""
    venue = known[0].exchange
    return (
        f"{venue} lists {len(seen)} symbols and lacks {len(missing)} of {len(listed)} that were "
        "listed before: taken for an incomplete answer, so nothing is delisted"
    )


def current(known: Iterable[Listing]) -> dict[str, Listing]:
    """Return what is known of each symbol now.

    Returns
    -------
    dict
        Canonical name of the first generation (what a configuration says, and unique where a
        symbol is not: Bybit's spot and linear markets share theirs) -> the newest row of the
        newest generation.
    """
    return {name: history[-1] for name, history in _histories(known).items()}


def as_of(known: Iterable[Listing], moment: int) -> dict[str, Listing]:
    """Return what was known of each symbol at a moment (UTC nanoseconds); as `current`."""
    return current(row for row in known if row.valid_from <= moment)


def is_missing(row: Listing) -> bool:
    """Whether a row says that a symbol was absent from one look, and no more is known yet."""
    return row.status == "halted" and row.delisted_at == row.valid_from


def has_left(row: Listing) -> bool:
    """Whether a symbol does not trade, be it for good or not.

    Binance spot lists what it has delisted for ever, as halted.
    """
    return row.status != "trading"


def ended_at(known: Iterable[Listing], instrument: str) -> int | None:
    """Return when an instrument's trading had ended for certain, by its venue's clock.

    Parameters
    ----------
    known
        The venue's registry.
    instrument
        Canonical name.

    Returns
    -------
    int or None
        UTC nanoseconds, a little late where our clock took the time; None where nobody knows.
    """
    name = Instrument.parse(instrument)
    heir = str(name._replace(generation=name.generation + 1))
    rows = sorted(known, key=lambda row: row.valid_from)
    own = [row for row in rows if row.instrument == instrument]
    after = next((row for row in rows if row.instrument == heir), None)
    begun = None if after is None else after.listed_at or after.valid_from
    if not own or own[-1].status != "delisted" or own[-1].delisted_at is None:
        return begun
    # One that was missing may have traded on until it was certain.
    missed = len(own) > 1 and is_missing(own[-2])
    late = (own[-1].valid_from if missed else own[-1].delisted_at) + SKEW_NS
    return late if begun is None else min(late, begun)


# -- the parts ---------------------------------------------------------------------------------


def _one_venue(known: Sequence[Listing], seen: Sequence[SymbolMetadata]) -> None:
    venues = {row.exchange for row in known} | {look.exchange for look in seen}
    if len(venues) > 1:
        raise ValueError(f"one venue at a time is observed, not {', '.join(sorted(venues))}")


def _histories(known: Iterable[Listing]) -> dict[str, list[Listing]]:
    """Return each symbol's newest generation, its rows in order of time."""
    grouped: dict[str, dict[int, list[Listing]]] = {}
    for row in known:
        generations = grouped.setdefault(first_generation(row.instrument), {})
        generations.setdefault(_generation(row), []).append(row)
    return {
        name: sorted(generations[max(generations)], key=_order)
        for name, generations in grouped.items()
    }


def _order(row: Listing) -> tuple[int, str]:
    # Two rows of one instant come only from two writers: any order will do that is always the same.
    return row.valid_from, repr(astuple(row))


def _generation(row: Listing) -> int:
    return Instrument.parse(row.instrument).generation


def _by_name(seen: Iterable[SymbolMetadata]) -> dict[str, SymbolMetadata]:
    """Return a look by canonical name; of two symbols of one name, the one that trades."""
    order = {"delisted": 0, "halted": 1, "trading": 2}
    ranked = sorted(seen, key=lambda look: (order[look.status], look.symbol, repr(astuple(look))))
    return {first_generation(look.instrument): look for look in ranked}


def _first_row(look: SymbolMetadata, now: int) -> Listing:
    return Listing(
        look.exchange,
        first_generation(look.instrument),
        look.symbol,
        look.status,
        look.tick_size,
        look.lot_size,
        look.contract_size,
        look.listed_at,
        look.delisted_at,
        now,
    )


def _changed(last: Listing, row: Listing) -> list[Listing]:
    """Return a row if it says anything new, valid behind the last one."""
    return [] if replace(row, valid_from=last.valid_from) == last else [row]


def _updated(last: Listing, look: SymbolMetadata, now: int) -> Listing:
    """Return what a look says of the same instrument; what it does not tell stays."""
    return replace(
        last,
        symbol=look.symbol,
        status=look.status,
        tick_size=last.tick_size if look.tick_size is None else look.tick_size,
        lot_size=last.lot_size if look.lot_size is None else look.lot_size,
        contract_size=look.contract_size,
        listed_at=last.listed_at if look.listed_at is None else look.listed_at,
        delisted_at=_ended(last, look, now),
        valid_from=_behind(last, now),
    )


def _ended(last: Listing, look: SymbolMetadata, now: int) -> int | None:
    """Return when trading ends: the venue's word, else what is known, else now if it has ended."""
    if look.delisted_at is not None or look.status != "delisted":
        return look.delisted_at
    if last.status == "delisted":
        return last.delisted_at
    announced = last.delisted_at
    return announced if announced is not None and announced <= now else now


def _missing(last: Listing, now: int, absent_ns: int) -> Listing:
    """Return what is known of a symbol that a look lacks."""
    valid_from = _behind(last, now)
    if last.status == "delisted":
        return last
    if is_missing(last):
        gone = valid_from - last.valid_from >= absent_ns
        return replace(last, status="delisted", valid_from=valid_from) if gone else last
    if last.delisted_at is not None and last.delisted_at <= now:
        return replace(last, status="delisted", valid_from=valid_from)
    return replace(last, status="halted", delisted_at=valid_from, valid_from=valid_from)


def _behind(last: Listing, now: int) -> int:
    return max(now, last.valid_from + 1)


def _relisted(history: Sequence[Listing], look: SymbolMetadata) -> bool:
    """Whether a symbol names another instrument than it did, by dates and delistings."""
    last = history[-1]
    if look.status == "delisted" or (look.listed_at and look.listed_at == last.listed_at):
        return False
    if look.listed_at is None:
        return last.status == "delisted"
    if last.listed_at is not None and look.listed_at < last.listed_at:
        return False  # the venue corrects itself: a second listing lies later
    if last.status == "delisted":
        return last.listed_at is not None or look.listed_at > (last.delisted_at or 0)
    traded = [row.valid_from for row in history if row.status == "trading"]
    return bool(traded) and look.listed_at > traded[-1]


def _resumed(history: Sequence[Listing], look: SymbolMetadata, now: int, long_halt_ns: int) -> bool:
    """Whether a symbol trades again after so long a halt that it must be another instrument."""
    if look.status != "trading" or look.listed_at is not None or history[-1].status != "halted":
        return False
    traded = any(row.status == "trading" for row in history)
    return traded and now - _halted_since(history) >= long_halt_ns


def _halted_since(history: Sequence[Listing]) -> int:
    since = history[-1].valid_from
    for row in reversed(history):
        if row.status != "halted":
            break
        since = row.valid_from
    return since


def _next_generation(history: Sequence[Listing], look: SymbolMetadata, now: int) -> list[Listing]:
    """Return the new instrument's first row, behind the old one's last if that is not written."""
    last = history[-1]
    name = Instrument.parse(last.instrument)
    again = str(name._replace(generation=name.generation + 1))
    valid_from = _behind(last, now)
    born = replace(_first_row(look, valid_from), instrument=again)
    if last.status == "delisted":
        return [born]
    if last.status == "halted":
        ended = last.delisted_at if is_missing(last) else _halted_since(history)
    else:
        ended = look.listed_at
    return [replace(last, status="delisted", delisted_at=ended, valid_from=valid_from), born]
