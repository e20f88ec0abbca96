"""The linear model: words, phrases and pieces of words, each with a weight for each label.

Its weights are plain arrays that training (`engine.sentiment.tfidf_training`) wrote; reading needs
numpy alone. What each word contributed can be said exactly.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from engine.sentiment.base import SentimentModel, TextSentiment
from engine.sentiment.explanation import WordWeight
from engine.sentiment.probabilities import reading_of, softmax
from engine.sentiment.registry import register_configured
from engine.sentiment.tfidf_features import Token, phrases, pieces, tokens
from engine.settings.sentiment import SentimentConfig

SHIPPED, STOCKS = "tfidf.npz", "tfidf_stocks.npz"
"""Weights that come with the package."""
FORMAT = 1
"""Changes with what features mean: weights of another format are refused."""

MOST_CACHED = 50_000
"""Words whose pieces are remembered: most words come again."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TfidfWeights:
    """What training found.

    Parameters
    ----------
    features
        Names, as `engine.sentiment.tfidf_features` makes them.
    rarity
        Inverse document frequency of each, above 0.
    weights
        Features x (bearish, neutral, bullish).
    bias
        Logits of a text without any known feature.
    """

    features: tuple[str, ...]
    rarity: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with anything in it."""
        sum_of = hashlib.sha256("\n".join(self.features).encode())
        for array in (self.rarity, self.weights, self.bias):
            sum_of.update(np.ascontiguousarray(array).tobytes())
        return sum_of.hexdigest()[:8]

    def save(self, file: Path | BinaryIO) -> None:
        """Write it: arrays in half precision, names as text; no pickle."""
        names = np.frombuffer("\n".join(self.features).encode(), dtype=np.uint8)
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            features=names,
            rarity=self.rarity.astype(np.float16),
            weights=self.weights.astype(np.float16),
            bias=self.bias.astype(np.float32),
        )

    @classmethod
    def load(cls, file: Path) -> TfidfWeights:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError
            Where the file is missing, is something else, or is of another format.
        """
        again = "train it with the job train_sentiment, model tfidf, or leave sentiment.tfidf empty"
        try:
            with np.load(file, allow_pickle=False) as held:
                if int(held["format"]) != FORMAT:
                    raise ConfigError(
                        f"the weights {file} are of format {int(held['format'])}, this version "
                        f"reads {FORMAT}: {again}"
                    )
                names = bytes(held["features"]).decode()
                found = cls(
                    tuple(names.split("\n")),
                    held["rarity"].astype(np.float32),
                    held["weights"].astype(np.float32),
                    held["bias"].astype(np.float32),
                )
        except FileNotFoundError:
            raise ConfigError(f"the weights {file} do not exist: {again}") from None
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
            raise ConfigError(f"{file} holds no weights of the model tfidf: {again}") from None
        found.check(file)
        return found

    def check(self, where: Path) -> None:
        """Refuse arrays that do not fit together, or numbers that are none.

        Raises
        ------
        ConfigError
            In these cases.
        """
        count = len(self.features)
        shapes = (self.rarity.shape, self.weights.shape, self.bias.shape)
        arrays = (self.rarity, self.weights, self.bias)
        if shapes != ((count,), (count, 3), (3,)) or not all(
            bool(np.isfinite(array).all()) for array in arrays
        ):
            raise ConfigError(
                f"the weights {where} are damaged: take them from where they were made again"
            )


@dataclass(frozen=True, slots=True)
class Vector:
    """A text as the features it has."""

    rows: Rows
    """Places of the features, ascending."""
    values: npt.NDArray[np.float64]
    """Their values; the squares sum to 1."""


