"""Gaps: stored, counted while they matter, told even where the bus was away."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.actors import gap_book
from engine.actors.gap_book import REMEMBERED_NS, GapBook
from engine.domain.market import Gap
from engine.domain.signal import Alert
from engine.errors import BusError, StoreError
from engine.metrics import REGISTRY


class Writer:
    def __init__(self) -> None:
        self.rows: list[Gap] = []
        self.steps: list[str] = []
        self.is_refused = False

    async def put(self, table: str, rows: list[Gap]) -> None:
        assert table == "feed_gaps"
        self.rows += rows

    async def write_candles(self) -> bool:
        self.steps.append("candles")
        return True

    async def flush(self) -> None:
        self.steps.append("flush")
        if self.is_refused:
            raise StoreError("a batch of trades was refused")


class Bus:
    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.is_down = False
        self.tries = 0

    async def publish_alert(self, alert: Alert) -> None:
        self.tries += 1
        if self.is_down:
            raise BusError("away")
        self.alerts.append(alert)


def gap(name: str = "g", **changes: Any) -> Gap:
    lasting = Gap(name, "binance", "BTC-USDT", "trades", "disconnect", None, None, 5, None, 10)
    return msgspec.structs.replace(lasting, **changes)


@pytest.fixture
def parts() -> tuple[GapBook, Writer, Bus]:
    writer, bus = Writer(), Bus()
    return GapBook(writer, bus), writer, bus


async def test_gap_that_lasts_makes_its_instrument_unhealthy(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, writer, _ = parts
    await book.take(gap())
    assert book.instruments(10**18) == {"BTC-USDT"}
    assert book.open == 1
    await book.take(gap(to_time=20, repaired_at=21, how="nothing missed"))
    assert book.instruments(22) == set()
    assert book.open == 0
    assert len(writer.rows) == 1, "its trades may not be stored yet"
    await book.settle(writer.write_candles)
    await book.settle(writer.write_candles)
    assert [row.how for row in writer.rows] == ["", "nothing missed"]
    assert writer.steps == ["candles", "flush"], "nothing is done where nothing closes"


async def test_gap_whose_trades_may_have_been_refused_stays_open_for_the_next_start(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, writer, _ = parts
    await book.take(gap(to_time=20, repaired_at=21, how="fetched 2 over REST"))
    writer.is_refused = True
    with pytest.raises(StoreError, match="refused"):
        await book.settle(writer.write_candles)
    writer.is_refused = False
    await book.settle(writer.write_candles)
    assert writer.rows == []


async def test_gap_closed_while_others_are_being_settled_waits_for_the_next_time(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, writer, _ = parts

    async def write_candles() -> bool:
        if not writer.rows:
            await book.take(gap("second", to_time=20, repaired_at=22, how="arrived late"))
        return True

    await book.take(gap("first", to_time=20, repaired_at=21, how="arrived late"))
    await book.settle(write_candles)
    assert [row.gap_id for row in writer.rows] == ["first"]
    await book.settle(write_candles)
    assert [row.gap_id for row in writer.rows] == ["first", "second"]


async def test_gap_is_kept_open_where_somebody_else_heard_of_the_refusal(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, writer, _ = parts

    async def write_candles() -> bool:
        book.keep_open()
        return True

    await book.take(gap(to_time=20, repaired_at=21, how="arrived late"))
    await book.settle(write_candles)
    assert writer.rows == []


def not_told() -> float:
    labels = {"stage": "stream", "kind": "alert_not_told"}
    return REGISTRY.get_sample_value("engine_errors_total", labels) or 0.0


async def test_alerts_beyond_the_bound_leave_and_are_counted(
    parts: tuple[GapBook, Writer, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    book, _, bus = parts
    monkeypatch.setattr(gap_book, "MOST_ALERTS", 2)
    before = not_told()
    bus.is_down = True
    for name in "abcd":
        await book.take(gap(name))
        await book.tell()
    assert not_told() == before + 2
    bus.is_down = False
    await book.tell()
    assert [alert.alert_id for alert in bus.alerts] == ["c-feed_gap", "d-feed_gap"]


async def test_alert_that_leaves_while_it_is_told_takes_no_other_along(
    parts: tuple[GapBook, Writer, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    book, _, bus = parts
    monkeypatch.setattr(gap_book, "MOST_ALERTS", 1)
    publish = bus.publish_alert

    async def slow(alert: Alert) -> None:
        if not bus.alerts:
            await book.take(gap("second"))
        await publish(alert)

    monkeypatch.setattr(bus, "publish_alert", slow)
    await book.take(gap("first"))
    await book.tell()
    assert [alert.alert_id for alert in bus.alerts] == ["first-feed_gap", "second-feed_gap"]


async def test_gap_that_cannot_be_repaired_is_told_with_its_reason(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, _, bus = parts
    await book.take(gap(to_time=20))
    await book.take(gap(to_time=20, problem="the venue keeps 60 trades"))
    await book.tell()
    assert [alert.kind for alert in bus.alerts] == ["feed_gap", "feed_gap"]
    assert bus.alerts[1].message.endswith("cannot be repaired: the venue keeps 60 trades")
    assert len({alert.alert_id for alert in bus.alerts}) == 2


async def test_gap_of_book_tops_leaves_its_instrument_healthy(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, *_ = parts
    await book.take(gap(channel="book_top"))
    assert book.instruments(11) == set()


async def test_gap_unrepaired_counts_for_an_hour_and_is_then_let_go(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, *_ = parts
    await book.take(gap(to_time=20, from_sequence=1, to_sequence=2))
    assert book.instruments(20 + REMEMBERED_NS - 1) == {"BTC-USDT"}
    assert book.instruments(20 + REMEMBERED_NS) == set()
    await book.take(gap("later", instrument="ETH-USDT", opened_at=20 + REMEMBERED_NS))
    assert book.open == 1, "memory is bounded by an hour of gaps"


async def test_gap_is_told_when_it_opens_and_when_it_ends(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, _, bus = parts
    await book.take(gap())
    await book.take(gap(to_time=20, repaired_at=21, how="nothing missed"))
    await book.take(gap("s", cause="stale"))
    await book.tell()
    assert [(alert.kind, alert.raised_at) for alert in bus.alerts] == [
        ("feed_gap", 10),
        ("feed_recovered", 21),
        ("feed_stale", 10),
    ]
    assert len({alert.alert_id for alert in bus.alerts}) == 3


async def test_gap_alerts_wait_for_a_bus_that_is_away_and_ask_it_once(
    parts: tuple[GapBook, Writer, Bus],
) -> None:
    book, writer, bus = parts
    bus.is_down = True
    for number in range(50):
        await book.take(gap(str(number)))
    assert bus.tries == 0, "a gap never waits for the bus"
    await book.tell()
    assert bus.tries == 1
    bus.is_down = False
    await book.tell()
    await book.tell()
    assert len(bus.alerts) == len(writer.rows) == 50
