"""What a text is about: several topics or none, by curated lists of terms.

The lists are data (`topics.tsv`). A topic is recognised where its terms in the text, each
counted once, weigh 1 or more: ``hack`` is enough by itself, ``court`` and ``charge`` need each
other. Nothing is learnt and nothing depends on other texts, so the answer is the same alone, in a
batch and at any time; `VERSION` changes with the lists.
"""

from __future__ import annotations

from functools import cache

from engine.sentiment.word_lists import WordLists, words_of

VERSION = "topics-1"
"""Of the lists of topics and of emotions: rows bear it, and it changes with any of them."""

TOPICS = (
    "regulation",
    "legal",
    "security",
    "etf",
    "institutional",
    "listing",
    "technology",
    "macro",
    "defi",
    "nft",
    "mining",
    "stablecoin",
    "exchange",
    "price",
    "derivatives",
    "funding",
    "adoption",
)
"""In the order that answers have them; `docs/sentiment_aggregates.md` says what each covers."""

_ENOUGH = 1.0


@cache
def _lists() -> WordLists:
    return WordLists("topics.tsv")


def topics(text: str) -> tuple[str, ...]:
    """Return the topics of a text.

    Parameters
    ----------
    text
        A headline or a post, in English; the first 4,000 characters are read.

    Returns
    -------
    tuple of str
        In the order of `TOPICS`; empty where none is recognised, or nothing can be read.

    Examples
    --------
    >>> topics("SEC sues Binance over unregistered securities")
    ('regulation', 'legal', 'exchange')
    >>> topics("Good morning everyone")
    ()
    """
    weights: dict[str, dict[str, float]] = {}
    for found in _lists().find(words_of(text)):
        for topic, weight in found.weights:
            weights.setdefault(topic, {})[found.term] = weight
    return tuple(topic for topic in TOPICS if sum(weights.get(topic, {}).values()) >= _ENOUGH)
