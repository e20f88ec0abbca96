"""What a text feels about each asset that it names.

A text about one asset, or none, feels about it what it feels. For several:

1. Where one takes the other's place (`engine.sentiment.comparisons`), that decides, whatever the
   model: ``ETH will flip BTC`` is never good for both. Other comparisons decide only for models
   that do not read targets themselves.
2. Else a model that reads targets itself (`TargetModel`) is asked. Of any other, an asset gets
   what it reads in the asset's clause. Clauses end at the end of a sentence
   and before contrasts (``but``, ``while``, ``whereas``, ``as`` …); a clause that names nobody
   belongs to the one before it, at the beginning to the one after it.
3. Parts of a clause between commas and ``and`` that have a tone of their own are read by
   themselves (``BTC up, ETH down``); the others share the clause (``whales sell BTC and ETH``).
4. An asset in several clauses gets the mean of their probabilities.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.domain.text import Mention
from engine.sentiment.base import SentimentModel, TargetModel, TextSentiment
from engine.sentiment.comparisons import comparisons

MAX_MENTIONS = 64
"""Mentions beyond these do not count: a list of every coin says nothing about one of them."""

_CLAUSE = re.compile(
    r"[.!?]+(?=\s)|[;\n]|\s[-–—|]+\s|"
    r"\b(?:but|while|whereas|however|although|though|yet|meanwhile|unlike|as)\b",
    re.IGNORECASE,
)
_PART = re.compile(r",(?=\s)|\band\b|&", re.IGNORECASE)

Readings = Mapping[str, TextSentiment | None]
"""By the mentions' names."""


@dataclass(frozen=True, slots=True)
class Named:
    """A text, what it names, and how it reads as a whole."""

    text: str
    mentions: tuple[Mention, ...]
    """In order, positions as in `text`."""
    whole: TextSentiment | None


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    parts: tuple[tuple[str, frozenset[int]], ...]
    """Its parts, each with the mentions in it by index; one part where it is not cut."""


def read_targets(model: SentimentModel, texts: Sequence[Named]) -> list[Readings]:
    """Read what texts feel about each asset that they name.

    Parameters
    ----------
    model
        Any model; all clauses of all texts are scored in one call.
    texts
        The texts.

    Returns
    -------
    list of mapping
        One per text, in order: for each name a reading, None where the text, or what concerns
        that asset in it, cannot be read.
    """
    found: list[Readings] = []
    cut: list[tuple[int, Named, list[_Clause]]] = []
    for place, named in enumerate(texts):
        mentions = named.mentions[:MAX_MENTIONS]
        names = {mention.name for mention in mentions}
        if len(names) < 2 or named.whole is None:
            found.append(dict.fromkeys(names, named.whole))
        elif isinstance(model, TargetModel):
            own = model.score_targets(named.text, mentions)
            found.append({**own, **_compared(named.text, mentions)})
        else:
            found.append({})
            cut.append((place, named, _clauses(named.text, mentions)))
    wanted = list(dict.fromkeys(_to_score([clauses for _, _, clauses in cut])))
    read = dict(zip(wanted, model.score(wanted), strict=True)) if wanted else {}
    for place, named, clauses in cut:
        found[place] = _by_rules(named.text, named.mentions[:MAX_MENTIONS], clauses, read)
    return found


def parts_clauses(word: str) -> bool:
    """Whether a word, standing by itself, does nothing but part clauses or their parts.

    Examples
    --------
    >>> [parts_clauses(word) for word in ("while", "And", "–", "soars")]
    [True, True, True, False]
    """
    return any(
        boundary.fullmatch(said) for boundary in (_CLAUSE, _PART) for said in (word, f" {word} ")
    )


def _to_score(texts: Iterable[Sequence[_Clause]]) -> Iterable[str]:
    for clauses in texts:
        for clause in clauses:
            yield clause.text
            yield from (part for part, _ in clause.parts)


def _compared(text: str, mentions: Sequence[Mention]) -> Readings:
    said: dict[str, list[TextSentiment]] = {}
    for compared in comparisons(text, mentions):
        if compared.is_decisive:
            said.setdefault(mentions[compared.index].name, []).append(compared.reading)
    return {name: _mean(readings) for name, readings in said.items()}


def _by_rules(
    text: str,
    mentions: Sequence[Mention],
    clauses: Sequence[_Clause],
    read: Mapping[str, TextSentiment | None],
) -> Readings:
    compared = {each.index: each.reading for each in comparisons(text, mentions)}
    said: dict[str, list[TextSentiment]] = {mention.name: [] for mention in mentions}
    for clause in clauses:
        for part, indices in clause.parts:
            own = read[part]
            tone = own if own is not None and own.label != "neutral" else read[clause.text]
            for index in sorted(indices):
                reading = compared.get(index, tone)
                if reading is not None:
                    said[mentions[index].name].append(reading)
    return {name: _mean(readings) for name, readings in said.items()}


def _clauses(text: str, mentions: Sequence[Mention]) -> list[_Clause]:
    return [
        _Clause(text[begin:end].strip(), tuple(
            (text[first:last].strip(), _inside(first, last, mentions))
            for first, last in _spans(_PART, text, begin, end, mentions)
        ))
        for begin, end in _spans(_CLAUSE, text, 0, len(text), mentions)
    ]  # fmt: skip


def _spans(
    boundary: re.Pattern[str], text: str, begin: int, end: int, mentions: Sequence[Mention]
) -> list[tuple[int, int]]:
    """Cut ``text[begin:end]`` where both sides of a boundary name somebody."""
    edges = [match.end() for match in boundary.finditer(text, begin, end)]
    spans: list[tuple[int, int]] = []
    start, named = begin, False
    for first, last in zip([begin, *edges], [*edges, end], strict=True):
        if named and _inside(first, last, mentions):
            spans.append((start, first))
            start = first
        named = named or bool(_inside(first, last, mentions))
    return [*spans, (start, end)]


def _inside(begin: int, end: int, mentions: Sequence[Mention]) -> frozenset[int]:
    return frozenset(i for i, mention in enumerate(mentions) if begin <= mention.start < end)


def _mean(readings: Sequence[TextSentiment]) -> TextSentiment | None:
    if not readings:
        return None
    score = math.fsum(reading.score for reading in readings) / len(readings)
    neutral = math.fsum(reading.neutral for reading in readings) / len(readings)
    return TextSentiment.of(score, min(neutral, 1.0 - abs(score)))
