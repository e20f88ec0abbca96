"""SQL for what a text feels about one of the instruments that it speaks of."""

from __future__ import annotations

from typing import Literal


def toward(field: Literal["score", "label"], instrument: str, scores: str) -> str:
    """Return an expression for a score or label of a row of ``sentiment_scores``.

    As `engine.sentiment.aggregate.ScoredText.toward`: the target's own where the text tells its
    assets apart, else the whole text's; NULL where it cannot be read.

    Parameters
    ----------
    field
        Which of the two.
    instrument
        Expression of the instrument.
    scores
        The table's alias.
    """
    place = f"indexOf({scores}.target_instruments, {instrument})"
    return f"if({place} > 0, {scores}.target_{field}s[{place}], {scores}.{field})"
