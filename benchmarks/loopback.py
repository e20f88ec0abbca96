"""A venue that costs next to nothing: ready-made WebSocket frames, written to a socket in bulk."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import struct
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from websockets.frames import Opcode
from websockets.server import ServerProtocol

from benchmarks.frames import binance_trades

_CHUNK_BYTES = 256 * 1024
_LONG = 126


def framed(payload: bytes) -> bytes:
    """Return a text message as a server's WebSocket frame (RFC 6455, not masked)."""
    head = 0x80 | Opcode.TEXT
    if len(payload) < _LONG:
        return struct.pack("!BB", head, len(payload)) + payload
    return struct.pack("!BBH", head, _LONG, len(payload)) + payload


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int, first: int
) -> None:
    """Answer the handshake, and send trades of now as fast as they are taken."""
    protocol = ServerProtocol()
    while not (requests := protocol.events_received()):
        protocol.receive_data(await reader.read(4096))
    start_ms = time.time_ns() // 1_000_000
    stream = b"".join(map(framed, binance_trades(count, first, start_ms)))
    protocol.send_response(protocol.accept(requests[0]))  # type: ignore[arg-type]
    for data in protocol.data_to_send():
        writer.write(data)
    for start in range(0, len(stream), _CHUNK_BYTES):
        writer.write(stream[start : start + _CHUNK_BYTES])
        await writer.drain()
    await reader.read(4096)  # the client closes when it has seen enough, and says nothing else
    writer.close()


def _serve(pipe: Connection, count: int) -> None:
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(ConnectionError):
            await _send(reader, writer, count, 1 + connections * count)

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with server:
            pipe.send(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await asyncio.to_thread(pipe.recv)

    with contextlib.suppress(EOFError):
        asyncio.run(serve())


@contextlib.contextmanager
def sender(count: int) -> Iterator[str]:
    """Run the venue in a process of its own; every connection gets `count` trades of its own.

    Yields
    ------
    str
        Its address.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, count), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)
        process.kill()
