"""What a stream knows of its venue's listings: looked at again and again, and written down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from engine.clock import Clock
from engine.domain.delisting import Delisting, newest_delistings
from engine.domain.instrument import first_generation
from engine.domain.market import Listing
from engine.exchanges.base import Exchange
from engine.exchanges.listings import current, doubt, ended_at, has_left, observe
from engine.exchanges.rest import RestClient
from engine.store.reader import Reader
from engine.store.writer import BatchWriter

_LOGGER = logging.getLogger("engine.listings")


class ListingWatch:
    """Keeps the dated registry of one venue up to date.

    Parameters
    ----------
    exchange
        The stream's adapter: it is told the sizes of contracts.
    rest
        The venue's REST.
    reader, writer
        Of the store.
    clock
        What time it is.
    writes
        Whether changes are written: one stream of a venue does it for all.
    """

    def __init__(
        self,
        exchange: Exchange,
        rest: RestClient,
        reader: Reader,
        writer: BatchWriter,
        clock: Clock,
        *,
        writes: bool,
    ) -> None:
        self._exchange = exchange
        self._rest = rest
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._writes = writes
        self._known: list[Listing] | None = None
        self.delisted: dict[str, Delisting] = {}
        """Instrument -> its end, as far as the registry or the last look tells."""

    async def look(self) -> dict[str, Listing]:
        """Look at what the venue lists.

        Returns
        -------
        dict
            Canonical name of the first generation -> what its symbol names now.

        Raises
        ------
        VenueError
            Where the venue does not answer.
        StoreError
            Where the registry cannot be read.
        """
        known = self._known
        if known is None:
            # Also where the venue does not answer then: the registry knows who is delisted.
            known = await asyncio.to_thread(self._reader.listings, self._exchange.name)
            self._know(known)
        seen = await self._rest.metadata()
        why = doubt(known, seen)
        if why:
            _LOGGER.warning("%s", why)
        rows = observe(known, seen, self._clock.now_ns())
        known = [*known, *rows]
        self._know(known)
        if self._writes:
            await self._writer.put("instruments", rows)
        listed = current(known)
        for row in listed.values():
            if row.contract_size != 1.0:
                self._exchange.contract_sizes[row.instrument] = row.contract_size
        return listed

    def _know(self, rows: list[Listing]) -> None:
        self._known = rows
        self.delisted = newest_delistings(
            (row.instrument, row.delisted_at if row.status == "delisted" else None, row.valid_from)
            for row in sorted(rows, key=lambda row: row.valid_from)
        )

    def ended_at(self, instrument: str) -> int | None:
        """Return when an instrument's trading had ended (`engine.exchanges.listings.ended_at`)."""
        return ended_at(self._known or (), instrument)

    def left(self, instruments: Iterable[str]) -> tuple[str, ...]:
        """Return the names, of all generations, that configured instruments bear no more.

        Parameters
        ----------
        instruments
            Canonical names, as configured.
        """
        wanted = set(map(first_generation, instruments))
        newest = current(self._known or ())
        return tuple(
            sorted(
                {
                    row.instrument
                    for row in self._known or ()
                    if (first := first_generation(row.instrument)) in wanted
                    and (newest[first].instrument != row.instrument or has_left(newest[first]))
                }
            )
        )

    def reused(self, instruments: Iterable[str]) -> dict[str, str]:
        """Return those of some instruments whose symbol names another one now -> which."""
        newest = current(self._known or ())
        return {
            name: row.instrument
            for name in instruments
            if (row := newest.get(first_generation(name))) is not None and row.instrument != name
        }


def named_now(
    instruments: Iterable[str], listed: dict[str, Listing], tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Return what configured instruments are called now; those that are not listed are left out.

    Parameters
    ----------
    instruments
        Canonical names, as configured.
    listed
        From `ListingWatch.look`.
    tell
        Is given a sentence for every one that is left out or has another name.
    """
    names: list[str] = []
    missing: list[str] = []
    for instrument in instruments:
        row = listed.get(first_generation(instrument))
        if row is None or row.status == "delisted":
            missing.append(instrument)
            continue
        if row.instrument != instrument:
            tell(
                f"{row.exchange} delisted the {instrument} of old and uses its symbol again: "
                f"what comes now is stored as {row.instrument}"
            )
        names.append(row.instrument)
    if missing:
        venue = next(iter(listed.values())).exchange if listed else "the venue"
        tell(f"{venue} does not list {', '.join(missing)}")
    return tuple(names)
