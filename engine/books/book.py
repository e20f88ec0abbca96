"""One L2 order book: price levels of both sides, changed by updates."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from engine.domain.market import BookUpdate, Level, LevelText


class OrderBook:
    """The levels of one market, best first.

    It believes what it is given: whether an update follows the one before is for
    `engine.books.keeper.BookKeeper` to say.

    Prices are keyed by their float: the same digits always give the same float, and so do
    ``1.5`` and ``1.50``. The venue's own digits are kept beside it where updates carry them.

    Parameters
    ----------
    levels
        Levels kept a side; the worst beyond are cut off after each update, as the venue does.
        0 keeps all.
    epoch
        Where counting epochs goes on from.

    Examples
    --------
    >>> book = OrderBook()
    >>> book.apply(BookUpdate(
    ...     "okx", "BTC-USDT", True, [(9.0, 1.0), (8.0, 5.0)], [(10.0, 2.0)],
    ...     None, 7, None, None, 0))
    >>> book.apply(BookUpdate("okx", "BTC-USDT", False, [(9.0, 0.0)], [], None, 8, 7, None, 0))
    >>> book.bids(), book.asks(), book.sequence, book.epoch
    ([(8.0, 5.0)], [(10.0, 2.0)], 8, 1)
    """

    __slots__ = ("_asks", "_bids", "_levels", "epoch", "exchange_time", "receive_time",
                 "sequence", "updates")  # fmt: skip

    def __init__(self, levels: int = 0, epoch: int = 0) -> None:
        self._levels = levels
        self._bids = _Side(1)
        self._asks = _Side(-1)
        self.epoch = epoch
        """Snapshots that the book was started anew from."""
        self.updates = 0
        """Updates applied, snapshots included."""
        self.sequence: int | None = None
        """The venue's number of the newest update, None where it gives none."""
        self.exchange_time: int | None = None
        """The venue's clock at the newest update that told it, UTC nanoseconds."""
        self.receive_time = 0
        """Our clock at the newest update, UTC nanoseconds."""

    def apply(self, update: BookUpdate) -> None:
        """Change the book. A snapshot replaces all levels, so that none of before stays on."""
        if update.is_snapshot:
            self._bids.clear()
            self._asks.clear()
            self.epoch += 1
        self._bids.apply(update.bids, update.bid_texts)
        self._asks.apply(update.asks, update.ask_texts)
        if self._levels:
            self._bids.cut(self._levels)
            self._asks.cut(self._levels)
        self.updates += 1
        self.sequence = update.last_sequence
        if update.exchange_time is not None or update.is_snapshot:
            self.exchange_time = update.exchange_time
        self.receive_time = update.receive_time

    def clear(self) -> None:
        """Forget all levels; what counts (`epoch`, `updates`) goes on."""
        self._bids.clear()
        self._asks.clear()

    def bids(self, count: int | None = None) -> list[Level]:
        """Return the `count` highest bids (None: all), highest first."""
        return self._bids.best(count)

    def asks(self, count: int | None = None) -> list[Level]:
        """Return the `count` lowest asks (None: all), lowest first."""
        return self._asks.best(count)

    def bid_texts(self, count: int | None = None) -> list[LevelText]:
        """Return `bids` in the venue's own digits.

        Raises
        ------
        KeyError
            Where the update that set a level came without them.
        """
        return self._bids.best_texts(count)

    def ask_texts(self, count: int | None = None) -> list[LevelText]:
        """Return `asks` in the venue's own digits; see `bid_texts`."""
        return self._asks.best_texts(count)

    @property
    def depth(self) -> tuple[int, int]:
        """How many bids and asks it holds."""
        return len(self._bids), len(self._asks)

    @property
    def is_ordinary(self) -> bool:
        """Whether both sides hold a level and the best bid is below the best ask."""
        bid, ask = self._bids.best_price, self._asks.best_price
        return bid is not None and ask is not None and bid < ask


class _Side:
    """One side: amounts by price, and the prices in order.

    `_keys` holds the prices times `sign`, ascending, so that the best is the last on both sides:
    most changes happen near it, and there a list inserts and deletes without moving much.
    """

    __slots__ = ("_amounts", "_keys", "_sign", "_texts")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._amounts: dict[float, float] = {}
        self._texts: dict[float, LevelText] = {}
        self._keys: list[float] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best_price(self) -> float | None:
        return self._keys[-1] * self._sign if self._keys else None

    def clear(self) -> None:
        self._amounts.clear()
        self._texts.clear()
        self._keys.clear()

    def apply(self, levels: Sequence[Level], texts: Sequence[LevelText]) -> None:
        if self._keys:
            self._change(levels)
        else:
            self._fill(levels)
        if texts:
            self._keep_texts(levels, texts)
        elif self._texts:
            for price, _ in levels:
                self._texts.pop(price, None)

    def _fill(self, levels: Sequence[Level]) -> None:
        """Take the first levels at once: sorting is cheaper than inserting."""
        self._amounts.update(levels)
        if 0.0 in self._amounts.values():
            for price in [price for price, amount in self._amounts.items() if not amount]:
                del self._amounts[price]
        sign = self._sign
        self._keys = sorted([price * sign for price in self._amounts])

    def _change(self, levels: Sequence[Level]) -> None:
        amounts, keys, sign = self._amounts, self._keys, self._sign
        for price, amount in levels:
            if amount:
                if price not in amounts:
                    insort(keys, price * sign)
                amounts[price] = amount
            # Venues delete prices that we do not hold, from below the snapshot's depth.
            elif amounts.pop(price, None) is not None:
                del keys[bisect_left(keys, price * sign)]

    def _keep_texts(self, levels: Sequence[Level], texts: Sequence[LevelText]) -> None:
        kept = self._texts
        for (price, amount), text in zip(levels, texts, strict=True):
            if amount:
                kept[price] = text
            else:
                kept.pop(price, None)

    def cut(self, levels: int) -> None:
        beyond = len(self._keys) - levels
        if beyond <= 0:
            return
        for key in self._keys[:beyond]:
            del self._amounts[key * self._sign]
            self._texts.pop(key * self._sign, None)
        del self._keys[:beyond]

    def best(self, count: int | None) -> list[Level]:
        amounts = self._amounts
        return [(price, amounts[price]) for price in self._best_prices(count)]

    def best_texts(self, count: int | None) -> list[LevelText]:
        texts = self._texts
        return [texts[price] for price in self._best_prices(count)]

    def _best_prices(self, count: int | None) -> list[float]:
        first = 0 if count is None else max(0, len(self._keys) - count)
        keys = self._keys[first:]
        keys.reverse()
        return keys if self._sign > 0 else [-key for key in keys]
