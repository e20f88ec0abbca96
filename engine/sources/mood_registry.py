"""Indices of mood by the kind the configuration gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.clock import Clock
from engine.settings.sources import MoodConfig
from engine.sources import fear_greed, put_call, vix
from engine.sources.http import SourceClient
from engine.sources.mood import MoodDocument, MoodSource


def open_mood(config: MoodConfig, clock: Clock) -> MoodSource:
    """Make a source of an index. Nothing is read before its first `poll`.

    Parameters
    ----------
    config
        Its section.
    clock
        What time it is.
    """
    return _OPENERS[config.kind](config.location, clock)


def _fear_greed(location: str, clock: Clock) -> MoodSource:
    return MoodDocument(
        fear_greed.SERIES,
        location or fear_greed.URL,
        fear_greed.read_fear_greed,
        SourceClient(fear_greed.SERIES, clock=clock),
        clock,
        history=fear_greed.HISTORY,
        latest=fear_greed.LATEST,
    )


def _vix(location: str, clock: Clock) -> MoodSource:
    client = SourceClient(vix.SERIES, clock=clock)
    return MoodDocument(vix.SERIES, location or vix.URL, vix.read_vix, client, clock)


def _put_call(location: str, clock: Clock) -> MoodSource:
    client = SourceClient(put_call.SERIES, per_minute=put_call.PER_MINUTE, clock=clock)
    if location:
        return MoodDocument(put_call.SERIES, location, put_call.read_put_call, client, clock)
    return put_call.PutCall(client, clock)


_OPENERS: Mapping[str, Callable[[str, Clock], MoodSource]] = {
    "fear_greed": _fear_greed,
    "vix": _vix,
    "put_call": _put_call,
}
"""One line an index: add yours here (docs/adding/text_source.md)."""
