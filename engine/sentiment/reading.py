"""Everything that is said of one text: the one way in which texts are read.

The HTTP API, the actors, the job ``score_texts`` and the command all hold a `TextReader`: equal
texts get equal bits everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple, Protocol

import msgspec

from engine.domain.sentiment import Label, TargetScore
from engine.domain.text import Mention
from engine.sentiment.base import LABELS, BoundedModel, SentimentModel, TextSentiment
from engine.sentiment.emotions import Emotions, emotions
from engine.sentiment.explanation import explain, explain_target
from engine.sentiment.targets import Named, Readings, read_targets
from engine.sentiment.topics import topics

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here, and their reading says so."""

BINARY_SHARE = 0.1
"""A text with more control and replacement characters than this is no text."""

_NOISE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")


class TextQuery(msgspec.Struct, frozen=True):
    """A text, and what is asked of it."""

    text: str
    instrument: str | None = None
    """Whose sentiment is asked for, canonical; None for the text's own."""
    explain: bool = False
    """Whether the words that drove the reading are wanted."""


class KnownText(NamedTuple):
    """A text as it is stored."""

    text: str
    instruments: Sequence[str]
    """Those it speaks of, canonical."""


class TextOpinion(NamedTuple):
    """What is stored of a text's sentiment."""

    whole: TextSentiment
    targets: tuple[TargetScore, ...]
    """As in `engine.domain.sentiment.SentimentScore`."""


class InstrumentScore(msgspec.Struct, frozen=True):
    """What a text feels about an instrument."""

    instrument: str
    score: float | None
    """In [-1, 1]; None where the text says nothing of it that can be read."""


class Reading(msgspec.Struct, frozen=True):
    """What is said of a text."""

    sentiment: TextSentiment | None
    """Towards the instrument that was asked for, else the whole text's; None where unknown."""
    language: str | None
    """ISO 639-1, such as ``en``; None where it cannot be told."""
    truncated: bool
    """Whether the text goes on behind what was read."""
    instruments: tuple[InstrumentScore, ...]
    """Those it speaks of, in order of first mention, and the one that was asked for. An asset of
    which no instrument is configured is its ``BASE-USDT`` (``USDT-USD``)."""
    topics: tuple[str, ...]
    """What it is about, by `engine.sentiment.topics`."""
    emotions: Emotions | None
    """What its writer feels; None where it cannot be read."""
    explanation: tuple[tuple[str, float], ...] | None = None
    """Words with weights towards `sentiment`, the strongest first; None where they were not asked
    for."""

    def body(self) -> dict[str, Any]:
        """Return it as the HTTP API and the command answer it, ready for JSON."""
        found: dict[str, Any] = dict.fromkeys(("label", "score", "probabilities", "confidence"))
        if self.sentiment is not None:
            said = msgspec.to_builtins(self.sentiment)
            said["probabilities"] = {label: said[label] for label in LABELS}
            found = {name: said[name] for name in found}
        found |= {
            "language": self.language,
            "truncated": self.truncated,
            "instruments": msgspec.to_builtins(self.instruments),
            "topics": list(self.topics),
            "emotions": msgspec.to_builtins(self.emotions),
        }
        if self.explanation is not None:
            found["explanation"] = [{"word": w, "weight": weight} for w, weight in self.explanation]
        return found


class MentionSource(Protocol):
    """Finds assets in texts: `engine.sources.mentions.MentionFinder`."""

    def mentions(self, text: str, /) -> Sequence[Mention]:
        """Return where a text (in NFKC) names which assets, in order."""
        ...

    def knowing(self, base: str, /) -> MentionSource:
        """Return one that finds an asset besides, by its ticker."""
        ...

    def instruments_of(self, base: str, /) -> Sequence[str]:
        """Return the instruments of an asset."""
        ...

    def base_of(self, instrument: str, /) -> str:
        """Return the asset of an instrument."""
        ...


