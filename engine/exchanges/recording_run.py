"""A recording by itself: a venue's streams into files, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from engine.clock import Clock, SystemClock
from engine.config import ExchangeConfig, ReconnectConfig
from engine.domain.market import Channel, DeadLetter, Gap, Trade
from engine.errors import VenueError
from engine.exchanges.recording import Recorder
from engine.exchanges.registry import exchange as adapter_of
from engine.exchanges.rest import RestClient
from engine.exchanges.sink import FeedEvent
from engine.exchanges.stream import StreamLoop


class NullSink:
    """Takes what a stream produces, counts it, and forgets it."""

    def __init__(self) -> None:
        self.events_seen = 0
        self.gaps_seen = 0
        self.bad_frames = 0

    async def events(self, events: Sequence[FeedEvent]) -> None:
        """Count them."""
        self.events_seen += len(events)

    async def repaired(self, trades: Sequence[Trade]) -> None:
        """Count them."""
        self.events_seen += len(trades)

    async def gap(self, gap: Gap) -> None:
        """Count those that open."""
        self.gaps_seen += gap.repaired_at is None and gap.to_time is None

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Count it; the recording has the frame."""
        del letter
        self.bad_frames += 1

    async def state(self, *, connected: bool, reason: str) -> None:
        """Nothing hangs on it."""
        del connected, reason


class RecordingRun:
    """Records a venue's instruments until it is stopped: a connection and a file for each group.

    Parameters
    ----------
    name
        Our name of the venue.
    venue
        Endpoints, instruments and channels.
    reconnect
        Backoff.
    out
        Folder for the files; made where it is missing.
    clock
        Gives receive times.
    """

    def __init__(
        self,
        name: str,
        venue: ExchangeConfig,
        reconnect: ReconnectConfig,
        out: Path,
        clock: Clock | None = None,
    ) -> None:
        self.sink = NullSink()
        self._name = name
        self._venue = venue
        self._reconnect = reconnect
        self._out = out
        self._clock = clock or SystemClock()
        self._loops: list[StreamLoop] = []
        self._recorders: list[Recorder] = []
        self._stopped = False

    @property
    def paths(self) -> list[Path]:
        """The files begun so far, by name."""
        return sorted(path for recorder in self._recorders for path in recorder.paths)

    @property
    def frames(self) -> int:
        """Frames received so far."""
        return sum(loop.status().frames for loop in self._loops)

    async def run(self) -> None:
        """Look the instruments up, connect, and record until `stop`.

        Raises
        ------
        VenueError
            Where the venue does not list an instrument.
        """
        adapter = adapter_of(self._name)
        pace = self._venue.rest_per_second
        async with RestClient(
            adapter, self._venue.rest_url, self._clock, requests_per_second=pace
        ) as rest:
            sizes = await self._look_up(rest)
            for instruments, channels in self._groups():
                self._add(rest, instruments, channels, sizes)
            async with asyncio.TaskGroup() as tasks:
                for loop in [] if self._stopped else self._loops:
                    tasks.create_task(loop.run())

    async def stop(self) -> None:
        """Close the connections and the files."""
        self._stopped = True
        for loop in self._loops:
            await loop.stop()

    def progress(self, left_s: float | None) -> str:
        """Return a line for people.

        Parameters
        ----------
        left_s
            Seconds left; None where there is no end.
        """
        if not self._loops:
            return f"looking up {self._name}'s instruments"
        states = [loop.status() for loop in self._loops]
        up = sum(state.connected for state in states)
        written = sum(path.stat().st_size for path in self.paths if path.exists())
        dropped = sum(recorder.dropped for recorder in self._recorders)
        ends = "Ctrl-C ends it" if left_s is None else f"{left_s:.0f} s left"
        lost = f", {dropped} frames lost" if dropped else ""
        return (
            f"{self._name}: {up} of {len(states)} connections, {self.frames:,} frames, "
            f"{written / 2**20:.1f} MiB{lost} ({ends})"
        )

    async def _look_up(self, rest: RestClient) -> dict[str, float]:
        """Check that the instruments are listed; return the contracts' sizes."""
        adapter = adapter_of(self._name)
        metadata = {symbol.symbol: symbol for symbol in await rest.metadata()}
        sizes = {}
        for instrument in self._venue.instruments:
            symbol = metadata.get(adapter.symbol(instrument))
            if symbol is None:
                raise VenueError(f"{self._name} does not list {instrument}")
            if symbol.contract_size != 1.0:
                sizes[instrument] = symbol.contract_size
        return sizes

    def _groups(self) -> list[tuple[list[str], list[Channel]]]:
        """Return what can share a connection: instruments of a group, channels of a group."""
        adapter = adapter_of(self._name)
        instruments: dict[str, list[str]] = {}
        for name in self._venue.instruments:
            instruments.setdefault(adapter.group(name), []).append(name)
        channels: dict[str, list[Channel]] = {}
        for channel in self._venue.channels:
            channels.setdefault(adapter.channel_group(channel), []).append(channel)
        return [(names, kinds) for names in instruments.values() for kinds in channels.values()]

    def _add(
        self,
        rest: RestClient,
        instruments: list[str],
        channels: list[Channel],
        sizes: dict[str, float],
    ) -> None:
        adapter = adapter_of(self._name)
        adapter.contract_sizes.update(sizes)
        recorder = Recorder(
            self._out,
            self._name,
            self._clock,
            instruments=instruments,
            contract_sizes=adapter.contract_sizes,
        )
        self._recorders.append(recorder)
        self._loops.append(
            StreamLoop(
                adapter,
                self._venue.ws_url,
                instruments,
                self._venue.model_copy(update={"channels": tuple(channels)}),
                self._reconnect,
                self._clock,
                self.sink,
                recorder=recorder,
                get=rest.get,
            )
        )
