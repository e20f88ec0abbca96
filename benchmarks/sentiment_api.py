"""Latency of `POST /v1/sentiment` on a running engine: cached, uncached, a hundred clients.

What is asked: one text in each request.

- cached: one client repeats a text that the bus keeps;
- uncached: texts that were never seen, at a steady rate, sent when they are due whether or not
  earlier ones are answered, so that a stall shows in every request it delays;
- clients: many at once, each as fast as it is answered, half of their texts seen before.

Run with ``python -m benchmarks.sentiment_api [--model NAME]`` beside ``engine up``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from benchmarks.machine import describe_machine
from engine.cli.runfile import needed_run

SUBJECTS = ("Bitcoin", "Ethereum", "Solana", "$BTC", "ETH", "The market", "An exchange", "Miners")
DEEDS = (
    "rallies after", "slides on", "shrugs off", "could break out on", "is hit hard by",
    "holds support despite", "soars to a new high on", "faces a lawsuit over",
)  # fmt: skip
CAUSES = ("record inflows", "a hack", "new rules", "weak demand", "an upgrade", "profit taking")


@dataclass
class Measured:
    """Latencies of answers, and what else came back."""

    name: str
    latencies_ms: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """Answers other than 200, and failures, by what they were."""

    def line(self) -> str:
        """Say it in a line."""
        if len(self.latencies_ms) < 2:
            return f"{self.name:<34} no answers: {dict(self.others)}"
        parts = statistics.quantiles(self.latencies_ms, n=100, method="inclusive")
        return (
            f"{self.name:<34} {len(self.latencies_ms):6,} answers   "
            f"p50 {parts[49]:7.1f} ms   p99 {parts[98]:7.1f} ms   "
            f"max {max(self.latencies_ms):7.1f} ms   errors {dict(self.others) or 0}"
        )


class Client:
    """Asks one text at a time.

    Parameters
    ----------
    http
        Connected to the engine.
    model
        Which is asked; None for the default.
    """

    def __init__(self, http: httpx.AsyncClient, model: str | None) -> None:
        self._http = http
        self._model = model

    async def ask(self, text: str, measured: Measured, due: float | None = None) -> None:
        """Ask, and note the time from when it was due."""
        began = time.perf_counter() if due is None else due
        try:
            answer = await self._http.post(
                "/v1/sentiment", json={"texts": [text], "model": self._model}
            )
        except httpx.HTTPError as error:
            measured.others[type(error).__name__] += 1
            return
        if answer.status_code == 200:
            measured.latencies_ms.append((time.perf_counter() - began) * 1000)
        else:
            measured.others[str(answer.status_code)] += 1


def texts(count: int, seed: int) -> list[str]:
    """Return headlines that no earlier run had."""
    draw = random.Random(seed)
    return [
        f"{draw.choice(SUBJECTS)} {draw.choice(DEEDS)} {draw.choice(CAUSES)}, "
        f"desk {draw.randrange(10**9)} says"
        for _ in range(count)
    ]


async def cached(client: Client, count: int, seed: int) -> Measured:
    """Ask for one text again and again."""
    measured = Measured("cached, one client")
    (text,) = texts(1, seed)
    await client.ask(text, Measured("warm-up"))
    for _ in range(count):
        await client.ask(text, measured)
    return measured


async def uncached(client: Client, rate: float, seconds: float, seed: int) -> Measured:
    """Ask for new texts, one when each is due."""
    measured = Measured(f"uncached, {rate:g} requests/s")
    fresh = texts(int(rate * seconds), seed + 1)
    begin = time.perf_counter() + 0.1
    asked = []
    for number, text in enumerate(fresh):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(client.ask(text, measured, due)))
    await asyncio.gather(*asked)
    return measured


async def clients(client: Client, number: int, each: int, seed: int) -> Measured:
    """Ask from many clients at once."""
    measured = Measured(f"{number} clients at once")
    known = texts(each, seed + 2)

    async def one(which: int) -> None:
        mine = texts(each, seed + 10 + which)
        for old, new in zip(known[::2], mine[::2], strict=True):
            await client.ask(old, measured)
            await client.ask(new, measured)

    await asyncio.gather(*(one(which) for which in range(number)))
    return measured


async def measure(arguments: argparse.Namespace) -> list[Measured]:
    """Run all three."""
    limits = httpx.Limits(max_connections=arguments.clients)
    seed = time.time_ns()
    url = arguments.url or needed_run().http_url
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        client = Client(http, arguments.model)
        status = (await http.get("/v1/status")).json()["sentiment"]
        print(f"{describe_machine()}\nmodel {arguments.model or status['model']}, {status}")
        # Loaded and compiled what is needed: the first answers are no measure.
        await asyncio.gather(*(client.ask(t, Measured("warm-up")) for t in texts(20, seed + 3)))
        return [
            await cached(client, arguments.cached, seed),
            await uncached(client, arguments.rate, arguments.seconds, seed),
            await clients(client, arguments.clients, arguments.each, seed),
        ]


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="", help="of the engine; the running one by default")
    parser.add_argument("--model", default=None, help="by its name; the default one by default")
    parser.add_argument("--cached", type=int, default=500, help="cached requests")
    parser.add_argument("--rate", type=float, default=20.0, help="uncached requests a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="of uncached requests")
    parser.add_argument("--clients", type=int, default=100, help="at once")
    parser.add_argument("--each", type=int, default=10, help="requests of each of them")
    for measured in asyncio.run(measure(parser.parse_args(words))):
        print(measured.line())


if __name__ == "__main__":
    main()
