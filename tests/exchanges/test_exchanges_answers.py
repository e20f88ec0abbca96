"""Recordings with what REST requests were answered: written, read, and replayed in place."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest
from exchanges_fakes import NOW, trade_frame
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

from engine.clock import DataClock
from engine.errors import RecordingError
from engine.exchanges.base import RestRequest
from engine.exchanges.record_lines import (
    Stamped,
    StampedAnswer,
    StampedFrame,
    decode_line,
    encode_answer,
    pack,
    unpack,
)
from engine.exchanges.recording import (
    Recorder,
    read_answers,
    read_frames,
    read_header,
    read_recording,
)
from engine.exchanges.replay import ReplayServer, inspect_recordings

DEPTH = RestRequest("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "5000")))
TARGET = "/api/v3/depth?symbol=BTCUSDT&limit=5000"
AWKWARD = st.binary(max_size=40) | st.sampled_from([b"", b"rest:", b"base64:", b"a\nb", b"\xff"])
TIMES = st.integers(0, 2**63 - 1)


@given(TIMES, st.from_regex(r"/[!-~]{0,30}", fullmatch=True), AWKWARD)
def test_answer_in_a_line_and_in_a_message_comes_back(time: int, target: str, body: bytes) -> None:
    answer = StampedAnswer(time, target, body)
    line = encode_answer(time, target, body)
    assert line.count(b"\n") == 1
    assert decode_line(line.removesuffix(b"\n")) == answer
    assert unpack(pack(answer)) == answer


@given(TIMES, AWKWARD)
def test_frame_in_a_message_comes_back(time: int, frame: bytes) -> None:
    assert unpack(pack(StampedFrame(time, frame))) == StampedFrame(time, frame)


@pytest.mark.parametrize("target", ["depth", "/de pth", "/depth?a=b\n", ""])
def test_answer_to_what_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="no path and query"):
        encode_answer(1, target, b"{}")


@pytest.mark.parametrize("line", [b"5 rest:", b"5 rest:/depth", b"5 rest:depth {}"])
def test_malformed_answer_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(line + b"\n"))
    with pytest.raises(RecordingError, match=r"bad\.gz, line 1: a REST answer needs a path"):
        list(read_recording(path))


def _record(folder: Path, *, first: int = 1, at: int = NOW) -> list[Stamped]:
    """Write frame, answer, frame, answer, frame; return what is expected back."""
    recorder = Recorder(
        folder,
        "binance",
        DataClock(at),
        instruments=["BTC-USDT"],
        contract_sizes={"BTC-USDT": 0.01, "ETH-USDT": 2.0},
    )
    lines: list[Stamped] = []
    for number in range(3):
        frame = StampedFrame(at + 10 * number, trade_frame(first + number).encode())
        recorder.record(*frame)
        lines.append(frame)
        if number < 2:
            body = b'{"lastUpdateId":%d,\n"bids":[]}' % (first + number)
            lines.append(StampedAnswer(at + 10 * number + 5, TARGET, body))
            recorder.record_answer(at + 10 * number + 5, DEPTH, body)
        recorder.flush()
    recorder.close()
    return lines


def test_recorder_keeps_answers_instruments_and_contract_sizes(tmp_path: Path) -> None:
    lines = _record(tmp_path)
    (path,) = tmp_path.iterdir()
    header = read_header(path)
    assert header is not None
    assert (header.format, header.instruments) == (2, ["BTC-USDT"])
    assert header.contract_sizes == {"BTC-USDT": 0.01}
    assert list(read_recording(path)) == lines
    assert list(read_frames(path)) == lines[::2]
    assert list(read_answers(path)) == lines[1::2]
    (found,) = inspect_recordings([path])
    assert (found.frames, found.answers, found.contract_sizes) == (3, 2, {"BTC-USDT": 0.01})
    assert found.channels == ("trades",)
    assert found.reader().contract_sizes == {"BTC-USDT": 0.01}


async def _messages(url: str) -> list[Stamped]:
    found = []
    async with connect(url) as socket:
        try:
            while True:
                found.append(unpack(await socket.recv(decode=False)))
        except ConnectionClosedOK:
            return found


async def test_replay_with_answers_sends_each_at_its_place_every_time(tmp_path: Path) -> None:
    lines = _record(tmp_path)
    server = ReplayServer(inspect_recordings([tmp_path]), "max")
    url = (await server.start())["binance"]
    assert await _messages(url) == await _messages(url) == lines
    assert await _messages(f"{url}?from=3") == lines[3:]
    assert await _messages(f"{url}?answers=0") == lines[::2]
    assert await _messages(f"{url}?answers=0&from=1") == lines[2::2]
    progress = server.progress()["binance"]
    assert (progress.sent, progress.frames) == (3, 3)
    assert server.adapter("binance").contract_sizes == {"BTC-USDT": 0.01}
    await server.stop()


async def test_replay_over_http_gives_the_answers_in_recorded_order(tmp_path: Path) -> None:
    lines = _record(tmp_path / "a")
    later = _record(tmp_path / "b", first=100, at=NOW + 1000)
    server = ReplayServer(inspect_recordings([tmp_path / "b", tmp_path / "a"]), "max")
    base = (await server.start())["binance"].replace("ws://", "http://")
    async with httpx.AsyncClient(base_url=base) as client:
        bodies = []
        for _ in range(4):
            answer = await client.get(DEPTH.path, params=dict(DEPTH.params))
            assert answer.status_code == 200
            bodies.append(answer.content)
        assert bodies == [line[2] for line in [*lines, *later] if isinstance(line, StampedAnswer)]
        after = await client.get(DEPTH.path, params=dict(DEPTH.params))
        other = await client.get("/api/v3/depth?symbol=ETHUSDT")
        nobody = await client.get("/../kraken/x")
    assert [after.status_code, other.status_code, nobody.status_code] == [404, 404, 404]
    assert "holds no further answer to /binance/api/v3/depth" in after.text
    await server.stop()


async def test_replay_of_a_group_leaves_out_the_others(tmp_path: Path) -> None:
    spot = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1723161255343,"data":[{"T":%d,'
    spot += b'"s":"BTCUSDT","S":"Buy","v":"0.1","p":"61837.5","i":"%s","BT":false}]}'
    for number, name in enumerate(("BTC-USDT", "BTC-USDT-PERP")):
        recorder = Recorder(tmp_path, "bybit", DataClock(NOW), instruments=[name])
        recorder.record(NOW + number, spot % (1_723_161_255_342, b"%d" % (number + 1)))
        recorder.close()
    found = inspect_recordings([tmp_path])
    assert [recording.instruments for recording in found] == [("BTC-USDT",), ("BTC-USDT-PERP",)]
    server = ReplayServer(found, "max")
    url = (await server.start())["bybit"]
    assert len(await _messages(url)) == 2
    for number, recording in enumerate(found):
        (group,) = recording.groups
        (message,) = await _messages(f"{url}?group={group}")
        assert message.receive_time == NOW + number
    await server.stop()


def test_replay_of_two_dialects_at_once_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.gz"
    row = b'[0,[["61837.5","0.1","1723161255.342","b","m",""]],"trade","XBT/USD"]'
    old.write_bytes(gzip.compress(b"%d %b\n" % (NOW, row)))
    new = tmp_path / "new.gz"
    frame = (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy",'
        b'"price":61837.5,"qty":0.1,"ord_type":"limit","trade_id":7,'
        b'"timestamp":"2024-08-08T23:54:15.342000Z"}]}'
    )
    new.write_bytes(gzip.compress(b"%d %b\n" % (NOW, frame)))
    found = inspect_recordings([new, old])
    assert [recording.exchange for recording in found] == ["kraken", "kraken"]
    assert [recording.adapter.__name__ for recording in found] == ["Kraken", "KrakenV1"]
    with pytest.raises(RecordingError, match="speak different versions of its protocol"):
        ReplayServer(found, "max")
    assert ReplayServer(found[1:], "max").adapter("kraken").name == "kraken"


def test_inspect_file_with_nothing_but_acknowledgements_is_passed_over(tmp_path: Path) -> None:
    _record(tmp_path)
    quiet = Recorder(tmp_path, "binance", DataClock(NOW), instruments=["BTC-USDT"])
    quiet.record(NOW, b'{"result":null,"id":1}')
    quiet.close()
    (found,) = inspect_recordings([tmp_path])
    assert found.frames == 3
    with pytest.raises(RecordingError, match="holds no market data of binance"):
        inspect_recordings(quiet.paths)


def test_inspect_header_with_a_wrong_instrument_says_so(tmp_path: Path) -> None:
    path = tmp_path / "wrong.gz"
    path.write_bytes(gzip.compress(b'# {"format":2,"exchange":"binance","instruments":["x"]}\n'))
    with pytest.raises(RecordingError, match=r"wrong\.gz: its first line is wrong: instrument 'x'"):
        inspect_recordings([path])
