from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest
from exchanges_fakes import NOW, QUICK, RememberingSink, trade_frame
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from engine.clock import DataClock
from engine.config import ExchangeConfig
from engine.domain.market import Trade
from engine.errors import RecordingError
from engine.exchanges import recording
from engine.exchanges.recording import Recorder, decode_line, encode_line, read_frames
from engine.exchanges.registry import exchange
from engine.exchanges.replay import ReplayServer, inspect_recordings
from engine.exchanges.stream import StreamLoop
from engine.metrics import REGISTRY

AWKWARD = st.binary(max_size=40) | st.sampled_from(
    [b"", b"base64:", b"base64:!!", b"# no comment", b"a\nb", b"a\r\nb", b"\xff", b" ", b"{}\r"]
)


@given(st.integers(0, 2**63 - 1), AWKWARD)
def test_line_of_any_frame_comes_back(receive_time: int, frame: bytes) -> None:
    line = encode_line(receive_time, frame)
    assert line.count(b"\n") == 1
    assert decode_line(line.removesuffix(b"\n")) == (receive_time, frame)


@given(st.lists(st.lists(st.tuples(st.integers(0, 2**62), AWKWARD), max_size=5), max_size=4))
def test_recorded_frames_come_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, flushes: list[list[tuple[int, bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    recorder = Recorder(folder, "binance", DataClock(NOW))
    for frames in flushes:
        for receive_time, frame in frames:
            recorder.record(receive_time, frame)
        recorder.flush()
    recorder.close()
    found = [stamped for path in folder.iterdir() for stamped in read_frames(path)]
    assert found == [stamped for frames in flushes for stamped in frames]


def test_recording_is_the_documented_text(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "binance", DataClock(NOW))
    recorder.record(5, b'{"a":1}')
    recorder.close()
    path = tmp_path / "binance_20240808T235415Z_0.gz"
    assert gzip.decompress(path.read_bytes()) == (
        b'# {"format":2,"exchange":"binance","instruments":[],"contract_sizes":{}}\n5 {"a":1}\n'
    )


def test_recorder_begins_a_new_file_by_hour_and_by_size(tmp_path: Path) -> None:
    clock = DataClock(NOW)
    recorder = Recorder(tmp_path, "kraken", clock, rotate_bytes=1)
    for step in range(2):
        recorder.record(step, b"x")
        recorder.flush()
    clock.advance(NOW + 3600 * 10**9)
    recorder.record(2, b"x")
    recorder.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "kraken_20240808T235415Z_0.gz",
        "kraken_20240808T235415Z_1.gz",
        "kraken_20240809T005415Z_0.gz",
    ]


def not_recorded() -> float:
    labels = {"stage": "recording", "kind": "dropped"}
    return REGISTRY.get_sample_value("engine_errors_total", labels) or 0.0


def test_recorder_without_a_place_to_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    recorder = Recorder(tmp_path / "file", "kraken", DataClock(NOW))
    recorder.record(1, b"x")
    before = not_recorded()
    with pytest.raises(RecordingError, match=r"cannot be written.*set record: false"):
        recorder.flush()
    assert recorder.dropped == 1
    assert not_recorded() == before + 1


def test_recorder_that_cannot_hold_more_counts_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "PENDING_BYTES", 60)
    recorder = Recorder(tmp_path, "kraken", DataClock(NOW))
    before = not_recorded()
    for number in range(5):
        recorder.record(NOW + number, b"x" * 20)
    recorder.close()
    assert [frame.receive_time - NOW for frame in read_frames(recorder.paths[0])] == [0, 1]
    assert recorder.dropped == 3
    assert not_recorded() == before + 3


def _record(folder: Path, frames: int, first: int = 1, at: int = NOW, step: int = 1000) -> Path:
    folder.mkdir(exist_ok=True)
    recorder = Recorder(folder, "binance", DataClock(NOW))
    for number in range(frames):
        recorder.record(at + number * step, trade_frame(first + number).encode())
        if number % 10 == 9:
            recorder.flush()
    recorder.close()
    return max(folder.iterdir())


def test_truncated_recording_is_read_up_to_the_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _record(tmp_path / "r", 30)
    path.write_bytes(path.read_bytes()[:-20])
    logging.getLogger("engine").propagate = True
    frames = list(read_frames(path))
    assert 20 <= len(frames) < 30
    assert frames == [(NOW + n * 1000, trade_frame(1 + n).encode()) for n in range(len(frames))]
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("line", [b"no time here", b"12", b"1.5 {}", b"7 base64:!!!"])
def test_malformed_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(b"5 {}\n" + line + b"\n"))
    with pytest.raises(RecordingError, match=r"bad\.gz, line 2: "):
        list(read_frames(path))


