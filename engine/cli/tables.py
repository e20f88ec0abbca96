"""What a person sees in the terminal: signals, streams, actors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

DIRECTION_STYLE = {"bullish": "green", "bearish": "red", "neutral": "dim"}
MOST_SIGNALS = 25
MOST_WORDS = 8
"""Shown of what drove a reading."""
FIXED_LINES = 9
"""Of the live view, besides a line per stream and per signal."""


def signals_table(ranking: dict[str, Any]) -> Table:
    """Show a ranking as ``/v1/signals`` answers it, a line a signal.

    Parameters
    ----------
    ranking
        The answer.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("instrument", no_wrap=True)
    for name in ("score", "direction", "conf", "price", "age"):
        table.add_column(name, justify="left" if name == "direction" else "right", no_wrap=True)
    # Only this column may shrink, and its texts are cut, not wrapped: the others are worth more.
    table.add_column("strongest factors")
    for signal in ranking["signals"]:
        direction = signal["direction"]
        style = DIRECTION_STYLE[direction]
        cells = (
            str(signal["rank"]),
            signal["instrument"],
            f"{signal['score']:+.3f}",
            direction,
            f"{signal['confidence']:.0%}",
            f"{signal['reference_price']:,.6g}",
            age(signal["data_age_ms"]),
        )
        styles = ("", "bold", style, style, "", "", "")
        texts = (Text(cell, style=look) for cell, look in zip(cells, styles, strict=True))
        reasons = Text(strongest(signal), style="dim", no_wrap=True, overflow="ellipsis")
        table.add_row(*texts, reasons)
    return table


def explained(ranking: dict[str, Any]) -> Group:
    """Show a ranking with the reasons of each signal under it, on lines of their own."""
    parts: list[RenderableType] = []
    for signal in ranking["signals"]:
        style = DIRECTION_STYLE[signal["direction"]]
        head = Text(f"{signal['rank']:>3}  ")
        head.append(signal["instrument"], style="bold")
        head.append(f"  {signal['score']:+.3f} {signal['direction']}", style=style)
        head.append(f"  confidence {signal['confidence']:.0%}")
        head.append(f"  price {signal['reference_price']:,.6g}  age {age(signal['data_age_ms'])}")
        parts.append(head)
        parts += [Padding(Text(line), (0, 0, 0, 5)) for line in signal["rationale"]]
    return Group(*parts)


def streams_table(status: dict[str, Any]) -> Table:
    """Show the health of every stream."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stream")
    table.add_column("state")
    for name in ("frames/s", "trades", "tops", "bad", "gaps open", "stale", "last event"):
        table.add_column(name, justify="right")
    for stream in status.get("streams", []):
        state, style = ("connected", "green") if stream["connected"] else ("down", "red")
        if stream["ended"]:
            state, style = "finished", "cyan"
        stale = stream["stale"]
        table.add_row(
            stream["name"].removeprefix("stream-"),
            Text(state, style=style),
            f"{stream['frames_per_s']:,.0f}",
            f"{stream['trades']:,}",
            f"{stream['book_tops']:,}",
            Text(str(stream["bad_frames"]), style="red" if stream["bad_frames"] else ""),
            str(stream["open_gaps"]),
            Text(str(stale), style="yellow" if stale else ""),
            age(stream["last_event_age_ms"]),
        )
    return table


def actors_table(status: dict[str, Any]) -> Table:
    """Show every actor."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("actor")
    table.add_column("phase")
    for name in ("pid", "MiB", "up", "restarts"):
        table.add_column(name, justify="right")
    table.add_column("problem", style="red")
    for actor in status.get("actors", []):
        phase = actor["phase"]
        style = "green" if phase == "running" else "red" if phase == "failed" else "yellow"
        table.add_row(
            actor["name"],
            Text(phase, style=style),
            str(actor["pid"]),
            f"{actor['rss_mb']:.0f}",
            age(actor["uptime_s"] * 1000),
            str(actor["restarts"]),
            actor["problem"],
        )
    return table


