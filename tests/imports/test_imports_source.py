"""Imported candles beside those made of trades: somebody else's, until ours are whole."""

from __future__ import annotations

from msgspec.structs import replace

from engine.candles.backfill import accepted
from engine.candles.fold import fold_candles
from engine.candles.memory import is_whole
from engine.candles.resample import candles_from_trades, rebuild, resample
from engine.domain.market import Candle, CandleSource, Trade
from engine.domain.timeframe import Timeframe

SECOND = 1_000_000_000
START = 1_640_995_200 * SECOND


def minute(number: int, source: CandleSource, volume: float = 2.0) -> Candle:
    open_time = START + number * Timeframe.M1.ns
    return Candle(
        "binance", "BTC-USDT", "1m", open_time, open_time + Timeframe.M1.ns, 5.0, 6.0, 4.0, 5.0,
        volume, None, None, None, None, None, source, True, open_time - 1,
    )  # fmt: skip


def trade(number: int, amount: float) -> Trade:
    time = START + number * SECOND
    return Trade("binance", "BTC-USDT", str(number), number, 5.0, amount, "buy", time, time)


def test_fold_of_imported_candles_is_imported_and_of_mixed_ones_not_ours() -> None:
    def folded(*sources: CandleSource) -> str:
        children = [minute(number, source) for number, source in enumerate(sources)]
        return fold_candles(children, Timeframe.M5, START, is_closed=True, version=1).source

    assert folded("import", "import") == "import"
    assert folded("rest", "rest") == "rest"
    assert folded("trades", "trades") == "trades"
    assert folded("trades", "import") == "rest"
    assert folded("import", "rest") == "rest"


def test_rebuild_leaves_an_imported_candle_until_our_trades_are_whole() -> None:
    held = minute(0, "import", volume=2.0)

    def made(trades: list[Trade]) -> list[Candle]:
        return rebuild(
            trades,
            lambda timeframe, start, end: [held] if timeframe is Timeframe.M1 else [],
            (Timeframe.M1,),
            closed_through=START + Timeframe.D1.ns,
            version=7,
        )

    assert made([trade(1, 1.5)]) == []
    [ours] = made([trade(1, 1.5), trade(2, 0.5)])
    assert (ours.source, ours.volume) == ("trades", 2.0)
    assert ours.version > held.version
    assert is_whole(ours, held)


def test_candle_of_the_venues_rest_takes_the_place_of_an_imported_one() -> None:
    imported = minute(0, "import")
    [kept] = accepted([replace(imported, source="rest", close=5.5)], [imported], ())
    assert kept.version > imported.version


def test_candle_of_trades_of_its_time_wins_over_the_imported_one() -> None:
    [ours] = resample(candles_from_trades([trade(1, 1.0)]), Timeframe.M1)
    assert ours.version > minute(0, "import").version