def test_inspect_finds_exchange_instruments_and_range(tmp_path: Path) -> None:
    mine = _record(tmp_path / "r", 3)
    plain = tmp_path / "r" / "without_header.gz"
    frame = trade_frame(1, symbol="ETHUSDT").encode()
    plain.write_bytes(gzip.compress(encode_line(9, frame) + encode_line(4, b"{}")))
    first, second = inspect_recordings([tmp_path / "r"])
    assert (first.path, first.exchange, first.instruments) == (mine, "binance", ("BTC-USDT",))
    assert (first.first_ns, first.last_ns, first.frames) == (NOW, NOW + 2000, 3)
    assert (second.exchange, second.instruments) == ("binance", ("ETH-USDT",))
    assert (second.first_ns, second.last_ns, second.frames) == (4, 9, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "wrong.gz is empty: there is no frame to replay"),
        (b"5 {}\n", "of no known exchange"),
        (b'# {"format":3,"exchange":"binance"}\n', "is of format 3; this engine reads 1 to 2"),
        (b'# {"format":1,"exchange":"mtgox"}\n', "'mtgox', which has no adapter"),
        (b'# {"format":1,"exchange":"kraken"}\n5 {}\n', "holds no market data of kraken"),
    ],
)
def test_inspect_wrong_file_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "wrong.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(RecordingError, match=message):
        inspect_recordings([path])


def test_inspect_file_without_frames_among_others_is_passed_over(tmp_path: Path) -> None:
    frame = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"1.5",'
    frame += b'"q":"2.0","T":1,"m":true,"M":true}}'
    header = b'# {"format":1,"exchange":"binance"}\n'
    (tmp_path / "a.gz").write_bytes(gzip.compress(header))
    (tmp_path / "b.gz").write_bytes(gzip.compress(header + encode_line(NOW, frame)))
    (found,) = inspect_recordings([tmp_path])
    assert (found.path.name, found.frames) == ("b.gz", 1)


def test_inspect_missing_and_empty_places_say_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="does not exist"):
        inspect_recordings([tmp_path / "nowhere.gz"])
    with pytest.raises(RecordingError, match="holds no recordings"):
        inspect_recordings([tmp_path])


def _loop(url: str, sink: RememberingSink) -> StreamLoop:
    return StreamLoop(
        exchange("binance"),
        url,
        ["BTC-USDT"],
        ExchangeConfig(),
        QUICK,
        DataClock(0),
        sink,
        stamped=True,
    )


async def test_replay_serves_merged_files_with_their_times_and_ends(tmp_path: Path) -> None:
    _record(tmp_path / "a", 700, first=1, at=NOW, step=2000)
    _record(tmp_path / "b", 700, first=5000, at=NOW + 1000, step=2000)
    sink = RememberingSink()
    server = ReplayServer(inspect_recordings([tmp_path / "a", tmp_path / "b"]), "max")
    urls = await server.start()
    loop = _loop(urls["binance"], sink)
    await loop.run()
    await server.stop()
    assert [event.receive_time for event in sink.received] == [NOW + n * 1000 for n in range(1400)]
    trades = [event for event in sink.received if isinstance(event, Trade)]
    assert sorted(trade.sequence for trade in trades) == [*range(1, 701), *range(5000, 5700)]
    assert (loop.status().ended, loop.status().reconnects) == (True, 0)
    assert server.progress()["binance"].sent == server.progress()["binance"].frames == 1400
    assert sink.letters == []


class _Breaking(ReplayServer):
    """Breaks the connection, as a pulled cable does, after so many messages in all."""

    sent = 0

    async def _client(self, socket: ServerConnection) -> None:
        whole = socket.send

        async def send(message: bytes) -> None:
            await whole(message)
            self.sent += 1
            if self.sent in {300, 700, 1500}:
                socket.transport.abort()

        socket.send = send  # type: ignore[method-assign]
        await super()._client(socket)


async def test_replay_broken_off_resumes_without_loss(tmp_path: Path) -> None:
    _record(tmp_path / "a", 2000)
    sink = RememberingSink()
    server = _Breaking(inspect_recordings([tmp_path / "a"]), "max")
    loop = _loop((await server.start())["binance"], sink)
    await loop.run()
    await server.stop()
    assert sink.ids == list(range(1, 2001))
    assert (loop.status().reconnects, loop.status().duplicates) == (3, 0)
    assert loop.status().ended


async def test_replay_leaves_out_instruments_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.gz"
    frames = [trade_frame(1), trade_frame(1, symbol="ETHUSDT"), trade_frame(2)]
    path.write_bytes(gzip.compress(b"".join(encode_line(NOW, f.encode()) for f in frames)))
    sink = RememberingSink()
    server = ReplayServer(inspect_recordings([path]), "max")
    loop = _loop((await server.start())["binance"], sink)
    await loop.run()
    await server.stop()
    assert sink.ids == [1, 2]
    assert (loop.status().ignored, sink.letters) == (1, [])


async def test_replay_at_a_speed_takes_that_time(tmp_path: Path) -> None:
    _record(tmp_path / "a", 5, step=100_000_000)
    server = ReplayServer(inspect_recordings([tmp_path / "a"]), 4.0)
    urls = await server.start()
    sink = RememberingSink()
    began = _seconds()
    await _loop(urls["binance"], sink).run()
    took = _seconds() - began
    await server.stop()
    assert sink.ids == [1, 2, 3, 4, 5]
    assert took >= 0.1


def _seconds() -> float:
    import time

    return time.monotonic()


async def test_replay_of_an_exchange_without_recording_is_refused(tmp_path: Path) -> None:
    _record(tmp_path / "a", 1)
    server = ReplayServer(inspect_recordings([tmp_path / "a"]), "max")
    url = (await server.start())["binance"].replace("binance", "kraken")
    async with connect(url) as socket:
        with pytest.raises(ConnectionClosed, match="no recording of exchange 'kraken'"):
            await socket.recv()
    await server.stop()