def summary(status: dict[str, Any], url: str) -> Text:
    """Say in a line what runs, where, and whether it is well."""
    healthy = status.get("healthy", False)
    text = Text(url, style="bold")
    text.append(f"  {status.get('mode', '')}  ", style="dim")
    text.append("healthy" if healthy else "not well", style="green" if healthy else "red")
    text.append(f"  up {age(status.get('uptime_s', 0) * 1000)}", style="dim")
    for name, progress in (status.get("replay") or {}).items():
        sent, total = progress["sent"], progress["frames"]
        text.append(f"  {name}: {sent:,} of {total:,} frames replayed", style="cyan")
    return text


def rows_for_signals(height: int, status: dict[str, Any] | None) -> int:
    """Return how many signals fit a terminal under the streams.

    Examples
    --------
    >>> rows_for_signals(24, {"streams": [{}, {}, {}]}), rows_for_signals(5, None)
    (12, 3)
    """
    streams = len(status["streams"]) if status else 0
    return max(3, min(MOST_SIGNALS, height - FIXED_LINES - streams))


def strongest(signal: dict[str, Any], count: int = 3) -> str:
    """Name the factors that moved a score most, with what each contributed."""
    parts = [part for part in signal["contributions"] if part["contribution"]]
    parts.sort(key=lambda part: -abs(part["contribution"]))
    return ", ".join(f"{part['factor']} {part['contribution']:+.3f}" for part in parts[:count])


def live_view(
    status: dict[str, Any] | None, ranking: dict[str, Any] | None, url: str
) -> RenderableType:
    """Compose what ``engine up`` shows while it runs."""
    parts: list[RenderableType] = []
    if status is not None:
        parts += [summary(status, url), Text(), streams_table(status), Text()]
    if ranking is not None:
        head = Text(f"top signals on {ranking['timeframe']} bars, as of {ranking['as_of']}")
        parts += [head, signals_table(ranking), Text()]
    parts.append(Text("Ctrl-C stops everything", style="dim"))
    return Group(*parts)


def age(milliseconds: float | None) -> str:
    """Write a duration shortly.

    Examples
    --------
    >>> age(250), age(4_200), age(125_000), age(None)
    ('250 ms', '4.2 s', '2.1 min', '–')
    """
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    for limit, unit, name in ((120e3, 1e3, "s"), (7.2e6, 60e3, "min"), (1.728e8, 3.6e6, "h")):
        if milliseconds < limit:
            return f"{milliseconds / unit:.1f} {name}"
    return f"{milliseconds / 8.64e7:.1f} d"


def sentiment_view(texts: Sequence[str], found: dict[str, Any]) -> RenderableType:
    """Show what ``POST /v1/sentiment`` answers, a line a text, its words below.

    Parameters
    ----------
    texts
        What was read.
    found
        The answer.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    table.caption = f"model {found['model']}"
    for name in ("label", "score", "bear", "neutral", "bull", "lang"):
        is_text = name in ("label", "lang")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    # Only this column may shrink, and its texts are cut, not wrapped.
    table.add_column("text")
    for text, result in zip(texts, found["results"], strict=True):
        label = result["label"] or "unknown"
        look = DIRECTION_STYLE.get(label, "yellow")
        shares = result["probabilities"] or {}
        table.add_row(
            Text(label, style=look),
            Text(_signed(result["score"]), style=look),
            *(
                "–" if name not in shares else f"{shares[name]:.0%}"
                for name in ("bearish", "neutral", "bullish")
            ),
            result["language"] or "–",
            _on_a_line(" ".join(text.split()) + (" (cut)" if result["truncated"] else "")),
        )
        below = [f"{one['instrument']} {_signed(one['score'])}" for one in result["instruments"]]
        words = [f"{one['word']} {one['weight']:+.2f}" for one in result.get("explanation") or ()]
        for line in filter(None, (", ".join(below), ", ".join(words[:MOST_WORDS]))):
            table.add_row(*[""] * 6, _on_a_line(line, "dim"))
    return table


def _on_a_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _signed(score: float | None) -> str:
    return "–" if score is None else f"{score:+.2f}"
