"""Frames that a venue always writes alike, read by compiled code in one pass.

Whoever writes JSON a million times a second writes it from a template: the same keys in the same
order, no blanks, numbers in plain digits. An adapter can say so::

    @usual_layout(
        BookTop,
        '{"stream":"<:text>","data":{"u":<sequence:id>,"s":"<:text>","b":"<bid_price:price>",'
        '"B":"<bid_amount:amount>","a":"<ask_price:price>","A":"<ask_amount:amount>"}}',
        exchange="binance",
        exchange_time=None,
    )
    def read_book_top(frame, instrument, receive_time): ...

A frame of exactly that layout is turned into the event by `frame_scanner.c`, without a Python
object in between. Any other frame, be it in another order of keys, damaged, or with a price that no
market has, goes to the decorated function as it came, which reads the same frames too: to the same
events, only slower. So a venue that adds a field costs time until the layout is told, and nothing
else; and where the module was not compiled (no compiler when the package was installed), the
function reads all.

What stands between ``<`` and ``>`` is a *hole*, ``<field:kind>``, or ``<:kind>`` for what is not
kept. Its kinds:

========================  ==================================================================
``text``                  text of plain ASCII without escapes, up to the quote behind it
``digits``                a whole number that is not kept
``id``                    a whole number of up to 18 digits
``time``                  milliseconds since 1970, up to 2100; kept as nanoseconds
``price``, ``amount``     a number above zero, whose digits make at most 2^53
``remaining``             the same, or zero
``checksum``              a signed number of 32 bits, not zero; kept as an unsigned one
``levels``                ``[["61800.30","0.014"],…]``, prices and remaining amounts
``levels+``               the same with further texts behind the amounts, which are left
``true=sell|false=buy``   one of these, kept as what follows ``=`` (as itself without one)
========================  ==================================================================

``<trade_id=sequence:id>`` and ``<bids=bid_texts:levels>`` keep the venue's own digits too: the id's
in the field before the ``=``, the levels' in that behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from engine.domain.market import MarketEvent

Reader: TypeAlias = Callable[[bytes, str, int], Sequence[MarketEvent]]
"""Turns a frame into events, given its instrument and the receive time (UTC nanoseconds). It may
raise what its decoder raises."""

Step: TypeAlias = tuple[int, int, int, bool, object]
"""Of a variant: kind, field, field of the venue's digits (-1 for none), whether levels may have
more texts, and what kind it needs: a literal's bytes, or a choice's pairs of bytes and value."""

Variant: TypeAlias = tuple[int, tuple[Step, ...]]
"""How many fields of the event are given, and how they are read."""

KINDS = (
    *("literal", "choice", "text", "digits", "id", "time"),
    *("price", "amount", "remaining", "checksum", "levels"),
)
"""In the order of ``enum kind``."""

try:
    from engine.exchanges.frame_scanner import KINDS as COMPILED_KINDS
    from engine.exchanges.frame_scanner import Layout
except ImportError:
    COMPILED_KINDS = ()

_IS_COMPILED = COMPILED_KINDS == KINDS
"""An old module that was left behind reads other kinds."""

INSTRUMENT, RECEIVE_TIME = "instrument", "receive_time"

_HOLE = re.compile(r"<([^<>]*):([^<>:]*)>")


def is_compiled() -> bool:
    """Return whether frames of a usual layout are read by compiled code here."""
    return _IS_COMPILED


def usual_layout(
    event: type[msgspec.Struct], *templates: str, **constants: object
) -> Callable[[Reader], Reader]:
    """Have frames of a known layout read by compiled code, all others by the decorated reader.

    Parameters
    ----------
    event
        What each such frame is: one of these.
    templates
        The layout, as the module says; several where the venue has several ways to write it.
    constants
        Fields of the event that are no part of the frame. ``instrument`` and ``receive_time``
        are what the reader is called with.

    Returns
    -------
    callable
        The decorator. It gives back the reader itself where nothing is compiled.

    Raises
    ------
    ValueError
        Where a template has an unknown kind or field, the same field twice, or lacks one that the
        event needs.
    """
    fields = event.__struct_fields__
    variants = tuple(_variant(event, template, constants) for template in templates)

    def decorate(reader: Reader) -> Reader:
        if not _IS_COMPILED:
            return reader
        return Layout(
            reader,
            event,
            fields.index(INSTRUMENT),
            fields.index(RECEIVE_TIME),
            tuple(constants.get(name) for name in fields),
            variants,
        )

    return decorate


def _variant(event: type[msgspec.Struct], template: str, constants: dict[str, object]) -> Variant:
    fields = event.__struct_fields__
    pieces = _HOLE.split(template)
    read: list[str] = []
    steps: list[Step] = []
    for literal, names, kind in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=False):
        steps += _literal(literal)
        first, _, second = names.partition("=")
        value, text = (second, first) if kind == "id" and second else (first, second)
        read += filter(None, (value, text))
        steps.append(_hole(fields, kind, value, text))
    steps += _literal(pieces[-1])
    given = {INSTRUMENT, RECEIVE_TIME, *constants, *read}
    unknown = given.difference(fields)
    if unknown or len(read) != len(set(read)):
        wrong = sorted(unknown) or sorted({name for name in read if read.count(name) > 1})
        raise ValueError(f"no such field of {event.__name__}, or twice: {wrong} in {template}")
    # Fields are given by position, so all up to the last one that is not left at its default.
    length = 1 + max(map(fields.index, given))
    needed = {*fields[:length], *fields[: len(fields) - len(event.__struct_defaults__)]}
    if missing := sorted(needed - given):
        raise ValueError(f"{event.__name__} needs {', '.join(missing)}: {template}")
    return length, tuple(steps)


def _literal(text: str) -> list[Step]:
    return [(KINDS.index("literal"), -1, -1, False, text.encode())] if text else []


def _hole(fields: Sequence[str], kind: str, value: str, text: str) -> Step:
    field = fields.index(value) if value in fields else -1
    text_field = fields.index(text) if text in fields else -1
    name = "levels" if kind == "levels+" else "choice" if "|" in kind else kind
    if name not in KINDS[1:] or kind == "choice":
        raise ValueError(f"{kind!r} is no kind of hole")
    if name in ("digits", "levels") and (name == "digits") == bool(value):
        raise ValueError(f"{kind!r} is {'never' if value else 'always'} kept in a field")
    if text and name not in ("id", "levels"):
        raise ValueError(f"{kind!r} has no digits of its own to keep")
    choices = tuple(map(_choice, kind.split("|"))) if name == "choice" else None
    return (KINDS.index(name), field, text_field, kind == "levels+", choices)


def _choice(text: str) -> tuple[bytes, str]:
    written, _, kept = text.partition("=")
    return written.encode(), kept or written
