"""Which of a file's columns is which of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.imports.problem import ImportProblem

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol", "instrument", "pair", "ticker", "market", "coin"),
    "open_time": (
        "open_time", "opentime", "ts", "time", "timestamp", "date", "datetime", "unix", "t",
    ),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "v", "vol", "base_volume", "volume_base"),
    "quote_volume": (
        "quote_volume", "quote_asset_volume", "quote_vol", "volume_quote", "turnover", "qv",
    ),
    "trade_count": (
        "trade_count", "trades", "count", "number_of_trades", "num_trades", "n_trades",
        "tradecount", "n",
    ),
    "vwap": ("vwap",),
    "twap": ("twap",),
    "taker_buy_volume": (
        "taker_buy_volume", "taker_buy_base", "taker_buy_base_volume",
        "taker_buy_base_asset_volume",
    ),
}  # fmt: skip
"""Our column -> how files spell it, ours first."""

REQUIRED = ("open_time", "open", "high", "low", "close", "volume")
"""Columns without which there is no candle. The symbol may come from the file's name."""


def map_columns(file: str, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return our column -> the file's.

    Parameters
    ----------
    file
        Its name, for messages.
    names
        Its columns.
    given
        Ours -> theirs, as the configuration says; goes before every guess.

    Raises
    ------
    ImportProblem
        Where a required column is missing, or two could be meant.

    Examples
    --------
    >>> map_columns("a.csv", ["ts", "o", "h", "l", "c", "v"], {})["close"]
    'c'
    """
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(_plain(name), []).append(name)
    taken = set(given.values())
    found: dict[str, str] = {}
    for ours, spellings in SPELLINGS.items():
        if ours in given:
            if given[ours] not in names:
                raise ImportProblem(
                    f"{file} has no column {given[ours]!r}, which columns.{ours} names; it has "
                    f"{', '.join(names)}"
                )
            found[ours] = given[ours]
            continue
        if spellings[0] in names and spellings[0] not in taken:
            found[ours] = spellings[0]
            continue
        meant = [name for each in spellings for name in plain.get(each, ()) if name not in taken]
        if len(meant) > 1:
            raise ImportProblem(
                f"{file}: {ours} could be column {meant[0]!r} or {meant[1]!r}; say which with "
                f"--set columns.{ours}={meant[0]}"
            )
        if meant:
            found[ours] = meant[0]
    missing = [ours for ours in REQUIRED if ours not in found]
    if missing:
        raise ImportProblem(_lack(file, names, missing))
    return found


def _lack(file: str, names: Sequence[str], missing: Sequence[str]) -> str:
    if all(_is_number(name) for name in names):
        return (
            f"{file} has no header: its first line holds {', '.join(names[:3])} …; put a line with "
            "the columns' names before it"
        )
    columns = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {', '.join(missing)}"
    return (
        f"{file} lacks the {columns}; it has {', '.join(names) or 'none'}. Where one of them is "
        f"meant, name it with --set columns.{missing[0]}=NAME"
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
