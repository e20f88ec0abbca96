"""What a stream knows of its venue's list: looked at, written down once, and acted upon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest

from engine.actors import connections
from engine.actors.connections import Connections
from engine.actors.listing_watch import ListingWatch, named_now
from engine.clock import NS_PER_S, SKEW_NS, DataClock
from engine.domain.market import Listing, SymbolMetadata
from engine.errors import StoreUnavailable, VenueError
from engine.exchanges.listings import ABSENT_NS
from engine.exchanges.registry import exchange

NOW = 1_700_000_000 * NS_PER_S


def listed(instrument: str, status: str = "trading") -> Listing:
    return Listing("binance", instrument, "X", status, None, None, 1.0, None, None, NOW)  # type: ignore[arg-type]


def symbol(instrument: str, size: float = 1.0) -> SymbolMetadata:
    name = instrument.replace("-", "")
    return SymbolMetadata("binance", instrument, name, "trading", 0.01, 0.01, contract_size=size)


class Rest:
    def __init__(self, *seen: SymbolMetadata) -> None:
        self.seen = list(seen)

    async def metadata(self) -> list[SymbolMetadata]:
        return self.seen


class Reader:
    def __init__(self, *known: Listing) -> None:
        self.known = list(known)
        self.is_down = False
        self.asked = 0

    def listings(self, venue: str) -> list[Listing]:
        assert venue == "binance"
        self.asked += 1
        if self.is_down:
            raise StoreUnavailable("the store does not answer")
        return list(self.known)


class Writer:
    def __init__(self) -> None:
        self.rows: list[Listing] = []

    async def put(self, table: str, rows: Sequence[Listing]) -> None:
        assert table == "instruments"
        self.rows += rows


def watch(
    rest: Rest, reader: Reader, writer: Writer, clock: DataClock, *, writes: bool = True
) -> ListingWatch:
    adapter = exchange("binance")
    return ListingWatch(adapter, rest, reader, writer, clock, writes=writes)  # type: ignore[arg-type]


# -- names ---------------------------------------------------------------------------------


def test_named_now_takes_the_present_generation_and_leaves_out_what_is_not_listed() -> None:
    told: list[str] = []
    by_name = {
        "BTC-USDT": listed("BTC-USDT"),
        "LUNA-USDT": listed("LUNA~2-USDT"),
        "FTT-USDT": listed("FTT-USDT", "delisted"),
        "OM-USDT": listed("OM-USDT", "halted"),
    }
    wanted = ["BTC-USDT", "LUNA-USDT", "FTT-USDT", "NO-USDT", "OM-USDT"]
    assert named_now(wanted, by_name, told.append) == ("BTC-USDT", "LUNA~2-USDT", "OM-USDT")
    assert told == [
        "binance delisted the LUNA-USDT of old and uses its symbol again: "
        "what comes now is stored as LUNA~2-USDT",
        "binance does not list FTT-USDT, NO-USDT",
    ]


def test_named_now_configured_by_its_generation_is_not_worth_a_word() -> None:
    told: list[str] = []
    by_name = {"LUNA-USDT": listed("LUNA~2-USDT")}
    assert named_now(["LUNA~2-USDT"], by_name, told.append) == ("LUNA~2-USDT",)
    assert told == []


def test_named_now_of_an_empty_list_says_what_is_missing() -> None:
    told: list[str] = []
    assert named_now(["BTC-USDT"], {}, told.append) == ()
    assert told == ["the venue does not list BTC-USDT"]


# -- looks ---------------------------------------------------------------------------------


async def test_watch_writes_only_what_changed_and_reads_the_registry_once() -> None:
    rest, reader, writer = Rest(symbol("BTC-USDT")), Reader(), Writer()
    watching = watch(rest, reader, writer, DataClock(NOW))
    assert {n: row.instrument for n, row in (await watching.look()).items()} == {
        "BTC-USDT": "BTC-USDT"
    }
    await watching.look()
    assert [(row.instrument, row.valid_from) for row in writer.rows] == [("BTC-USDT", NOW)]
    rest.seen.append(symbol("ETH-USDT"))
    await watching.look()
    assert [row.instrument for row in writer.rows] == ["BTC-USDT", "ETH-USDT"]
    assert reader.asked == 1


async def test_watch_symbol_that_is_gone_and_back_is_the_next_generation() -> None:
    rest = Rest(symbol("BTC-USDT"), symbol("ETH-USDT"), symbol("LUNA-USDT"))
    clock, writer = DataClock(NOW), Writer()
    watching = watch(rest, Reader(), writer, clock)
    await watching.look()
    luna = rest.seen.pop()
    for _ in range(2):
        clock.advance(clock.now_ns() + ABSENT_NS)
        found = await watching.look()
    assert found["LUNA-USDT"].status == "delisted"
    known_at = clock.now_ns()
    assert watching.delisted == {"LUNA-USDT": (known_at - ABSENT_NS, known_at)}
    rest.seen.append(luna)
    clock.advance(clock.now_ns() + NS_PER_S)
    assert (await watching.look())["LUNA-USDT"].instrument == "LUNA~2-USDT"


async def test_watch_knows_from_the_registry_who_is_delisted_while_the_venue_does_not_answer() -> (
    None
):
    row = msgspec.structs.replace(listed("LUNA-USDT", "delisted"), delisted_at=NOW - 5)
    rest = Mock(metadata=AsyncMock(side_effect=VenueError("busy")))
    watching = watch(rest, Reader(row), Writer(), DataClock(NOW))
    with pytest.raises(VenueError):
        await watching.look()
    assert watching.delisted == {"LUNA-USDT": (NOW - 5, NOW)}


async def test_watch_of_another_stream_learns_the_same_and_writes_nothing() -> None:
    writer = Writer()
    rest = Rest(symbol("BTC-USDT", size=0.01))
    watching = watch(rest, Reader(), writer, DataClock(NOW), writes=False)
    assert set(await watching.look()) == {"BTC-USDT"}
    assert writer.rows == []
    assert watching._exchange.contract_sizes == {"BTC-USDT": 0.01}


async def test_watch_without_a_store_says_so_and_looks_again_later() -> None:
    reader = Reader(listed("BTC-USDT"))
    watching = watch(Rest(symbol("BTC-USDT")), reader, Writer(), DataClock(NOW))
    reader.is_down = True
    with pytest.raises(StoreUnavailable):
        await watching.look()
    reader.is_down = False
    assert set(await watching.look()) == {"BTC-USDT"}


# -- in the stream -------------------------------------------------------------------------


class Looks:
    """Answers to one look after the other; an error is raised, the last answer stays."""

    def __init__(self, *answers: dict[str, Listing] | Exception) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    def ended_at(self, instrument: str) -> int | None:
        return NOW

    async def look(self) -> dict[str, Listing]:
        self.times.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Loop:
    """A stream loop whose delisted instrument trades on."""

    def __init__(self) -> None:
        self.unlisted = asyncio.Event()
        self.unlisted.set()
        self.calls: list[tuple[str, ...]] = []
        self.left: list[tuple[str, int | None, bool]] = []
        self.channels = ("trades",)

    def leaves(self, instrument: str, ended_at: int | None, *, is_final: bool) -> None:
        self.left.append((instrument, ended_at, is_final))

    def delist(self, instrument: str) -> None:
        self.calls.append(("delist", instrument))
        self.unlisted.set()

    def relist(self, instrument: str, successor: str, listed_at: int | None) -> None:
        assert listed_at is None or listed_at <= NOW
        self.calls.append(("relist", instrument, successor))
        self.unlisted.set()


async def test_connections_follow_the_list_and_look_no_more_often_than_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "LISTINGS_RETRY_S", 0.02)
    loop = Loop()
    both = Connections("binance", [loop])  # type: ignore[list-item]
    gone = msgspec.structs.replace(listed("LUNA-USDT"), status="delisted")
    looks = Looks(
        VenueError("busy"),
        {"LUNA-USDT": gone},
        {"LUNA-USDT": msgspec.structs.replace(gone, status="halted")},
        {"LUNA-USDT": listed("LUNA~2-USDT")},
    )
    work = both.follow(looks, ["LUNA-USDT"], 900.0)  # type: ignore[arg-type]
    following = asyncio.create_task(work)
    async with asyncio.timeout(5):
        while len(loop.calls) < 3:
            loop.unlisted.set()
            await asyncio.sleep(0.001)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert loop.calls[:3] == [
        ("delist", "LUNA-USDT"),
        ("relist", "LUNA-USDT", "LUNA~2-USDT"),
        ("relist", "LUNA~2-USDT", "LUNA~2-USDT"),
    ]
    # Delisted; listed, but not trading; its symbol names another one.
    assert loop.left == [("LUNA-USDT", NOW, is_final) for is_final in (True, False, False)]
    pauses = [after - before for before, after in zip(looks.times, looks.times[1:], strict=False)]
    assert min(pauses) >= 0.02


async def test_watch_names_what_configured_instruments_were_called_and_are_no_more() -> None:
    def ended(instrument: str, at: int) -> Listing:
        row = listed(instrument, "delisted")
        return msgspec.structs.replace(row, delisted_at=at, valid_from=NOW + 1)

    luna = [listed("LUNA-USDT"), ended("LUNA-USDT", NOW - 90 * NS_PER_S)]
    again = msgspec.structs.replace(listed("LUNA~2-USDT"), listed_at=NOW - 85 * NS_PER_S)
    ftt = [listed("FTT-USDT"), ended("FTT-USDT", NOW)]
    known = [*luna, again, *ftt, listed("BTC-USDT")]
    rest = Rest(symbol("BTC-USDT"), symbol("LUNA-USDT"))
    watching = watch(rest, Reader(*known), Writer(), DataClock(NOW + 2))
    configured = ["BTC-USDT", "LUNA-USDT", "FTT-USDT"]
    assert watching.left(configured) == ()
    await watching.look()
    assert watching.left(configured) == ("FTT-USDT", "LUNA-USDT")
    assert watching.left(["BTC-USDT"]) == ()
    reused = watching.reused(["LUNA-USDT", "LUNA~2-USDT", "FTT-USDT", "NO-USDT"])
    assert reused == {"LUNA-USDT": "LUNA~2-USDT"}
    assert watching.ended_at("FTT-USDT") == NOW + SKEW_NS
    assert watching.ended_at("LUNA-USDT") == NOW - 85 * NS_PER_S, "its symbol was used again"
    assert watching.ended_at("LUNA~2-USDT") is None
    assert watching.ended_at("BTC-USDT") is None


async def test_watch_symbol_that_was_missing_had_ended_when_that_was_certain() -> None:
    rest = Rest(symbol("BTC-USDT"), symbol("ETH-USDT"), symbol("FTT-USDT"))
    clock = DataClock(NOW)
    watching = watch(rest, Reader(), Writer(), clock)
    await watching.look()
    rest.seen.pop()
    clock.advance(NOW + NS_PER_S)
    await watching.look()
    assert watching.ended_at("FTT-USDT") is None, "it may be back"
    clock.advance(NOW + NS_PER_S + ABSENT_NS)
    await watching.look()
    assert watching.ended_at("FTT-USDT") == clock.now_ns() + SKEW_NS
