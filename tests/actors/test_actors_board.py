"""The ranker's memory: when a closed bar is ready, and with which texts it is joined."""

from __future__ import annotations

import msgspec
from actors_samples import MINUTE, features, row, sentiment

from engine.actors.board import KEPT_BARS, Board
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe

BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")


def times(bars: list) -> list[int]:
    return [bar.open_time for bar in bars]


def test_board_bar_is_ready_once_every_worker_is_past_it() -> None:
    board = Board(workers=2, patience_s=5, expects_texts=False)
    board.take(features(row(0), through=MINUTE, worker="a"), now=0)
    assert board.ready(now=1) == []
    board.take(features(row(0, instrument="ETH-USDT"), through=MINUTE, worker="b"), now=1)
    ready = board.ready(now=1)
    assert times(ready) == [0]
    assert set(ready[0].rows) == {BTC, ETH}
    assert board.ready(now=1) == []


def test_board_bar_does_not_wait_longer_than_its_patience() -> None:
    board = Board(workers=2, patience_s=5, expects_texts=False)
    board.take(features(row(0), through=MINUTE, worker="a"), now=10)
    assert board.ready(now=14.9) == []
    assert times(board.ready(now=15)) == [0]


def test_board_bar_waits_for_the_texts_of_its_moment() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=True)
    board.take(features(row(0), through=MINUTE), now=0)
    board.take_sentiment(sentiment(MINUTE - 1))
    assert board.ready(now=1) == []
    board.take_sentiment(sentiment(MINUTE))
    assert times(board.ready(now=1)) == [0]


def test_board_bars_come_out_in_order_of_time() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    board.take(features(row(2 * MINUTE), row(0), row(MINUTE), through=3 * MINUTE), now=0)
    assert times(board.ready(now=0)) == [0, MINUTE, 2 * MINUTE]


def test_board_bars_of_before_the_start_are_not_ranked_but_their_rows_are_kept() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False, since=2 * MINUTE + 1)
    past = board.take(features(row(0), row(MINUTE), row(2 * MINUTE), through=3 * MINUTE), now=0)
    assert times(past) == [0, MINUTE]
    assert not any(bar.is_whole for bar in past), "no ranks over a few of its markets"
    assert [set(bar.rows) for bar in past] == [{BTC}, {BTC}]
    assert times(board.ready(now=0)) == [2 * MINUTE]


def test_board_sentiment_is_never_of_a_later_moment() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=True)
    board.take_sentiment(sentiment(MINUTE, 0.1))
    board.take_sentiment(sentiment(2 * MINUTE, 0.9))
    assert board.sentiment("1d", MINUTE - 1) == {}
    assert board.sentiment("1d", 2 * MINUTE - 1)["BTC-USDT"].score == 0.1
    assert board.sentiment("1d", 2 * MINUTE)["BTC-USDT"].score == 0.9
    assert board.sentiment("1h", 2 * MINUTE) == {}


def test_board_correction_of_a_ranked_bar_comes_with_its_whole_universe() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    both = (row(0), row(0, instrument="ETH-USDT"))
    assert board.take(features(*both, through=MINUTE), now=0) == []
    board.ready(now=0)
    corrected = board.take(features(row(0, value=2.0), through=MINUTE), now=1)
    assert times(corrected) == [0]
    assert corrected[0].rows[BTC].values[0] == 2.0
    assert corrected[0].rows[ETH].values[0] == 1.0
    assert board.ready(now=100) == [], "a corrected bar is not ranked twice"


def test_board_memory_of_ranked_bars_is_bounded() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    rows = [row(index * MINUTE) for index in range(KEPT_BARS + 5)]
    board.take(features(*rows, through=(KEPT_BARS + 5) * MINUTE), now=0)
    board.ready(now=0)
    both_gone = board.take(features(row(0, value=2.0)), now=1)
    assert list(both_gone[0].rows) == [BTC]


def test_board_newest_rows_are_told_once_per_change() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    board.take(features(previews=(row(MINUTE, is_closed=False),)), now=0)
    board.take(features(row(0)), now=0)
    changed = board.changed()
    assert [found.open_time for found in changed[Timeframe.M1]] == [MINUTE], "older is not newest"
    assert board.changed() == {}
    board.take_sentiment(sentiment(MINUTE))
    assert list(board.changed()) == [Timeframe.M1]


def test_board_unhealthy_markets_are_each_workers_latest_word() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    sick = features()
    board.take(type(sick)(sick.worker, "a", (), (), {}, {}, ("binance:BTC-USDT",)), now=0)
    assert board.unhealthy == {"binance:BTC-USDT"}
    board.take(sick, now=0)
    assert board.unhealthy == set()


def test_board_forgets_the_rows_of_markets_that_are_gone() -> None:
    board = Board(workers=1, patience_s=5, expects_texts=False)
    board.take(features(row(0), row(0, instrument="ETH-USDT"), through=MINUTE), now=0)
    assert [len(rows) for rows in board.changed().values()] == [2]
    left = features(row(MINUTE, instrument="ETH-USDT"), through=2 * MINUTE)
    board.take(msgspec.structs.replace(left, gone={"1m": ("binance:BTC-USDT",)}), now=0)
    ((kept,),) = board.changed().values()
    assert kept.instrument == "ETH-USDT"
    assert set(board.ready(now=9)[-1].rows) == {ETH}
