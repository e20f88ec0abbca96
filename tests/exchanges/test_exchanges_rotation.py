"""A connection that is replaced before the venue ends it: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from pathlib import Path

import pytest
from exchanges_fakes import NOW, RememberingSink, streaming, top_frame, trade_frame, venue
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from engine.clock import DataClock
from engine.exchanges import renewal, stream
from engine.exchanges.connection import Connection
from engine.exchanges.recording import Recorder, read_frames
from engine.exchanges.renewal import RenewalPace
from engine.exchanges.stream import StreamLoop


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MIN_OVERLAP_S", 0.05)
    monkeypatch.setattr(stream, "_LOOK_S", 0.01)


class Market:
    """Trades one after the other, told to every open connection as a venue does."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.told: list[int] = []
        self.closed: list[int] = []
        self.with_tops = True

    async def behave(self, socket: ServerConnection, number: int) -> None:
        self.sockets.append(socket)
        while socket.close_code is None:
            if socket is self.sockets[0]:
                await self._tell()
            await asyncio.sleep(0.002)
        self.closed.append(number)
        if socket in self.sockets:
            self.sockets.remove(socket)

    async def _tell(self) -> None:
        number = len(self.told) + 1
        self.told.append(number)
        for socket in list(self.sockets):
            # One that is closing gets no more; that is no reason to withhold it from the others.
            with contextlib.suppress(ConnectionClosed):
                await socket.send(trade_frame(number))
                if self.with_tops:
                    await socket.send(top_frame())


async def test_rotation_hands_over_without_loss_or_repetition() -> None:
    market, sink = Market(), RememberingSink()
    config = {"rotate_after_s": 0.3}
    async with venue(market.behave) as url, streaming(url, sink, config=config) as loop:
        await sink.until(lambda: loop.status().rotations >= 3 and not sink.open_gaps)
        status = loop.status()
    # One connection may be a trade ahead of the other: each comes once, not all in order, and
    # of the last ones before the end the other may not have brought its own yet.
    assert len(sink.ids) == len(set(sink.ids))
    assert set(range(min(sink.ids), max(sink.ids) - 5)) <= set(sink.ids)
    assert status.duplicates > 0, "both connections brought the same trades for a while"
    assert status.reconnects == 0
    assert sink.states == [True, False], "the stream was up all the time"


async def test_rotation_waits_until_every_feed_of_the_old_connection_comes_on_the_new() -> None:
    """The second connection brings trades and, until told to, no book tops."""
    released = asyncio.Event()
    number = 0

    async def behave(socket: ServerConnection, connection: int) -> None:
        nonlocal number
        while socket.close_code is None:
            number += 1
            try:
                await socket.send(trade_frame(number))
                if connection == 1 or released.is_set():
                    await socket.send(top_frame())
            except ConnectionClosed:
                return
            await asyncio.sleep(0.002)

    sink = RememberingSink()
    async with venue(behave) as url, streaming(url, sink, config={"rotate_after_s": 0.1}) as loop:
        await sink.until(lambda: loop.status().duplicates + len(sink.ids) > 200)
        assert loop.status().rotations == 0
        released.set()
        await sink.until(lambda: loop.status().rotations == 1)


async def test_rotation_that_fails_leaves_the_old_connection_in_charge() -> None:
    async def behave(socket: ServerConnection, connection: int) -> None:
        if connection > 1:
            await socket.close(1011, "no")
            return
        number = 0
        while socket.close_code is None:
            number += 1
            try:
                await socket.send(trade_frame(number))
            except ConnectionClosed:
                return
            await asyncio.sleep(0.002)

    sink = RememberingSink()
    config = {"rotate_after_s": 0.2, "channels": ["trades"]}
    async with venue(behave) as url, streaming(url, sink, config=config) as loop:
        await sink.until(lambda: len(sink.ids) > 150)
        assert loop.status().rotations == 0
        assert loop.status().connected
    assert sink.ids == list(range(1, len(sink.ids) + 1))


async def test_rotation_when_the_old_connection_breaks_first_goes_on_with_the_new() -> None:
    async def behave(socket: ServerConnection, connection: int) -> None:
        if connection == 2:
            overlapping.set()
            await first.wait()
        number = 0 if connection == 1 else 10
        while socket.close_code is None and (connection > 1 or number < 10):
            number += 1
            try:
                await socket.send(trade_frame(number))
            except ConnectionClosed:
                return
            await asyncio.sleep(0.005)
        if connection == 1:
            await overlapping.wait()
            first.set()
            socket.transport.abort()

    first, overlapping = asyncio.Event(), asyncio.Event()
    sink = RememberingSink()
    config = {"rotate_after_s": 0.2, "channels": ["trades"]}
    async with venue(behave) as url, streaming(url, sink, config=config) as loop:
        await sink.until(lambda: len(sink.ids) > 20 and loop.status().rotations == 1)
    assert sink.ids == list(range(1, len(sink.ids) + 1))
    assert [(gap.cause, gap.how) for gap in sink.gaps if gap.repaired_at] == [
        ("disconnect", "nothing missed")
    ]


def uncounted_frame(seconds: int) -> str:
    """Return a trade of Bybit, so many seconds behind `NOW`."""
    at = NOW // 10**6 + seconds * 1_000
    return (
        f'{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{at},"data":[{{"T":{at},'
        f'"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","i":"{seconds}","BT":false}}]}}'
    )


