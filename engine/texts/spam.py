"""Texts that say nothing of a market: advertisements, lures, and what accounts repeat by rote.

`spam_reason` looks at one text: lures by their phrases, and heaps of tags. A lure is a theme (a
giveaway, a group, a code) together with a call (*retweet*, *join now*, *DM me*), for outlets write
about giveaways and airdrops too: a post needs one call beside its theme, a headline two.

`PostingWatch` looks at accounts: one that says the same again and again, one that writes more than
a person does, and many that say the same at once. News is not watched so: agencies are copied.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeVar, cast

from engine.clock import NS_PER_S
from engine.domain.text import TextItem, TextKind
from engine.texts.near_duplicates import FEW_WORDS
from engine.texts.normalise import LINK, words

K = TypeVar("K")
V = TypeVar("V")

SpamReason = Literal[
    "giveaway", "doubling", "referral", "pump group", "recovery", "tags", "repeated", "flood",
    "burst",
]  # fmt: skip
"""Why a text is left out; docs/texts.md explains each."""

MOST_TAGS = 5
"""More cashtags, hashtags, handles and links than this, and fewer words than those, is a heap."""


_COIN = r"\$?(?:btc|eth|bnb|sol|xrp|doge|usdt|usdc|ada|trx|ltc|crypto|bitcoins?|ethereum)"


@dataclass(frozen=True, slots=True)
class _Lure:
    """What a kind of advertisement speaks of, and what it asks for."""

    reason: SpamReason
    theme: re.Pattern[str]
    call: re.Pattern[str]


def _read_lures() -> tuple[_Lure, ...]:
    """Return the lures of ``lures.tsv``, in its order."""
    table = files("engine.texts").joinpath("lures.tsv").read_text(encoding="utf-8")
    phrases: dict[SpamReason, dict[str, list[str]]] = {}
    for line in table.splitlines():
        if line and not line.startswith("#"):
            reason, part, phrase = line.split("\t")
            parts = phrases.setdefault(cast("SpamReason", reason), {"theme": [], "call": []})
            parts[part].append(phrase.replace("{coin}", f"(?:{_COIN})"))
    return tuple(
        _Lure(reason, _any(parts["theme"]), _any(parts["call"]))
        for reason, parts in phrases.items()
    )


def _any(phrases: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)")


_LURES = _read_lures()
_TAG = re.compile(r"[$#@](?=[^\W\d_])\w+")
_WORD = re.compile(r"[^\W\d_]{2,}")


def spam_reason(text: str, kind: TextKind) -> SpamReason | None:
    """Return why a text is spam by what it says; None where it is not.

    Parameters
    ----------
    text
        In normal form.
    kind
        A headline needs more to be spam than a post.

    Examples
    --------
    >>> spam_reason("1 BTC GIVEAWAY! Follow me and retweet this to enter", "post")
    'giveaway'
    >>> spam_reason("Scammers promise a giveaway to followers of the exchange", "news") is None
    True
    """
    said = text.casefold()
    needed = 2 if kind == "news" else 1
    for lure in _LURES:
        theme = lure.theme.search(said)
        if theme is None:
            continue
        calls = {call[0] for call in lure.call.finditer(said) if not _within(call, theme)}
        if len(calls) >= needed:
            return lure.reason
    return "tags" if _is_heap_of_tags(text) else None


def _within(call: re.Match[str], theme: re.Match[str]) -> bool:
    """Whether the words of a call are those of the theme: they count once."""
    return theme.start() <= call.start() and call.end() <= theme.end()


def _is_heap_of_tags(text: str) -> bool:
    links = len(LINK.findall(text))
    rest = LINK.sub(" ", text)
    tags = len(_TAG.findall(rest)) + links
    return tags > MOST_TAGS and len(_WORD.findall(_TAG.sub(" ", rest))) < tags


class PostingWatch:
    """Counts what accounts post, by the times that the source states.

    The same posts in the same order give the same answers. Memory is bounded: the accounts and
    texts that were silent longest are forgotten.

    Parameters
    ----------
    repeats
        So many equal posts of an account within `repeat_ns` are allowed.
    repeat_ns
        Nanoseconds.
    hourly
        So many posts of an account within an hour are allowed.
    accounts
        So many accounts may say the same, in `FEW_WORDS` words or more, within `burst_ns`.
    burst_ns
        Nanoseconds.
    capacity
        Most accounts, and most texts, remembered.
    """

    def __init__(
        self,
        *,
        repeats: int = 2,
        repeat_ns: int = 24 * 3_600 * NS_PER_S,
        hourly: int = 30,
        accounts: int = 4,
        burst_ns: int = 600 * NS_PER_S,
        capacity: int = 20_000,
    ) -> None:
        self._repeats, self._repeat_ns = repeats, repeat_ns
        self._hourly = hourly
        self._accounts, self._burst_ns = accounts, burst_ns
        self._capacity = capacity
        self._posts: OrderedDict[str, deque[tuple[int, int]]] = OrderedDict()
        self._said: OrderedDict[int, deque[tuple[int, str]]] = OrderedDict()

    def reason(self, item: TextItem) -> SpamReason | None:
        """Count a text, and return why it is spam by who posts it; None where it is not.

        Parameters
        ----------
        item
            In normal form. News, and posts without an author, are never spam here.
        """
        if item.kind != "post" or not item.author:
            return None
        said = words(item.content)
        text = zlib.crc32("\0".join(said).encode())
        time = item.published_at
        of_account = _entry(self._posts, item.author, self._capacity, self._hourly)
        equal = sum(other == text and abs(time - at) <= self._repeat_ns for at, other in of_account)
        in_an_hour = sum(abs(time - at) <= 3_600 * NS_PER_S for at, _ in of_account)
        of_account.append((time, text))
        if len(said) < FEW_WORDS:
            others: Sequence[str] = ()
        else:
            of_text = _entry(self._said, text, self._capacity, 8 * self._accounts)
            others = [who for at, who in of_text if abs(time - at) <= self._burst_ns]
            of_text.append((time, item.author))
        if equal >= self._repeats:
            return "repeated"
        if in_an_hour >= self._hourly:
            return "flood"
        return "burst" if len({*others, item.author}) > self._accounts else None


def _entry(held: OrderedDict[K, deque[V]], key: K, capacity: int, length: int) -> deque[V]:
    """Return what is remembered under a key, as the newest; forget what is oldest."""
    found = held.setdefault(key, deque(maxlen=length))
    held.move_to_end(key)
    if len(held) > capacity:
        held.popitem(last=False)
    return found
