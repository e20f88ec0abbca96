"""Fits how much each word speaks for stocks: a logistic regression on which words a text has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine.sentiment.ensemble.subject import ANY_TEXT, StockWords, words_of

LEAST_TEXTS = 3
"""Words that fewer texts have are left out."""


def fit_stock_words(stocks: Sequence[str], coins: Sequence[str]) -> StockWords:
    """Return the weights that tell the two apart best; the same for the same texts.

    Needs scikit-learn.

    Parameters
    ----------
    stocks, coins
        Texts about each, as written; about as many of both.
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
    found = LogisticRegression(max_iter=1_000).fit(matrix, about_stocks)
    weights = dict(zip(known, found.coef_[0].tolist(), strict=True))
    weights[ANY_TEXT] = float(found.intercept_[0])
    return StockWords({word: round(weights[word], 3) for word in sorted(weights)})
