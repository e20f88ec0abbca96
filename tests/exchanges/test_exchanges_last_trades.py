"""The last trades before a delisting: no trade follows to show that they are missing."""

from __future__ import annotations

import asyncio

import pytest
from exchanges_fakes import MARKETS, QUICK, RememberingSink

from engine.clock import SystemClock
from engine.config import ExchangeConfig, SimulatorConfig
from engine.domain.market import Trade
from engine.exchanges import repair
from engine.exchanges.registry import exchange
from engine.exchanges.rest import RestClient
from engine.exchanges.stream import StreamLoop
from engine.simulator.server import SimulatedVenues


@pytest.mark.parametrize("name", MARKETS)
async def test_stream_last_trades_that_a_stall_swallowed_are_fetched(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "ROUND_PAUSES_S", (0.1,) * 20)
    instrument, clock = MARKETS[name], SystemClock()
    # A busy minute of more may hold more trades than Bybit keeps: the start's gap stays open.
    config = SimulatorConfig(trades_per_second=200.0)
    venues = SimulatedVenues(config, clock, {name: [instrument]})
    ws_url, rest_url = (await venues.start()).exchanges[name]
    adapter, sink = exchange(name), RememberingSink()
    adapter.track([instrument])
    rest = RestClient(adapter, rest_url, requests_per_second=1000, clock=clock)
    venue = ExchangeConfig.model_validate(
        {"channels": ["trades"], "silence_ms": 60_000, "stale_after_ms": 600_000}
    )
    stream = StreamLoop(adapter, ws_url, [instrument], venue, QUICK, clock, sink, get=rest.get)
    task = asyncio.create_task(stream.run())

    def happened() -> list[Trade]:
        received = [each for each in sink.received if isinstance(each, Trade)]
        first = min(each.exchange_time for each in received)
        return venues.ledger(name, instrument, first, clock.now_ns())

    try:
        await sink.until(lambda: len(sink.ids) >= 5 and not sink.open_gaps)
        venues.stall(name, 60.0)
        before = len(happened())
        async with asyncio.timeout(40):
            while len(happened()) < before + 4:  # noqa: ASYNC110 - a market sets no event
                await asyncio.sleep(0.05)
        venues.delist(name, instrument)
        stream.leaves(instrument, None, is_final=True)
        stream.delist(instrument)
        await sink.until(lambda: any(gap.cause == "delisting" for gap in sink.gaps))
        await sink.until(lambda: not sink.open_gaps)
        truth = happened()
    finally:
        await stream.stop()
        await task
        await rest.close()
        await venues.stop()
    received = {each.trade_id for each in sink.received if isinstance(each, Trade)}
    assert received == {each.trade_id for each in truth}
    (closed,) = [gap for gap in sink.gaps if gap.cause == "delisting" and gap.repaired_at]
    assert closed.how.startswith("fetched ")
