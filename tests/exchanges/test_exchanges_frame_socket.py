"""The connection cuts messages out itself: whatever the split of the bytes, nothing is lost."""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from engine.exchanges.connection import Connection
from engine.exchanges.registry import exchange


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


STREAM = (
    frame(Opcode.TEXT, b"first")
    + frame(Opcode.PING, b"alive?")
    + frame(Opcode.TEXT, b"in ", fin=False)
    + frame(Opcode.PING, b"still?")
    + frame(Opcode.CONT, b"parts")
    + frame(Opcode.TEXT, b"x" * 70_000)
    + frame(Opcode.TEXT, b"last")
)
MESSAGES = [b"first", b"in parts", b"x" * 70_000, b"last"]


async def serve(
    piece: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray
) -> None:
    protocol = ServerProtocol()
    while not (requests := protocol.events_received()):
        protocol.receive_data(await reader.read(4096))
    protocol.send_response(protocol.accept(requests[0]))
    out = b"".join(protocol.data_to_send()) + STREAM + frame(Opcode.CLOSE, b"\x03\xe8over")
    head = len(out) - len(STREAM) + 40
    for start in range(0, head, piece):
        writer.write(out[start : min(start + piece, head)])
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(out[head:])
    heard += await reader.readexactly(3 * 12)  # two pongs and the close frame, masked
    writer.close()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100_000])
async def test_messages_come_whole_and_pings_are_answered_however_bytes_come(piece: int) -> None:
    heard, taken = bytearray(), list[bytes]()
    server = await asyncio.start_server(
        lambda reader, writer: serve(piece, reader, writer, heard), "127.0.0.1", 0
    )
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connection = Connection(exchange("kraken"), url, [], [], taken.extend, silence_s=30)
        steps = list[str]()
        why = await connection.run(lambda: steps.append("up"), lambda: steps.append("subscribed"))
    assert steps == ["up", "subscribed"]
    assert taken == MESSAGES
    assert "1000 (OK) over" in why
    answer = bytes(heard)
    assert answer.count(bytes([0x80 | Opcode.PONG, 0x80 | 6])) == 2
