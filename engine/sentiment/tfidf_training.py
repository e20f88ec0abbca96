"""Trains the linear model: a deterministic fit, cut down to what fits into the package.

First every feature that is in enough texts is weighed, then the heaviest are kept and weighed
again among themselves. How sure the model may be of itself is found on texts left out in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.domain.sentiment import Label
from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.calibration.fitting import fit_temperature
from engine.sentiment.tfidf import TfidfVectors, TfidfWeights
from engine.sentiment.tfidf_features import phrases, pieces, tokens

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class TfidfSettings:
    """How to train."""

    least_texts: int = 3
    """Features that fewer texts have are left out."""
    most_features: int = 60_000
    """Kept in the end: the heaviest."""
    strength: float = 4.0
    """How far the weights may go: the inverse of the penalty on their squares."""


def train_tfidf(
    texts: Sequence[str],
    labels: Sequence[Label],
    weights: Sequence[float] | None = None,
    settings: TfidfSettings | None = None,
) -> TfidfWeights:
    """Train the linear model.

    Parameters
    ----------
    texts
        As written.
    labels
        One for each; all three must occur.
    weights
        How much each text counts, above 0; all the same where it is not given.
    settings
        How to train; the defaults where they are not given.

    Returns
    -------
    TfidfWeights
        The same for the same texts in the same order.

    Raises
    ------
    ConfigError
        Where scikit-learn is not installed, a label does not occur, or no feature is common
        enough.
    """
    settings = settings or TfidfSettings()
    found = np.array([LABELS.index(label) for label in labels], dtype=np.int64)
    for place, label in enumerate(LABELS):
        if not (found == place).any():
            raise ConfigError(f"no text is labelled {label}: a model needs all three to learn from")
    count = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=np.float64)
    words = [[token.word for token in tokens(text)] for text in texts]
    features, rarity = common_features(words, settings.least_texts)
    matrix = _matrix(words, features, rarity)
    first = _fit(matrix, found, count, settings.strength)
    kept = _heaviest(first.coef_, rarity, settings.most_features)
    features, rarity = tuple(features[place] for place in kept), rarity[kept]
    matrix = _matrix(words, features, rarity)
    last = _fit(matrix, found, count, settings.strength)
    sharpness = 1.0 / _temperature(matrix, found, count, settings.strength)
    return TfidfWeights(
        features,
        rarity,
        (last.coef_.T * sharpness).astype(np.float32),
        (last.intercept_ * sharpness).astype(np.float32),
    )


def common_features(
    words: Sequence[Sequence[str]], least: int
) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """Return the features that enough texts have, by name, and how rare each one is.

    Rarity is ``1 + ln((1 + texts) / (1 + texts with it))``.

    Raises
    ------
    ConfigError
        Where there are none.
    """
    texts_with: Counter[str] = Counter()
    for each in words:
        mine = {name for name, _, _ in phrases(each)}
        for word in set(each):
            mine.update(pieces(word))
        texts_with.update(mine)
    features = tuple(sorted(name for name, count in texts_with.items() if count >= least))
    if not features:
        raise ConfigError(
            f"no word is in {least} of the {len(words)} texts: there is nothing to learn from"
        )
    known = np.array([texts_with[name] for name in features], dtype=np.float64)
    rarity = 1.0 + np.log((1.0 + len(words)) / (1.0 + known))
    return features, rarity.astype(np.float32)


def _matrix(
    words: Sequence[Sequence[str]], features: Sequence[str], rarity: npt.NDArray[np.float32]
) -> Any:
    from scipy.sparse import csr_matrix  # noqa: PLC0415  (training only)

    vectors = TfidfVectors(features, rarity)
    rows = [vectors.vector(each) for each in words]
    ends = np.cumsum([0, *(len(row.rows) for row in rows)])
    values = np.concatenate([row.values for row in rows])
    places = np.concatenate([row.rows for row in rows])
    return csr_matrix((values, places, ends), shape=(len(words), len(features)))


def _fit(matrix: Any, labels: Labels, weights: Floats, strength: float) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (training only)
    except ModuleNotFoundError:
        raise ConfigError(
            "training the model tfidf needs scikit-learn, which make setup installs"
        ) from None
    return LogisticRegression(C=strength, max_iter=300, tol=1e-4).fit(matrix, labels, weights)


def _heaviest(weights: Floats, rarity: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.int64]:
    """Return the places of the features that can move a reading most, ascending."""
    spread = (weights.max(axis=0) - weights.min(axis=0)) * rarity
    order = np.argsort(-spread, kind="stable")[:most]
    kept: npt.NDArray[np.int64] = np.sort(order).astype(np.int64)
    return kept


def _temperature(matrix: Any, labels: Labels, weights: Floats, strength: float) -> float:
    """Return by how much the model is too sure, on texts that it did not see."""
    said = np.empty((len(labels), len(LABELS)))
    fold = np.arange(len(labels)) % FOLDS
    for part in range(FOLDS):
        mine = fold == part
        model = _fit(matrix[~mine], labels[~mine], weights[~mine], strength)
        said[mine] = model.predict_proba(matrix[mine])
    return fit_temperature(said, labels).temperature
