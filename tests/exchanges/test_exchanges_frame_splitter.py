"""Frames cut out of bytes: as the library's own parser would, however the bytes are split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from engine.exchanges.frame_splitter import FrameSplitter

LIMIT = 70_000
CONTROL = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536])
MESSAGE = st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), SIZES.map(lambda n: b"x" * n))


def serialized(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, bytes]] = []
        self.cuts = True
        self.splitter = FrameSplitter(self.messages, self.other, LIMIT)

    def messages(self, payloads: list[bytes]) -> None:
        self.all += [("message", payload) for payload in payloads]

    def other(self, frame: bytes) -> bool:
        self.all.append(("other", frame))
        return self.cuts


@given(st.lists(CONTROL | MESSAGE, max_size=12), st.data())
def test_frames_come_out_whole_and_in_order_however_the_bytes_are_split(
    frames: list[tuple[Opcode, bytes]], data: st.DataObject
) -> None:
    heard = Heard()
    stream = b"".join(serialized(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard.splitter.feed(stream[start:end])
    assert heard.all == [
        ("message", payload)
        if opcode in {Opcode.TEXT, Opcode.BINARY}
        else ("other", serialized(opcode, payload))
        for opcode, payload in frames
    ]


def test_fragmented_message_goes_to_the_library_until_that_says_otherwise() -> None:
    heard = Heard()
    first = serialized(Opcode.TEXT, b"one", fin=False)
    last = serialized(Opcode.CONT, b"two")
    heard.cuts = False
    heard.splitter.feed(first + serialized(Opcode.TEXT, b"a breach"))
    heard.cuts = True
    heard.splitter.feed(last + serialized(Opcode.TEXT, b"three"))
    assert heard.all == [
        ("other", first),
        ("other", serialized(Opcode.TEXT, b"a breach")),
        ("other", last),
        ("message", b"three"),
    ]


def test_frame_with_an_extension_bit_goes_to_the_library() -> None:
    heard = Heard()
    frame = bytes([0x80 | 0x40 | Opcode.TEXT, 1]) + b"z"
    heard.splitter.feed(frame)
    assert heard.all == [("other", frame)]


def test_oversized_frame_goes_to_the_library_with_all_that_follows() -> None:
    heard = Heard()
    large = serialized(Opcode.TEXT, b"x" * (LIMIT + 1))
    heard.splitter.feed(serialized(Opcode.TEXT, b"a") + large[:20])
    heard.splitter.feed(large[20:])
    assert heard.all == [("message", b"a"), ("other", large[:20]), ("other", large[20:])]


def test_masked_frame_goes_to_the_library_with_all_that_follows() -> None:
    heard = Heard()
    masked = Frame(Opcode.TEXT, b"hello").serialize(mask=True)
    heard.splitter.feed(masked + serialized(Opcode.TEXT, b"a"))
    assert heard.all == [("other", masked + serialized(Opcode.TEXT, b"a"))]


def test_end_gives_half_a_frame_to_the_library() -> None:
    heard = Heard()
    frame = serialized(Opcode.TEXT, b"half")
    heard.splitter.feed(frame[:4])
    assert heard.all == []
    heard.splitter.end()
    heard.splitter.end()
    assert heard.all == [("other", frame[:4])]


def test_messages_of_one_read_come_together_ahead_of_the_frame_behind_them() -> None:
    heard: list[object] = []
    splitter = FrameSplitter(heard.append, lambda frame: heard.append(frame) is None, LIMIT)
    ping = serialized(Opcode.PING, b"")
    a, b, c = (serialized(Opcode.TEXT, letter) for letter in (b"a", b"b", b"c"))
    splitter.feed(a + b + ping + c)
    assert heard == [[b"a", b"b"], ping, [b"c"]]