async def test_rotation_after_the_old_connection_broke_hides_nothing_that_nobody_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new one was not open yet, and has trades sooner than anybody looks."""
    monkeypatch.setattr(stream, "_LOOK_S", 0.5)
    sockets: list[ServerConnection] = []

    async def behave(socket: ServerConnection, connection: int) -> None:
        sockets.append(socket)
        await socket.send(uncounted_frame(0 if connection == 1 else 20))
        if connection > 1:
            await asyncio.sleep(0.6)
            await socket.send(uncounted_frame(30))

    async def permit() -> None:
        """Have the old connection break while the new one waits for the budget."""
        if sockets:
            sockets[0].transport.abort()
            await asyncio.sleep(0.1)

    sink = RememberingSink()
    config = {"rotate_after_s": 0.2, "channels": ["trades"]}
    async with (
        venue(behave) as url,
        streaming(url, sink, "bybit", config=config, permit=permit),
    ):
        await sink.until(lambda: len(sink.received) == 3)
    over = [gap for gap in sink.gaps if gap.to_time is not None]
    assert [(gap.cause, gap.from_time, gap.to_time) for gap in over] == [
        ("disconnect", NOW // 10**6 * 10**6, NOW // 10**6 * 10**6 + 20 * 10**9)
    ]
    assert sink.states == [True, False, True, False]


async def test_rotation_recording_holds_one_connection_after_the_other(tmp_path: Path) -> None:
    market, sink = Market(), RememberingSink()
    market.with_tops = False
    recorder = Recorder(tmp_path, "binance", DataClock(NOW))
    config = {"rotate_after_s": 0.2, "channels": ["trades"]}
    async with (
        venue(market.behave) as url,
        streaming(url, sink, config=config, recorder=recorder) as loop,
    ):
        await sink.until(lambda: loop.status().rotations >= 1)
    (file,) = recorder.paths
    frames = [stamped.frame.decode() for stamped in read_frames(file)]
    ids = [int(frame.split('"t":')[1].split(",")[0]) for frame in frames]
    steps_back = [index for index in range(1, len(ids)) if ids[index] <= ids[index - 1]]
    assert len(steps_back) <= loop.status().rotations, "each connection's frames lie together"
    assert set(range(ids[0], max(sink.ids) + 1)) <= set(ids)


async def test_rotation_that_failed_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ROTATE_AGAIN_S", 0.05)

    async def behave(socket: ServerConnection, connection: int) -> None:
        if connection == 2:
            await socket.close(1013, "try again later")
            return
        number = 0
        while socket.close_code is None:
            number += 1
            try:
                await socket.send(trade_frame(number))
            except ConnectionClosed:
                return
            await asyncio.sleep(0.002)

    sink = RememberingSink()
    config = {"rotate_after_s": 6.0, "channels": ["trades"]}
    monkeypatch.setattr(StreamLoop, "_lifetime_s", lambda _: next(lifetimes))
    lifetimes = iter([0.2, 10**6])
    async with venue(behave) as url, streaming(url, sink, config=config) as loop:
        await sink.until(lambda: loop.status().rotations == 1)


async def test_rotation_stopped_while_the_old_connection_closes_leaves_none_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closing = asyncio.Event()

    async def slow(self: Connection) -> None:
        closing.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(Connection, "close", slow)
    market, sink = Market(), RememberingSink()
    async with venue(market.behave) as url:
        async with streaming(url, sink, config={"rotate_after_s": 0.1}) as loop:
            await asyncio.wait_for(closing.wait(), 10)
        assert loop._open == {}


# For a subscription that was refused or is gone


def test_renewals_come_from_a_minute_on_less_and_less_often_up_to_an_hour() -> None:
    pace, now, ages = RenewalPace(), 0.0, []
    for _ in range(9):
        due = pace.due(now, now)
        ages.append(due - now)
        now = due
        pace.renewed(now)
    assert ages == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert pace.due(now, now + 7_200) == now + 3_600
    assert pace.due(now, now + 7_201) == now + 60, "what is long ago is forgotten"
    pace.renewed(now + 7_201)
    assert pace.due(now + 7_201, now + 7_201) == now + 7_201 + 120


REFUSAL = '{"error":{"code":2,"msg":"no"},"id":1}'


async def test_refused_subscription_is_asked_for_again_by_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "FIRST_S", 0.1)
    market, sink = Market(), RememberingSink()

    async def behave(socket: ServerConnection, number: int) -> None:
        if number == 1:
            await socket.send(REFUSAL)
        await market.behave(socket, number)

    async with venue(behave) as url, streaming(url, sink) as loop:
        await sink.until(lambda: loop.status().rotations == 1)
        await asyncio.sleep(0.5)
        assert loop.status().rotations == 1
        assert loop.status().reconnects == 0
    assert [letter.kind for letter in sink.letters] == ["refused"]
    assert set(range(min(sink.ids), max(sink.ids) - 5)) <= set(sink.ids)
    assert sink.states == [True, False]


async def test_subscription_refused_for_good_is_asked_for_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "FIRST_S", 0.1)
    market, sink = Market(), RememberingSink()
    opened: list[float] = []

    async def behave(socket: ServerConnection, number: int) -> None:
        opened.append(asyncio.get_running_loop().time())
        await socket.send(REFUSAL)
        await market.behave(socket, number)

    async with venue(behave) as url, streaming(url, sink) as loop:
        await sink.until(lambda: loop.status().rotations == 3)
    first, second, third = (after - before for before, after in pairwise(opened))
    # From accepted to accepted: on a busy machine the venue may be late with either.
    assert (first >= 0.05, second >= 0.15, third >= 0.3) == (True, True, True)


async def test_end_of_tasks_keeps_the_cancellation_of_its_caller() -> None:
    async def slow() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
        return ""

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    ending = asyncio.create_task(stream._end([task]))
    await asyncio.sleep(0.01)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert task.done()
