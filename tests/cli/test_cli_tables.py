"""What a person sees in the terminal."""

from __future__ import annotations

import doctest
import io

import pytest
from rich.console import Console, RenderableType

from engine.cli import tables


def shown(view: RenderableType, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


SIGNAL = {
    "rank": 1,
    "instrument": "BTC-USDT",
    "score": 0.25,
    "direction": "bullish",
    "confidence": 0.734,
    "reference_price": 61_837.635,
    "data_age_ms": 250,
    "rationale": ["Rank 1 of 2.", "Lifted by momentum."],
    "contributions": [
        {"factor": "momentum", "contribution": 0.30},
        {"factor": "sentiment", "contribution": 0.0},
        {"factor": "volatility", "contribution": -0.05},
    ],
}
RANKING = {"timeframe": "1h", "as_of": "2026-01-01T00:00:00.000000Z", "signals": [SIGNAL]}
STREAM = {
    "name": "stream-binance-0",
    "connected": True,
    "ended": False,
    "frames_per_s": 1234.0,
    "trades": 9757,
    "book_tops": 12,
    "bad_frames": 2,
    "open_gaps": 1,
    "stale": 0,
    "last_event_age_ms": 42,
}
STATUS = {
    "mode": "replay",
    "healthy": True,
    "uptime_s": 61.0,
    "streams": [STREAM],
    "replay": {"binance": {"frames": 100, "sent": 40}},
    "actors": [
        {"name": "ranker", "phase": "running", "pid": 7, "rss_mb": 200.4, "uptime_s": 61.0,
         "restarts": 1, "problem": ""},
    ],
}  # fmt: skip


def test_module_examples_hold() -> None:
    assert doctest.testmod(tables).failed == 0


def test_signals_table_names_what_moved_the_score_most() -> None:
    _, line = shown(tables.signals_table(RANKING))
    assert line.split() == [
        "1", "BTC-USDT", "+0.250", "bullish", "73%", "61,837.6", "250", "ms",
        "momentum", "+0.300,", "volatility", "-0.050",
    ]  # fmt: skip


def test_explained_ranking_gives_every_reason_a_line_of_its_own() -> None:
    head, *reasons = shown(tables.explained(RANKING))
    assert head == "  1  BTC-USDT  +0.250 bullish  confidence 73%  price 61,837.6  age 250 ms"
    assert reasons == ["     Rank 1 of 2.", "     Lifted by momentum."]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_live_view_is_never_wider_than_the_terminal_nor_wraps_a_signal(width: int) -> None:
    lines = shown(tables.live_view(STATUS, RANKING, "http://127.0.0.1:8000"), width)
    assert max(map(len, lines)) <= width
    assert any(
        line.split()[:8] == ["1", "BTC-USDT", "+0.250", "bullish", "73%", "61,837.6", "250", "ms"]
        for line in lines
    ), "what matters is never cut"
    assert sum("BTC-USDT" in line or "momentum" in line for line in lines) == 1


def test_streams_table_shows_a_streams_health() -> None:
    _, line = shown(tables.streams_table(STATUS))
    assert line.split() == [
        "binance-0", "connected", "1,234", "9,757", "12", "2", "1", "0", "42", "ms",
    ]  # fmt: skip


def test_streams_table_tells_down_from_finished() -> None:
    down = {**STREAM, "connected": False}
    ended = {**down, "ended": True}
    _, first, second = shown(tables.streams_table({"streams": [down, ended]}))
    assert "down" in first
    assert "finished" in second


def test_actors_table_shows_restarts_and_memory() -> None:
    _, line = shown(tables.actors_table(STATUS))
    assert line.split() == ["ranker", "running", "7", "200", "61.0", "s", "1"]


def test_summary_tells_a_replays_progress() -> None:
    (line,) = shown(tables.summary(STATUS, "http://x"))
    assert "http://x  replay  healthy  up 61.0 s  binance: 40 of 100 frames replayed" in line


def test_live_view_before_anything_is_known_says_how_to_stop() -> None:
    assert shown(tables.live_view(None, None, "http://x")) == ["Ctrl-C stops everything"]
