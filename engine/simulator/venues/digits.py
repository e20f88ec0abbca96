"""Writing ticks and lots as the decimals of a wire."""

from __future__ import annotations

from engine.simulator.books import Levels


def decimal(units: int, decimals: int) -> str:
    """Write a whole number of ticks or lots as a decimal.

    Examples
    --------
    >>> decimal(4790740, 2)
    '47907.40'
    """
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)


class LevelTexts:
    """Writes the levels of one asset's books as pairs of decimals in JSON.

    Parameters
    ----------
    price_decimals, amount_decimals
        Digits of the numbers given; ticks and lots are whole.
    padded
        Digits written, at least as many; by default the same.
    tail
        What follows the two in each level.
    """

    def __init__(
        self,
        price_decimals: int,
        amount_decimals: int,
        padded: tuple[int, int] | None = None,
        *,
        tail: str = "",
    ) -> None:
        price_digits, amount_digits = padded or (price_decimals, amount_decimals)
        self._price_scale, self._amount_scale = 10**price_decimals, 10**amount_decimals
        self._form = f'["%.{price_digits}f","%.{amount_digits}f"{tail}]'

    def write(self, levels: Levels) -> str:
        """Return a JSON list of levels."""
        form, prices, amounts = self._form, self._price_scale, self._amount_scale
        texts = [form % (tick / prices, lots / amounts) for tick, lots in levels]
        return f"[{','.join(texts)}]"
