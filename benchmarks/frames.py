"""Frames as venues send them, full-size and made up: prices walk, ids count, nothing is stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

Level = tuple[str, str]
"""Price and amount in the venue's digits."""
Checksum = Callable[[Sequence[Level], Sequence[Level]], int]

INSTRUMENTS = tuple(
    f"{base}-USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LINK", "AVAX")
)
"""Markets that the frames are of, taking turns."""

TRADES_PER_MS = 40
"""Trades that share a millisecond of the venue's clock, over all markets."""


def binance_trades(count: int, first: int, start_ms: int) -> Iterator[bytes]:
    """Yield frames of Binance's combined ``@trade`` streams.

    Parameters
    ----------
    count
        How many; the markets take turns.
    first
        Id of each market's first trade; further ones follow without a hole.
    start_ms
        The venue's time of the first, ms since 1970.
    """
    draw = random.Random(first)
    symbols = [name.replace("-", "") for name in INSTRUMENTS]
    prices = [round(draw.uniform(0.2, 70_000), 2) for _ in symbols]
    for index in range(count):
        market = index % len(symbols)
        prices[market] *= 1 + draw.uniform(-1e-5, 1e-5)
        symbol, time_ms = symbols[market], start_ms + index // TRADES_PER_MS
        yield (
            f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{time_ms + 1},'
            f'"s":"{symbol}","t":{first + index // len(symbols)},"p":"{prices[market]:.8f}",'
            f'"q":"{draw.expovariate(20) + 1e-5:.8f}","T":{time_ms},'
            f'"m":{"true" if draw.random() < 0.5 else "false"},"M":true}}}}'
        ).encode()


class BookWalk:
    """A book that changes at random, in the venue's digits: price text -> amount text, a side.

    Parameters
    ----------
    seed
        Of the changes.
    depth
        Levels a side at first.
    """

    def __init__(self, seed: int, depth: int) -> None:
        self._draw = random.Random(seed)
        self._middle = 600_000
        self.bids = {self._price(-n): self._amount() for n in range(1, depth + 1)}
        self.asks = {self._price(n): self._amount() for n in range(1, depth + 1)}

    def change(self, levels: int) -> tuple[list[Level], list[Level]]:
        """Change about so many levels a side near the middle; return bids and asks changed."""
        return self._change(self.bids, -1, levels), self._change(self.asks, 1, levels)

    def best(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return the best levels, best first."""
        return (
            sorted(self.bids.items(), key=_number, reverse=True)[:count],
            sorted(self.asks.items(), key=_number)[:count],
        )

    def _change(self, side: dict[str, str], sign: int, levels: int) -> list[Level]:
        changed: dict[str, str] = {}
        for _ in range(levels):
            # Most changes happen near the best price.
            price = self._price(sign * (1 + int(self._draw.expovariate(1 / 40))))
            changed[price] = "0" if self._draw.random() < 0.3 else self._amount()
        for price, amount in changed.items():
            if amount == "0":
                side.pop(price, None)
            else:
                side[price] = amount
        return list(changed.items())

    def _price(self, ticks: int) -> str:
        return f"{(self._middle + ticks) / 10:.1f}"

    def _amount(self) -> str:
        return f"{self._draw.expovariate(1) + 0.001:.3f}"


def _number(level: Level) -> float:
    return float(level[0])


def levels(side: Sequence[Level], *more: str) -> str:
    """Return levels as the venue's JSON, `more` strings behind each price and amount."""
    tail = "".join(f',"{text}"' for text in more)
    return "[" + ",".join(f'["{price}","{amount}"{tail}]' for price, amount in side) + "]"


class Tape(NamedTuple):
    """Frames of one market that follow a snapshot of its book."""

    bids: list[Level]
    asks: list[Level]
    snapshot_id: int
    frames: list[bytes]
    book: BookWalk
    """As it stands after the frames."""


BINANCE_MIX = "ttdbtttbtttbdttbtttbtttbt"
"""Kinds of 25 frames in turn: 24 % trades (``b``), 68 % tops (``t``), 8 % depth changes (``d``), as
in what was recorded of Binance's busiest markets."""


def binance_perp_mix(count: int) -> Tape:
    """Return frames of BTCUSDT on Binance USD-M, their kinds in turn as in `BINANCE_MIX`.

    A depth change has some 15 to 35 levels a side, as recorded ones have.
    """
    book, draw = BookWalk(1, 500), random.Random(2)
    bids, asks = book.best(1000)
    number = first = 5_123_107_839_020
    frames = []
    for index in range(count):
        time_ms = 1_723_161_256_000 + index
        number += 3
        kind = BINANCE_MIX[index % len(BINANCE_MIX)]
        if kind == "b":
            data = (
                f'{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":{time_ms},'
                f'"a":{2_000_000_000 + index},"s":"BTCUSDT","p":"{60_000 + draw.random():.2f}",'
                f'"q":"{draw.random() + 0.001:.3f}","f":{number},"l":{number + 1},"T":{time_ms},'
                f'"m":{"true" if draw.random() < 0.5 else "false"}}}}}'
            )
        elif kind == "d":
            changed = book.change(draw.randint(17, 45))
            data = (
                f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{time_ms},'
                f'"T":{time_ms},"s":"BTCUSDT","U":{first},"u":{number},"pu":{first},'
                f'"b":{levels(changed[0])},"a":{levels(changed[1])}}}}}'
            )
            first = number
        else:
            data = (
                f'{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{number},'
                f'"s":"BTCUSDT","b":"60000.10","B":"{draw.random() + 0.001:.3f}","a":"60000.20",'
                f'"A":"{draw.random() + 0.001:.3f}","T":{time_ms},"E":{time_ms}}}}}'
            )
        frames.append(data.encode())
    return Tape(bids, asks, 5_123_107_839_020, frames, book)


def okx_mix(count: int, checksum: Checksum) -> Tape:
    """Return frames of BTC-USDT on OKX: of four, three trades and a change of the book.

    A change has up to 10 levels a side and, as the venue's own, the book's checksum.

    Parameters
    ----------
    count
        How many.
    checksum
        The venue's, of the best 25 levels a side.
    """
    book, draw = BookWalk(3, 400), random.Random(4)
    bids, asks = book.best(400)
    frames = []
    for index in range(count):
        time_ms = 1_723_161_256_000 + index
        if index % 4 == 3:
            changed, before = book.change(10), index // 4
            signed = (checksum(*book.best(25)) ^ 2**31) - 2**31
            data = (
                '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{'
                f'"asks":{levels(changed[1], "0", "3")},"bids":{levels(changed[0], "0", "3")},'
                f'"ts":"{time_ms}","checksum":{signed},"seqId":{before + 2},'
                f'"prevSeqId":{before + 1}}}]}}'
            )
        else:
            data = (
                '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
                f'"tradeId":"{300_000_000 + index}","px":"{60_000 + draw.random():.1f}",'
                f'"sz":"{draw.random() + 0.001:.8f}","side":"buy","ts":"{time_ms}",'
                '"count":"1"}]}'
            )
        frames.append(data.encode())
    return Tape(bids, asks, 1, frames, book)