class TfidfVectors:
    """Texts to vectors.

    Parameters
    ----------
    features
        Names of the known features.
    rarity
        Of each.
    """

    def __init__(self, features: Sequence[str], rarity: npt.NDArray[np.float32]) -> None:
        self._places = {name: place for place, name in enumerate(features)}
        self._rarity = rarity.astype(np.float64)
        self._pieces: dict[str, tuple[int, ...]] = {}

    def parts(self, words: Sequence[str]) -> list[tuple[int, tuple[int, ...]]]:
        """Return each known feature as often as it occurs, and the words that it is made of."""
        places = self._places
        found = [
            (place, tuple(range(begin, begin + length)))
            for name, begin, length in phrases(words)
            if (place := places.get(name)) is not None
        ]
        for number, word in enumerate(words):
            found += [(place, (number,)) for place in self._pieces_of(word)]
        return found

    def vector(self, words: Sequence[str]) -> Vector:
        """Return the vector of a text's words: ``(1 + ln count) x rarity``, of length 1."""
        rows, counts = np.unique(
            np.array([place for place, _ in self.parts(words)], dtype=np.int64),
            return_counts=True,
        )
        values = (1.0 + np.log(counts)) * self._rarity[rows]
        length = math.sqrt(math.fsum((values * values).tolist()))
        return Vector(rows, values / length if length else values)

    def knows_sign(self, word: str) -> bool:
        """Whether an emoji, or a word of another script, was learnt."""
        return not word.isascii() and word in self._places

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        known = self._pieces.get(word)
        if known is None:
            places = (self._places.get(piece) for piece in pieces(word))
            known = tuple(place for place in places if place is not None)
            if len(self._pieces) < MOST_CACHED:
                self._pieces[word] = known
        return known


class TfidfModel:
    """The linear model, ready to read.

    Parameters
    ----------
    weights
        Its weights; the shipped ones by default.
    """

    def __init__(self, weights: TfidfWeights | None = None) -> None:
        self._weights = weights or shipped_weights()
        self._vectors = TfidfVectors(self._weights.features, self._weights.rarity)
        self._by_label = self._weights.weights.astype(np.float64)
        self._bias = self._weights.bias.astype(np.float64)
        self.name = f"tfidf-{FORMAT}-{self._weights.digest}"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`.

        A text is unreadable where it holds no word in Latin letters once links, names and numbers
        are gone, and no emoji or other word that was learnt.
        """
        return [self._read(tokens(text)) for text in texts]

    def explain(self, text: str) -> list[WordWeight]:
        """Return what each word added to the logarithm of P(bullish) / P(bearish).

        A phrase's part is shared evenly by its words. Together with what the model assumes of
        any text (`lean`) the parts sum to that logarithm exactly.
        """
        words = tokens(text)
        seen = [token.word for token in words]
        vector = self._vectors.vector(seen)
        toward = self._by_label[:, 2] - self._by_label[:, 0]
        parts = self._vectors.parts(seen)
        counts = dict.fromkeys(vector.rows.tolist(), 0)
        for place, _ in parts:
            counts[place] += 1
        value = dict(zip(vector.rows.tolist(), vector.values.tolist(), strict=True))
        sums = [0.0] * len(words)
        for place, whose in parts:
            share = value[place] * float(toward[place]) / counts[place] / len(whose)
            for number in whose:
                sums[number] += share
        return [
            WordWeight(token.written, weight)
            for token, weight in zip(words, sums, strict=True)
            if weight
        ]

    @property
    def lean(self) -> float:
        """Logarithm of P(bullish) / P(bearish) of a text that says nothing known."""
        return float(self._bias[2] - self._bias[0])

    def _read(self, words: list[Token]) -> TextSentiment | None:
        seen = [token.word for token in words]
        if not any(is_latin(word) or self._vectors.knows_sign(word) for word in seen):
            return None
        vector = self._vectors.vector(seen)
        parts = self._by_label[vector.rows] * vector.values[:, None]
        # Added row by row, whatever the batch: the same bits each time.
        logits = self._bias + parts.sum(axis=0)
        return reading_of(softmax(logits.tolist()))


def is_latin(word: str) -> bool:
    """Whether it is a word in Latin letters, not a name, a handle, a number or a sign."""
    return len(word) > 1 and word.isascii() and word[0].isalpha()


def shipped_weights(name: str = SHIPPED) -> TfidfWeights:
    """Return weights that come with the package."""
    with as_file(files("engine.sentiment").joinpath("artifacts", name)) as path:
        return TfidfWeights.load(path)


@register_configured("tfidf")
def _from_config(config: SentimentConfig) -> SentimentModel:
    return TfidfModel(TfidfWeights.load(Path(config.tfidf)) if config.tfidf else None)


@register_configured("tfidf-stocks")
def _stocks(config: SentimentConfig) -> SentimentModel:
    del config
    return TfidfModel(shipped_weights(STOCKS))
