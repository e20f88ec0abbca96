"""Text as the encoder reads it: links gone, emoji in words, instruments marked.

The encoder's vocabulary has no emoji and cuts a link into twenty meaningless pieces. So an
emoji becomes its Unicode name, a link nothing, and a handle the word ``user``.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

from engine.domain.text import Mention

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here: the encoder takes 128 tokens, some 600 characters."""

TARGET = "\ue000"
"""Stands for the instrument that is asked about. From Unicode's private area: no text has it."""

OTHER = "\ue001"
"""Stands for an instrument that is mentioned beside it."""

_LINK = re.compile(r"https?://\S+|www\.\S+|\bpic\.twitter\.com/\S+", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@])@\w+")
_CASHTAG = re.compile(r"\$[A-Za-z]\w*")
_BEYOND_ASCII = re.compile(r"([^\x00-\x7f])\1*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_READABLE = re.compile(r"[A-Za-z]{2}")
_SYMBOLS = ("So", "Sk")


def plain(text: str) -> str:
    """Return a text as it is cut into tokens.

    Examples
    --------
    >>> plain("to the moon 🚀🚀🚀🚀 https://t.co/x @ann")
    'to the moon rocket rocket user'
    """
    text = html.unescape(text[:MAX_CHARACTERS])
    text = _HANDLE.sub("user", _LINK.sub(" ", text))
    text = _BEYOND_ASCII.sub(_in_words, _CONTROLS.sub(" ", text))
    return " ".join(text.split())


def _in_words(run: re.Match[str]) -> str:
    """Name an emoji, twice where it is repeated; other letters stay, format signs go."""
    sign = run.group(1)
    kind = unicodedata.category(sign)
    if kind in _SYMBOLS and sign > "\u2100":
        name = unicodedata.name(sign, "").lower()
        return f" {name} {name} " if len(run.group()) > 1 else f" {name} "
    if kind in ("Cf", "Cs", "Cn") or "\ufe00" <= sign <= "\ufe0f":
        return ""
    return run.group()


def is_readable(text: str) -> bool:
    """Whether a text says anything to an English reader: a word, or an emoji.

    Links and cashtags say nothing by themselves.
    """
    said = _CASHTAG.sub(" ", plain(text))
    return _READABLE.search(said) is not None


def without_marks(text: str) -> str:
    """Return a text in which nobody can pretend to mark an instrument."""
    return text.replace(TARGET, "").replace(OTHER, "")


def marked(text: str, mentions: Iterable[Mention], target: str) -> str:
    """Return a text with its instruments replaced by the two marks.

    Parameters
    ----------
    text
        As written.
    mentions
        Where it names instruments; of those that overlap, the first and longest counts.
    target
        Name of the one that is asked about.

    Examples
    --------
    >>> spans = [Mention(0, 3, "ETH"), Mention(14, 17, "BTC")]
    >>> found = marked("ETH will flip BTC", spans, "ETH")
    >>> found.replace(TARGET, "<target>").replace(OTHER, "<other>")
    ' <target>  will flip  <other> '
    """
    parts: list[str] = []
    read = 0
    for mention in sorted(mentions, key=lambda one: (one.start, -one.end)):
        if mention.start < read:
            continue
        parts.append(without_marks(text[read : mention.start]))
        parts.append(f" {TARGET if mention.name == target else OTHER} ")
        read = mention.end
    parts.append(without_marks(text[read:]))
    return "".join(parts)
