"""What Binance spot and Binance USD-M futures have in common as servers."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

from aiohttp import web

from engine.simulator.live_book import BookChange, LiveBook
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.binance_rest import BinanceRest
from engine.simulator.venues.digits import LevelTexts

_WORDS = {True: "true", False: "false"}


class BinanceLike(BinanceRest):
    """A simulated venue that speaks Binance's protocol."""

    kinds: ClassVar[Mapping[str, Feed]]
    """Kind of stream -> our name for it."""
    max_streams: ClassVar[int]
    """Streams on one connection."""

    # -- subscriptions -------------------------------------------------------------------

    def client(self, request: web.Request) -> Client:
        """Subscribe to the streams in the address."""
        path = request.path
        combined = path.endswith("/stream")
        client = Client(combined=combined)
        client.section = path.split("/")[1]
        asked = (
            request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        )
        for stream in filter(None, asked.split("/")):
            self.switch(client, stream, on=True)
        return client

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``SUBSCRIBE``, ``UNSUBSCRIBE`` and ``LIST_SUBSCRIPTIONS``."""
        try:
            message = json.loads(text)
        except ValueError as error:
            return [self.refusal(3, f"Invalid JSON: {error}", None)]
        number = message.get("id") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return [self.refusal(2, "Invalid request: missing field `method`", number)]
        method = message["method"]
        if method == "LIST_SUBSCRIPTIONS":
            return [json.dumps({"result": self._streams(client), "id": number})]
        wrong = self._wrong(method, message.get("params"), len(client.wanted))
        if wrong:
            return [self.refusal(2, f"Invalid request: {wrong}", number)]
        for stream in message["params"]:
            self.switch(client, stream, on=method == "SUBSCRIBE")
        return [json.dumps({"result": None, "id": number}, separators=(",", ":"))]

    def refusal(self, code: int, message: str, number: object) -> str:
        """Write an error on the socket."""
        return json.dumps({"error": {"code": code, "msg": message}, "id": number})

    def offers(self, client: Client, kind: str) -> bool:
        """Whether a kind of stream can be had on a connection."""
        del client
        return kind in self.kinds

    def switch(self, client: Client, stream: str, *, on: bool) -> None:
        """Take a subscription, or give it up.

        Like the real one, an unknown stream is accepted and stays silent.
        """
        symbol, _, kind = stream.partition("@")
        instrument = self.by_symbol.get(symbol.upper())
        if instrument is None or not self.offers(client, kind):
            return
        feed = self.kinds[kind]
        (client.wanted.add if on else client.wanted.discard)((feed, instrument))
        if on and feed == "book":
            self.live_book(instrument)

    def _streams(self, client: Client) -> list[str]:
        names: dict[Feed, str] = {}
        for kind, feed in self.kinds.items():
            names.setdefault(feed, kind)
        return sorted(f"{self.symbol(i).lower()}@{names[feed]}" for feed, i in client.wanted)

    def _wrong(self, method: str, streams: object, held: int) -> str:
        """Return what is wrong with a (un)subscription; empty where nothing is."""
        if method not in {"SUBSCRIBE", "UNSUBSCRIBE"}:
            return f"unknown variant `{method}`"
        if not isinstance(streams, list) or not all(isinstance(name, str) for name in streams):
            return "params must be an array of strings"
        if held + len(streams) > self.max_streams:
            return f"more than {self.max_streams} streams"
        return ""

    # -- frames --------------------------------------------------------------------------

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``depthUpdate`` of all that changed in a step."""
        change = book.change(0)
        if not change.bids and not change.asks:
            return []
        return [self.depth_frame(client, instrument, change)]

    @abstractmethod
    def depth_frame(self, client: Client, instrument: str, change: BookChange) -> str:
        """Encode a change of a book that is not empty."""


def combined_frame(client: Client, stream: str, data: str) -> str:
    """Name a frame's stream where the connection asked for that."""
    return f'{{"stream":"{stream}","data":{data}}}' if client.combined else data


def flag(value: bool) -> str:
    """Write a truth as JSON."""
    return _WORDS[value]


@lru_cache(None)
def level_texts(price_decimals: int, amount_decimals: int, *, eight: bool) -> LevelTexts:
    """Return what writes levels, with eight digits or as many as the market has."""
    padded = (8, 8) if eight else None
    return LevelTexts(price_decimals, amount_decimals, padded)
