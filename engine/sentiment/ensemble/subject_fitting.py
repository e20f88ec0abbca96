"""Fits how much each word speaks for stocks: a logistic regression on which words a text has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from engine.sentiment.ensemble.subject import StockWords, words_of

LEAST_TEXTS = 3
"""Words that fewer texts have are left out."""

NAMED = -3.0
"""Most that a coin's own name may weigh, in texts or not."""


def fit_stock_words(
    stocks: Sequence[str], coins: Sequence[str], names: Iterable[str] = ()
) -> StockWords:
    """Return the weights that tell the two apart best; the same for the same texts.

    Needs scikit-learn.

    Parameters
    ----------
    stocks, coins
        Texts about each, as written; about as many of both.
    names
        Words, as `words_of` gives them, that nothing but a coin is called by.
    """
    from scipy.sparse import csr_matrix  # noqa: PLC0415  (fitting only)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    texts = [words_of(text) for text in (*stocks, *coins)]
    count = Counter(word for text in texts for word in text)
    known = sorted(word for word, times in count.items() if times >= LEAST_TEXTS)
    place = {word: number for number, word in enumerate(known)}
    rows = [sorted(place[word] for word in text if word in place) for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    there = np.ones(ends[-1])
    matrix = csr_matrix((there, np.concatenate(rows), ends), shape=(len(texts), len(known)))
    about_stocks = np.repeat([1, 0], [len(stocks), len(coins)])
    # No constant: a text of unknown words speaks for neither.
    model = LogisticRegression(fit_intercept=False, max_iter=1_000)
    found = model.fit(matrix, about_stocks).coef_[0].tolist()
    weights = dict(zip(known, found, strict=True))
    weights |= {name: min(NAMED, weights.get(name, 0.0)) for name in names}
    return StockWords({word: round(weights[word], 3) for word in sorted(weights)})
