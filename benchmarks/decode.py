"""Frames to events: our adapters against cryptofeed's handlers, on the same frames.

Run it with ``python -m benchmarks.decode`` or ``engine bench decode`` after
``pip install 'signal-engine[bench]'``. The frames are made up, full-size, and of venues whose
API both sides speak: Binance USD-M (trades, tops, depth) and OKX (trades, depth with checksums).
Coinbase and Kraken are left out: cryptofeed speaks other APIs of theirs.

Three ways, over each kind of frame alone and over all in their mix:

- *parse*: our adapter: frames to normalised events, decoding alone, by compiled code where it was
  built (`engine.exchanges.layouts`);
- *with books*: the same, and depth applied to a book and verified (OKX's checksums) by
  `BookKeeper`;
- *cryptofeed*: its handler, which decodes, normalises, applies depth to a book, verifies it, and
  hands the event to an ``async`` callback (that counts), as its users write: there is no way to
  have it decode alone.

At the end both books must equal the one that the frames were made from. Processor time is
measured, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from benchmarks.frames import Level, Tape, binance_perp_mix, levels, okx_mix
from benchmarks.machine import describe_machine
from engine.books.keeper import BookKeeper
from engine.domain.instrument import ExchangeName
from engine.domain.market import BookUpdate
from engine.exchanges.layouts import is_compiled
from engine.exchanges.registry import exchange

_INSTRUMENTS = {"binance_perp": "BTC-USDT-PERP", "okx": "BTC-USDT"}
_SYMBOLS = {"binance_perp": "BTCUSDT", "okx": "BTC-USDT"}


def snapshot(name: ExchangeName, tape: Tape) -> bytes:
    """Return the snapshot ahead of the frames, as the venue gives it."""
    bids, asks = tape.bids, tape.asks
    if name == "okx":
        return (
            '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{'
            f'"asks":{levels(asks, "0", "3")},"bids":{levels(bids, "0", "3")},'
            f'"ts":"1723161255999","checksum":{_okx_checksum(bids, asks)},'
            '"seqId":1,"prevSeqId":-1}]}'
        ).encode()
    return (
        f'{{"lastUpdateId":{tape.snapshot_id},"E":1723161255999,"T":1723161255999,'
        f'"bids":{levels(bids)},"asks":{levels(asks)}}}'
    ).encode()


def _okx_checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    return (exchange("okx").checksum(bids[:25], asks[:25]) ^ 2**31) - 2**31


Best = tuple[list[tuple[float, float]], list[tuple[float, float]]]
"""The best ten levels of a book."""


class Parse:
    """Our adapter alone."""

    def __init__(self, name: ExchangeName, tape: Tape) -> None:
        del tape
        self._adapter = exchange(name)
        self._adapter.track([_INSTRUMENTS[name]])

    def prepare(self) -> None:
        """Nothing is left to do."""

    def run(self, frames: Sequence[bytes]) -> int:
        """Decode frames and return how many events they gave."""
        parse, events = self._adapter.parse, 0
        for frame in frames:
            events += len(parse(frame, 1))
        return events

    def book(self) -> Best | None:
        """Return None: there is no book."""
        return None


class WithBooks:
    """Our adapter and book keeper."""

    def __init__(self, name: ExchangeName, tape: Tape) -> None:
        self._instrument = _INSTRUMENTS[name]
        adapter = self._adapter = exchange(name)
        adapter.track([self._instrument])
        has_sums = bool(adapter.checksum_levels)
        self._keeper = BookKeeper(
            name,
            [self._instrument],
            levels=adapter.book_levels,
            checksum=adapter.checksum if has_sums else None,
            checksum_levels=adapter.checksum_levels,
            snapshots="rest" if adapter.book_request(self._instrument) else "stream",
        )
        self._name = name
        self._snapshot_id = tape.snapshot_id
        self._first = snapshot(name, tape)

    def prepare(self) -> None:
        """Start the book from its snapshot."""
        if self._adapter.book_request(self._instrument) is None:
            (update,) = self._adapter.parse(self._first, 1)
        else:
            # The keeper takes a snapshot over REST only once a change waits for one.
            last = self._snapshot_id
            self._keeper.take(
                BookUpdate(self._name, self._instrument, False, [], [], last, last, last, None, 1)
            )
            update = self._adapter.parse_book(self._first, self._instrument, 1)
        if not isinstance(update, BookUpdate):
            raise TypeError(f"a snapshot became {update!r}")
        self._keeper.take(update)

    def run(self, frames: Sequence[bytes]) -> int:
        """Decode frames, apply depth, and return how many events they gave."""
        parse, take, events = self._adapter.parse, self._keeper.take, 0
        for frame in frames:
            for event in parse(frame, 1):
                if type(event) is BookUpdate:
                    take(event)
                events += 1
        return events

    def book(self) -> Best | None:
        """Return the best ten levels."""
        book = self._keeper.book(self._instrument)
        if book is None:
            raise RuntimeError(f"our book is not live: {self._keeper.faults()}")
        return book.bids(10), book.asks(10)


class Cryptofeed:
    """cryptofeed's handler of the same venue, without its network."""

    def __init__(self, name: ExchangeName, tape: Tape) -> None:
        from cryptofeed import defines, exchanges  # noqa: PLC0415 - only this benchmark has it
        from cryptofeed.symbols import Symbols  # noqa: PLC0415
        from cryptofeed.types import OrderBook  # noqa: PLC0415

        kind = exchanges.OKX if name == "okx" else exchanges.BinanceFutures
        self._pair = "BTC-USDT" if name == "okx" else "BTC-USDT-PERP"
        Symbols.set(kind.id, {self._pair: _SYMBOLS[name]}, {"instrument_type": {}})
        self.events = 0
        kinds = (defines.TRADES, defines.TICKER, defines.L2_BOOK)
        self._feed = kind(
            symbols=[self._pair],
            channels=[defines.TRADES, defines.L2_BOOK],
            callbacks=dict.fromkeys(kinds, self._count),
            checksum_validation=True,
        )
        book = OrderBook(
            self._feed.id,
            self._pair,
            max_depth=0,
            **({"checksum_format": self._feed.id} if name == "okx" else {}),
            bids={Decimal(price): Decimal(amount) for price, amount in tape.bids},
            asks={Decimal(price): Decimal(amount) for price, amount in tape.asks},
        )
        self._feed._l2_book[self._pair] = book
        if name != "okx":
            self._feed.last_update_id[self._pair] = tape.snapshot_id

    async def _count(self, event: Any, receipt_time: float) -> None:
        self.events += 1

    def prepare(self) -> None:
        """Nothing is left to do."""

    def run(self, frames: Sequence[bytes | str]) -> int:
        """Handle frames and return how many callbacks they gave."""

        async def handle_all() -> None:
            handle = self._feed.message_handler
            for frame in frames:
                await handle(frame, None, 1.0)

        asyncio.run(handle_all())
        return self.events

    def book(self) -> Best | None:
        """Return the best ten levels."""
        book = self._feed._l2_book[self._pair].book

        def best(side: Any) -> list[tuple[float, float]]:
            return [tuple(map(float, side.index(n))) for n in range(10)]  # type: ignore[misc]

        return best(book.bids), best(book.asks)


