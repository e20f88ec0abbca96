"""A loopback port from which tests and people steer a running simulator, and read the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import get_args

import msgspec
from aiohttp import web

from engine.clock import parse_iso_utc
from engine.errors import InstrumentError
from engine.simulator.market import MINUTE_NS
from engine.simulator.server import HOST, SimulatedVenues
from engine.simulator.venues.base import Feed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LINES = "application/x-ndjson"


class Control:
    """Routes below ``/control``.

    | route | what it does |
    |---|---|
    | ``POST disconnect?exchange=`` | breaks connections as a failing network does |
    | ``POST cut?exchange=`` | closes them properly |
    | ``POST stall?exchange=&seconds=`` | lets them fall silent |
    | ``POST deafen?exchange=&instrument=&feed=`` | lets connections forget a subscription |
    | ``POST delist?exchange=&instrument=`` | ends a listing |
    | ``POST relist?exchange=&instrument=`` | uses its ticker for another instrument |
    | ``POST calm`` | commits no more faults |
    | ``GET ledger?exchange=&instrument=&start=&end=`` | every trade, a JSON object a line |
    | ``GET instruments`` | by venue what was listed until now, every generation |
    | ``GET injected`` | by venue and kind, how often each fault happened |
    | ``GET looks?exchange=`` | when it sent what had happened, the last eight hours |

    `exchange` may be left out of the first three: all venues; and `feed`: trades. Times are UTC
    nanoseconds or ISO-8601 with a zone, by the venue's clock. What is wrong is answered with status
    400 and ``error``.

    Parameters
    ----------
    venues
        The simulator.
    """

    def __init__(self, venues: SimulatedVenues) -> None:
        self._venues = venues

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/control/disconnect", _explained(self._disconnect)),
            web.post("/control/cut", _explained(self._cut)),
            web.post("/control/stall", _explained(self._stall)),
            web.post("/control/deafen", _explained(self._deafen)),
            web.post("/control/delist", _explained(self._delist)),
            web.post("/control/relist", _explained(self._relist)),
            web.post("/control/calm", _explained(self._calm)),
            web.get("/control/ledger", _explained(self._ledger)),
            web.get("/control/instruments", _explained(self._instruments)),
            web.get("/control/injected", _explained(self._injected)),
            web.get("/control/looks", _explained(self._looks)),
        ]

    async def _disconnect(self, request: web.Request) -> web.Response:
        return _connections(self._venues.disconnect(request.query.get("exchange")))

    async def _cut(self, request: web.Request) -> web.Response:
        return _connections(self._venues.cut(request.query.get("exchange")))

    async def _stall(self, request: web.Request) -> web.Response:
        seconds = float(_asked(request, "seconds"))
        if not 0 < seconds < float("inf"):
            raise ValueError(f"seconds must be above 0, not {seconds:g}")
        return _connections(self._venues.stall(request.query.get("exchange"), seconds))

    async def _deafen(self, request: web.Request) -> web.Response:
        feed = request.query.get("feed", "trades")
        known = next((name for name in get_args(Feed) if name == feed), None)
        if known is None:
            raise ValueError(f"feed must be one of {', '.join(get_args(Feed))}, not {feed!r}")
        market = (_asked(request, "exchange"), _asked(request, "instrument"))
        return _connections(self._venues.deafen(*market, known))

    async def _delist(self, request: web.Request) -> web.Response:
        self._venues.delist(_asked(request, "exchange"), _asked(request, "instrument"))
        return web.json_response({})

    async def _relist(self, request: web.Request) -> web.Response:
        self._venues.relist(_asked(request, "exchange"), _asked(request, "instrument"))
        return web.json_response({})

    async def _calm(self, request: web.Request) -> web.Response:
        del request
        self._venues.calm()
        return web.json_response({})

    async def _ledger(self, request: web.Request) -> web.StreamResponse:
        market = (_asked(request, "exchange"), _asked(request, "instrument"))
        start, end = _time(_asked(request, "start")), _time(_asked(request, "end"))
        self._venues.ledger(*market, start, start)  # says what is wrong before the first line
        response = web.StreamResponse(headers={"Content-Type": _LINES})
        await response.prepare(request)
        encoder = msgspec.json.Encoder()
        while start < end:
            # A minute at a time: the market goes on between them, and memory stays small.
            stop = min(end, start - start % MINUTE_NS + MINUTE_NS)
            await response.write(encoder.encode_lines(self._venues.ledger(*market, start, stop)))
            start = stop
        return response

    async def _instruments(self, request: web.Request) -> web.Response:
        del request
        venues = self._venues
        return web.json_response({name: venues.instruments(name) for name in venues.exchanges})

    async def _injected(self, request: web.Request) -> web.Response:
        del request
        counts: dict[str, dict[str, int]] = {name: {} for name in self._venues.exchanges}
        for (venue, kind), times in sorted(self._venues.injected().items()):
            counts[venue][kind] = times
        return web.json_response(counts)

    async def _looks(self, request: web.Request) -> web.Response:
        return web.json_response(self._venues.looks(_asked(request, "exchange")))


async def serve_control(venues: SimulatedVenues, port: int = 0) -> tuple[web.AppRunner, str]:
    """Listen on a loopback port (0 a free one).

    Returns
    -------
    tuple
        What to ``cleanup()``, and the base address of ``/control``.
    """
    application = web.Application()
    application.add_routes(Control(venues).routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    host, bound = runner.addresses[0][:2]
    return runner, f"http://{host}:{bound}"


def _explained(handler: Handler) -> Handler:
    """Answer what the asker got wrong in a sentence."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (InstrumentError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return answered


def _asked(request: web.Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise ValueError(f"{request.path} needs the parameter {name!r}")
    return value


def _time(text: str) -> int:
    return int(text) if text.isdigit() else parse_iso_utc(text.replace(" ", "+"))


def _connections(number: int) -> web.Response:
    return web.json_response({"connections": number})
