"""Topics and emotions of a text as a row of the store."""

from __future__ import annotations

from engine.domain.sentiment import TextTopics
from engine.sentiment.emotions import emotions
from engine.sentiment.topics import VERSION, topics

LANGUAGE = "en"
"""What the word lists are in."""


def tag(text_id: str, text: str, available_at: int, language: str | None) -> TextTopics:
    """Return what a text is about and what it feels.

    Parameters
    ----------
    text_id, text, available_at
        The text; its content as it is stored.
    language
        ISO 639-1; None where it cannot be told. A text that is surely not English feels nothing
        that we know of: its emotions are None, not 0.
    """
    felt = emotions(text) if language in (None, LANGUAGE) else None
    return TextTopics(
        text_id=text_id,
        version=VERSION,
        topics=topics(text),
        fear=None if felt is None else felt.fear,
        greed=None if felt is None else felt.greed,
        excitement=None if felt is None else felt.excitement,
        available_at=available_at,
    )