class TextReader:
    """Reads texts with one model.

    Parameters
    ----------
    model
        What scores.
    normalise
        Brings a text into the form that is scored, the same in which texts are stored; doing it
        twice must change nothing.
    language_of
        Tells a text's language, ISO 639-1; None where it is not sure.
    mentions
        What finds assets.
    languages
        Those that the model reads: a text in another has no sentiment, never a score of 0.
        Empty for all.
    """

    def __init__(
        self,
        model: SentimentModel,
        normalise: Callable[[str], str],
        language_of: Callable[[str], str | None],
        mentions: MentionSource,
        languages: Iterable[str] = ("en",),
    ) -> None:
        self._model = model
        self._normalise = normalise
        self._language_of = language_of
        self._mentions = mentions
        self._languages = frozenset(languages)

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return self._model.name

    def opinions(self, texts: Sequence[KnownText]) -> list[TextOpinion | None]:
        """Read what is stored of every text: what it feels, and about which of its instruments.

        Parameters
        ----------
        texts
            Assets are looked for only where a text has instruments at all.

        Returns
        -------
        list of TextOpinion or None
            One per text, in order; None where it cannot be read.

        Raises
        ------
        InstrumentError
            Where an instrument of a text that names several assets is no canonical name.
        """
        plain = [self._legible(each.text) for each in texts]
        wholes = self._sentiments(plain, [self._language(text) for text in plain])
        named = [
            Named(text, tuple(self._mentions.mentions(text)) if known.instruments else (), whole)
            for known, text, whole in zip(texts, plain, wholes, strict=True)
        ]
        targets = read_targets(self._model, named)
        return [
            None if whole is None else TextOpinion(whole, self._toward(known.instruments, read))
            for known, whole, read in zip(texts, wholes, targets, strict=True)
        ]

    def _toward(self, instruments: Sequence[str], targets: Readings) -> tuple[TargetScore, ...]:
        if len(targets) < 2:
            return ()
        bases = {instrument: self._mentions.base_of(instrument) for instrument in instruments}
        return tuple(
            TargetScore(instrument, _score(targets[base]), _label(targets[base]))
            for instrument, base in bases.items()
            if base in targets
        )

    def read(self, queries: Sequence[TextQuery]) -> list[Reading]:
        """Read everything that is asked.

        Parameters
        ----------
        queries
            Texts of any length and content; instruments are canonical names.

        Returns
        -------
        list of Reading
            One per query, in order.

        Raises
        ------
        InstrumentError
            Where an instrument is no canonical name.
        """
        texts = [self._legible(query.text) for query in queries]
        languages = [self._language(text) for text in texts]
        named = [
            Named(text, self._named(text, query.instrument), whole)
            for query, text, whole in zip(
                queries, texts, self._sentiments(texts, languages), strict=True
            )
        ]
        targets = read_targets(self._model, named)
        return [
            self._reading(*each) for each in zip(queries, named, languages, targets, strict=True)
        ]

    def _named(self, text: str, asked: str | None) -> tuple[Mention, ...]:
        """Return where a text names assets, the one that is asked for included."""
        if asked is None:
            return tuple(self._mentions.mentions(text))
        return tuple(self._mentions.knowing(self._mentions.base_of(asked)).mentions(text))

    def _legible(self, text: str) -> str:
        """Return what of a text can be read; empty for what is no text at all."""
        text = text[:MAX_CHARACTERS]
        if len(_NOISE.findall(text)) > BINARY_SHARE * len(text):
            return ""
        # Some characters stand for many: once more to length.
        return self._normalise(text)[:MAX_CHARACTERS]

    def _language(self, text: str) -> str | None:
        return self._language_of(text) if text else None

    def _is_read(self, text: str, language: str | None) -> bool:
        """Whether a text goes to the model at all."""
        is_known = language is None or not self._languages or language in self._languages
        return bool(text) and is_known

    def _sentiments(
        self, texts: Sequence[str], languages: Sequence[str | None]
    ) -> list[TextSentiment | None]:
        readable = list(map(self._is_read, texts, languages))
        scored = iter(self._model.score(list(compress(texts, readable))))
        return [next(scored) if is_read else None for is_read in readable]

    def _reading(
        self, query: TextQuery, named: Named, language: str | None, targets: Readings
    ) -> Reading:
        is_read = self._is_read(named.text, language)
        sentiment = named.whole
        base = None if query.instrument is None else self._mentions.base_of(query.instrument)
        scores = {
            instrument: _score(targets[name])
            for name in targets
            for instrument in self._mentions.instruments_of(name) or _unlisted(name, base)
        }
        if query.instrument is not None and base is not None:
            # A text that speaks of others alone says nothing of this one.
            sentiment = targets.get(base) if targets else named.whole
            scores = {query.instrument: _score(sentiment)} | scores
        return Reading(
            sentiment,
            language,
            len(query.text) > MAX_CHARACTERS or self._truncates(named.text),
            tuple(InstrumentScore(*each) for each in scores.items()),
            topics(named.text) if is_read else (),
            emotions(named.text) if is_read else None,
            self._explanation(named, sentiment, base if len(targets) > 1 else None)
            if query.explain
            else None,
        )

    def _truncates(self, text: str) -> bool:
        return isinstance(self._model, BoundedModel) and self._model.truncates(text)

    def _explanation(
        self, named: Named, sentiment: TextSentiment | None, base: str | None
    ) -> tuple[tuple[str, float], ...]:
        """Return the words that moved the score that is shown, the strongest first.

        Parameters
        ----------
        named
            The text.
        sentiment
            What is shown.
        base
            The asset whose it is, where that is one of several; None for the whole text's.
        """
        if sentiment is None:
            return ()
        words = (
            explain(self._model, named.text)
            if base is None
            else explain_target(self._model, named, base)
        )
        moved = [(word, weight) for word, weight in words if weight]
        return tuple(sorted(moved, key=lambda each: -abs(each[1])))


def _unlisted(base: str, asked: str | None) -> tuple[str, ...]:
    """Return the instrument that stands for an asset of which none is configured."""
    if base == asked:
        return ()
    return (f"{base}-{'USD' if base == 'USDT' else 'USDT'}",)


def _score(reading: TextSentiment | None) -> float | None:
    return None if reading is None else reading.score


def _label(reading: TextSentiment | None) -> Label | None:
    return None if reading is None else reading.label
