"""What Binance's spot and futures venues share on their sockets: streams by name.

A frame of a stream is ``{"stream":"btcusdt@trade","data":{...}}``. The name among its first bytes
says which instrument and which kind of message it is, so that one look into a dictionary finds the
one decoder that reads the whole frame, once. What is impossible (a price of zero, a time after
2100) is part of the types, and so found in the same pass.

After https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams as
known on 2026-11-21.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec

from engine.domain.market import Channel, Heartbeat, MarketEvent
from engine.errors import FrameError, VenueError
from engine.exchanges.binance_rest import BOOK, BinanceRest
from engine.exchanges.layouts import Reader
from engine.exchanges.wire import shorten

STREAMS_IN_URL = 100
"""Streams asked for in the address, so that it stays short; further ones by message."""
STREAMS_PER_MESSAGE = 200

_SHUTDOWN = "serverShutdown"
_IMPOSSIBLE = re.compile(
    r"Expected `float` [<>].* at `\$\.data\.(?P<field>\w)(?:\[.*\[(?P<at>\d)\])?`"
)


class _Stream(msgspec.Struct):
    stream: str = ""


class _Refusal(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _Notice(msgspec.Struct, frozen=True):
    e: str = ""


class _Answer(msgspec.Struct, rename={"last_update_id": "lastUpdateId"}):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Refusal | None = None
    code: int | None = None
    msg: str = ""
    last_update_id: int = 0
    e: str = ""
    event: _Notice = _Notice()
    data: _Notice = _Notice()


_STREAM = msgspec.json.Decoder(_Stream)
_ANSWER = msgspec.json.Decoder(_Answer)


def refusal(error: Exception, frame: bytes) -> FrameError:
    """Return what is wrong with a frame that its decoder refused.

    The kind is ``bad_price`` or ``bad_amount`` where one is NaN, infinite, not above zero or
    beyond `LARGEST`; ``bad_field`` where the JSON is of another shape; else ``not_json``.
    """
    if not isinstance(error, msgspec.ValidationError):
        return FrameError("not_json", f"{error}: {shorten(frame)}")
    impossible = _IMPOSSIBLE.match(str(error))
    kind = "bad_field"
    if impossible is not None:
        is_amount = impossible["at"] == "1" or impossible["field"] in "qBA"
        kind = "bad_amount" if is_amount else "bad_price"
    return FrameError(kind, f"{error}: {shorten(frame)}")


def _read_nothing(frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
    del frame, instrument, receive_time
    return ()


class BinanceVenue(BinanceRest):
    """A venue that speaks Binance's protocol; subclasses say what differs."""

    stream_suffixes: ClassVar[Mapping[Channel, str]]
    """Channel -> what follows the symbol in its stream's name."""
    unused_kinds: ClassVar[tuple[str, ...]]
    """Beginnings of the kinds of streams that we know and have no use for."""
    rotate_after_s = 23 * 3600.0

    @abstractmethod
    def reader(self, kind: str) -> Reader | None:
        """Return what reads frames of a kind of stream (``trade``, ``depth@100ms``).

        None where we have no use for that kind.
        """

    def track(self, instruments: Iterable[str]) -> None:
        """Remember instruments; a symbol may have passed on to another generation."""
        before = dict(self._instruments)
        super().track(instruments)
        if self._instruments != before:
            self._routes.clear()

    # -- streaming -----------------------------------------------------------------------

    def streams(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return the names of streams, for example ``btcusdt@trade``."""
        return [
            self.symbol(instrument).lower() + self.stream_suffixes[channel]
            for instrument in instruments
            for channel in channels
        ]

    def url(self, base: str, instruments: Sequence[str], channels: Sequence[Channel]) -> str:
        """Return ``BASE/stream?streams=…`` with the first hundred streams."""
        streams = self.streams(instruments, channels)[:STREAMS_IN_URL]
        return f"{base.rstrip('/')}/stream?streams={'/'.join(streams)}"

    def subscribe(self, instruments: Sequence[str], channels: Sequence[Channel]) -> list[str]:
        """Return ``SUBSCRIBE`` messages for the streams beyond those in the address."""
        self.track(instruments)
        streams = self.streams(instruments, channels)[STREAMS_IN_URL:]
        return [
            json.dumps(
                {
                    "method": "SUBSCRIBE",
                    "params": streams[start : start + STREAMS_PER_MESSAGE],
                    "id": number,
                }
            )
            for number, start in enumerate(range(0, len(streams), STREAMS_PER_MESSAGE), 1)
        ]

    def parse(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        """Decode one frame: a stream's by its `reader`, or an answer to a message of ours.

        Answers, the second form being that of the futures venue::

            {"result":null,"id":1}
            {"error":{"code":2,"msg":"Invalid request"},"id":1}
            {"code":2,"msg":"Invalid request","id":1}

        A server that is about to shut down says so; the connection is replaced when it ends::

            {"event":{"e":"serverShutdown","E":1770123456789}}

        A book's snapshot without a symbol, which recordings hold between their frames, is
        taken for that of the only tracked instrument.
        """
        route = self._routes.get(frame.partition(b",")[0])
        try:
            read, instrument = route or self._route(frame)
            return read(frame, instrument, receive_time)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise refusal(error, frame) from None

    def _route(self, frame: bytes) -> tuple[Reader, str]:
        """Find out what a frame is, and remember it of streams that we read."""
        name = _STREAM.decode(frame).stream
        if not name:
            return self._read_answer, ""
        symbol, _, kind = name.partition("@")
        reader = self.reader(kind)
        if reader is None:
            if kind.startswith(self.unused_kinds):
                return _read_nothing, ""
            raise self._unknown(frame)
        route = (reader, self.instrument_of(symbol.upper()))
        self._routes[b'{"stream":"%b"' % name.encode()] = route
        return route

    def _read_answer(
        self, frame: bytes, instrument: str, receive_time: int
    ) -> Sequence[MarketEvent]:
        del instrument
        answer = _ANSWER.decode(frame)
        if answer.last_update_id:
            return self._read_lone_book(frame, receive_time)
        refused = answer.error
        if refused is None and answer.code is not None:
            refused = _Refusal(answer.code, answer.msg)
        if refused is not None:
            raise VenueError(
                f"{self.name} refused message {answer.id}: {refused.msg} (code {refused.code})"
            )
        is_notice = _SHUTDOWN in (answer.e, answer.event.e, answer.data.e)
        if is_notice or bytes(answer.result):
            return (Heartbeat(self.name, None, receive_time),)
        raise self._unknown(frame)

    def _unknown(self, frame: bytes) -> FrameError:
        return FrameError(
            "unknown_message", f"{self.name} sent an unknown message: {shorten(frame)}"
        )

    def _read_lone_book(self, frame: bytes, receive_time: int) -> Sequence[MarketEvent]:
        raw = BOOK.decode(frame)
        if len(self._instruments) != 1:
            return ()
        (instrument,) = self._instruments.values()
        return (self.snapshot(raw, instrument, receive_time),)
