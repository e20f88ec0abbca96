"""What the linear model sees of a text: words, neighbours of words, and pieces of words.

Names and numbers stand for what they are, not for which: ``$NVDA`` is ``$name``, ``+4.2%`` is
``+%``, ``$70k`` is ``$#``. So what is learnt about stocks holds for coins as well.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here."""

MAX_WORDS = 3
"""Words of the longest phrase that is one feature."""

PIECES = (3, 4, 5)
"""Letters of the pieces of words; begin and end of a word count as one each."""

LONGEST_WORD = 24
"""A longer run of letters is no word: its pieces are those of its begin."""

_TOKEN = re.compile(
    r"""
    (?P<link>https?://\S+|www\.\S+|\bpic\.twitter\.com/\S+)
  | (?P<handle>(?<![\w@])@\w+)
  | (?P<name>\$[A-Za-z]\w*(?:[./-][A-Za-z]\w*)?)
  | (?P<percent>[+\-−–]?\s?\d[\d,.]*\s?(?:%|percent\b|pct\b|bps\b))
  | (?P<money>[$€£₿]\s?\d[\d,.]*\s?(?:k|m|mn|b|bn|t|tn|million|billion|trillion)?\b)
  | (?P<number>\d[\d,.]*(?:k|x|m|b|bn|th|st|nd|rd|d|h|w|y)?\b)
  | (?P<word>[^\W\d_]+(?:['’][^\W\d_]+)*)
  | (?P<sign>[!?]+|\.\.\.+|…|[^\s\w.,:;"'’‘“”()\[\]{}<>|/\\*~`=&^@#$%_-])
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Token(NamedTuple):
    """A word, number or sign of a text."""

    word: str
    """As the model sees it."""
    written: str
    """As it stands in the text."""


def tokens(text: str) -> list[Token]:
    """Cut a text.

    Examples
    --------
    >>> [one.word for one in tokens("$BTC up 4.2% to $70k, HODL!! 🚀")]
    ['$name', 'up', '%', 'to', '$#', 'hodl', '!', '🚀']
    """
    text = html.unescape(text[:MAX_CHARACTERS])
    return [Token(word, match.group()) for match in _TOKEN.finditer(text) if (word := _seen(match))]


def _seen(match: re.Match[str]) -> str:
    kind, written = match.lastgroup, match.group()
    if kind == "word":
        return written.lower().replace("’", "'")[:LONGEST_WORD]
    if kind == "sign":
        return written if len(written) == 1 and written not in "!?" else written[0]
    if kind == "percent":
        return {"+": "+%", "-": "-%", "−": "-%", "–": "-%"}.get(written[0], "%")
    return {"link": "", "handle": "@", "name": "$name", "money": "$#", "number": "#"}[kind or ""]


def pieces(word: str) -> tuple[str, ...]:
    """Return the pieces of a word; none of what is no word.

    Examples
    --------
    >>> pieces("up")
    ('~<up', '~up>', '~<up>')
    """
    if not word[0].isalpha():
        return ()
    whole = f"<{word}>"
    return tuple(
        "~" + whole[begin : begin + length]
        for length in PIECES
        for begin in range(len(whole) - length + 1)
    )


def phrases(words: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yield every feature of one to `MAX_WORDS` words: its name, its first word, how many."""
    for begin in range(len(words)):
        for length in range(1, min(MAX_WORDS, len(words) - begin) + 1):
            yield " ".join(words[begin : begin + length]), begin, length