Side = Parse | WithBooks | Cryptofeed
_SIDES: Mapping[str, Callable[[ExchangeName, Tape], Side]] = {
    "parse": Parse,
    "with books": WithBooks,
    "cryptofeed": Cryptofeed,
}
_KINDS: Mapping[ExchangeName, Mapping[str, bytes]] = {
    "binance_perp": {
        "trades": b"@aggTrade",
        "tops": b"@bookTicker",
        "depth": b"@depth",
        "all": b"@",
    },
    "okx": {"trades": b'"trades"', "depth": b'"books"', "all": b'"arg"'},
}
"""Kinds of frames, and what those of a kind hold."""


def measure(name: ExchangeName, tape: Tape, kind: str, side_name: str) -> float:
    """Return one side's processor time per frame of a kind, microseconds.

    Raises
    ------
    RuntimeError
        Where an event or a level is missing at the end.
    """
    side = _SIDES[side_name](name, tape)
    side.prepare()
    frames = [frame for frame in tape.frames if _KINDS[name][kind] in frame]
    # cryptofeed's connection hands text over: that decoding of UTF-8 is not counted here.
    is_theirs = isinstance(side, Cryptofeed)
    given: list[Any] = [frame.decode() for frame in frames] if is_theirs else frames
    gc.collect()
    started = time.process_time()
    events = side.run(given)
    took = time.process_time() - started
    found = side.book() if kind in ("depth", "all") else None
    wanted = tuple(
        [(float(price), float(amount)) for price, amount in levels] for levels in tape.book.best(10)
    )
    if events != len(frames) or found not in (None, wanted):
        raise RuntimeError(
            f"{side_name}, {kind} of {name}: {events} events of {len(frames)} frames, "
            f"book {found}, not {wanted}"
        )
    return took / len(frames) * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the three ways' time per frame, and how many times longer cryptofeed takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=40_000, help="frames of each venue")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which medians are taken")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("cryptofeed") is None:
        parser.error("cryptofeed is not installed: pip install 'signal-engine[bench]'")
    tapes: dict[ExchangeName, Tape] = {
        "binance_perp": binance_perp_mix(options.frames),
        "okx": okx_mix(options.frames, exchange("okx").checksum),
    }
    print(describe_machine())
    print(f"compiled code reads the usual layouts: {'yes' if is_compiled() else 'no'}")
    print(f"medians of {options.runs} runs of {options.frames:,} frames a venue, of which on")
    print(
        "binance_perp 24 % trades, 68 % tops, 8 % depth changes of 27 to 75 levels (as recorded),"
    )
    print("on okx 75 % trades, 25 % depth changes of about 20; processor time per frame, us,")
    print("and how many times longer cryptofeed takes than each of ours:")
    print(f"{'venue':14}{'kind':8}" + "".join(f"{side:>12}" for side in _SIDES), end="")
    print(f"{'parse':>12}{'with books':>12}")
    for name, tape in tapes.items():
        for kind in _KINDS[name]:
            runs = [
                [measure(name, tape, kind, side) for side in _SIDES] for _ in range(options.runs)
            ]
            times = [statistics.median(each) for each in zip(*runs, strict=True)]
            ratios = [statistics.median(run[2] / run[n] for run in runs) for n in (0, 1)]
            print(f"{name:14}{kind:8}" + "".join(f"{each:12.2f}" for each in times), end="")
            print("".join(f"{ratio:12.1f}" for ratio in ratios))


if __name__ == "__main__":
    main()
