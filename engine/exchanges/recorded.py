"""What recordings hold: of which venue, in which of its dialects, which instruments, when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine.domain.market import Channel, Heartbeat
from engine.errors import FrameError, InstrumentError, RecordingError, VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.feeds import channel_of
from engine.exchanges.recording import (
    Header,
    StampedAnswer,
    StampedFrame,
    read_frames,
    read_header,
    read_recording,
)
from engine.exchanges.registry import DIALECTS, EXCHANGES

PROBE_FRAMES = 200
"""Frames by which a recording without a header is recognised."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one file holds."""

    path: Path
    exchange: str
    adapter: type[Exchange]
    """What understands its frames: the venue's adapter, or that of an old dialect."""
    instruments: tuple[str, ...]
    """With at least one event, in order of their names."""
    channels: tuple[Channel, ...]
    """With at least one event, in order of their names."""
    first_ns: int
    """Smallest receive time, UTC nanoseconds."""
    last_ns: int
    """Largest receive time."""
    frames: int
    answers: int
    """Answers to REST requests."""
    contract_sizes: Mapping[str, float]
    """What its header says: instrument -> base currency in one unit of the venue's amounts."""

    @property
    def groups(self) -> frozenset[str]:
        """The groups (`Exchange.group`) of its instruments: one, unless somebody mixed them."""
        adapter = self.adapter()
        return frozenset(adapter.group(instrument) for instrument in self.instruments)

    def reader(self) -> Exchange:
        """Return an adapter that reads it: told of its contract sizes, guessing its symbols."""
        return _reader(self.adapter, self.instruments, self.contract_sizes)


def inspect_recordings(paths: Iterable[Path]) -> list[Recording]:
    """Read recordings through and say what they hold.

    Parameters
    ----------
    paths
        Files, and folders whose ``*.gz`` files are taken.

    Returns
    -------
    list of Recording
        By path. A file without market data (one that a recorder left that was stopped at once) is
        passed over where others hold some.

    Raises
    ------
    RecordingError
        Where a path does not exist, a folder has no recordings, a file is malformed, empty or
        of no known exchange.
    """
    files = _files(paths)
    for path in files:
        _declared(path)  # even one without frames must not be somebody else's
    filled = [path for path in files if next(read_frames(path), None) is not None]
    if not filled:
        raise RecordingError(f"recording {files[0]} is empty: there is no frame to replay")
    found = [_inspect(path) for path in filled]
    useful = [recording for recording in found if recording.instruments]
    if not useful:
        raise RecordingError(f"recording {filled[0]} holds no market data of {found[0].exchange}")
    return useful


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.glob("*.gz"))
            if not inside:
                raise RecordingError(f"folder {path} holds no recordings (*.gz)")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise RecordingError(f"recording {path} does not exist; give a file or a folder")
    return sorted(found)


def _inspect(path: Path) -> Recording:
    header = _declared(path) or Header(0, "")
    kind = _kind_of(path, header)
    adapter = _reader(kind, header.instruments, header.contract_sizes)
    feeds: set[tuple[str, Channel]] = set()
    times: list[int] = []
    answers = 0
    for stamped in read_recording(path):
        times.append(stamped.receive_time)
        if isinstance(stamped, StampedAnswer):
            answers += 1
            continue
        try:
            events = adapter.parse(stamped.frame, stamped.receive_time)
        except (FrameError, VenueError):
            continue  # the stream that replays it keeps it as a dead letter
        for event in events:
            if not isinstance(event, Heartbeat):
                feeds.add((event.instrument, channel_of(event)))
    return Recording(
        path,
        kind.name,
        kind,
        tuple(sorted({instrument for instrument, _ in feeds})),
        tuple(sorted({channel for _, channel in feeds})),
        min(times),
        max(times),
        len(times) - answers,
        answers,
        dict(header.contract_sizes),
    )


def _reader(
    kind: type[Exchange], instruments: Iterable[str], contract_sizes: Mapping[str, float]
) -> Exchange:
    adapter = kind(guess_symbols=True)
    adapter.track(instruments)
    adapter.contract_sizes.update(contract_sizes)
    return adapter


def _declared(path: Path) -> Header | None:
    """Return a recording's first line, None where it has none of ours."""
    header = read_header(path)
    if header is None:
        return None
    if header.exchange not in EXCHANGES:
        raise RecordingError(
            f"recording {path} is of exchange {header.exchange!r}, which has no adapter; "
            f"known are {', '.join(EXCHANGES)}"
        )
    try:
        EXCHANGES[header.exchange]().track(header.instruments)
    except InstrumentError as error:
        raise RecordingError(f"recording {path}: its first line is wrong: {error}") from None
    return header


def _kind_of(path: Path, header: Header) -> type[Exchange]:
    """Return the adapter that understands most of a recording's first frames."""
    kinds = [*EXCHANGES.values(), *DIALECTS]
    if header.exchange:
        kinds = [kind for kind in kinds if kind.name == header.exchange]
    if len(kinds) == 1:
        return kinds[0]
    probe = list(islice(read_frames(path), PROBE_FRAMES))
    scores = [_recognised(kind, header, probe) for kind in kinds]
    if max(scores) == 0 and not header.exchange:
        raise RecordingError(
            f"recording {path} is of no known exchange ({', '.join(EXCHANGES)}): none of them "
            f"understands any of its first {len(probe)} frames"
        )
    return kinds[scores.index(max(scores))]


def _recognised(kind: type[Exchange], header: Header, probe: Sequence[StampedFrame]) -> int:
    try:
        adapter = _reader(kind, header.instruments, header.contract_sizes)
    except InstrumentError:
        return 0  # an old dialect that knew nothing of the kind
    score = 0
    for receive_time, frame in probe:
        try:
            events = adapter.parse(frame, receive_time)
        except (FrameError, VenueError):
            continue
        score += any(not isinstance(event, Heartbeat) for event in events)
    return score
