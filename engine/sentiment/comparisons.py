"""Who wins where a text sets one asset against another: ``ETH will flip BTC``.

Read from the words between two mentions, and for some from those before the first. Two kinds:

- one takes the other's place (``ETH flips BTC``, ``selling ETH for SOL``, ``long ETH, short
  BTC``, ``SOL > ETH``): good for one and as bad for the other;
- one does better than the other (``ETH outperforms BTC``, ``ETH lags BTC``): that says something
  of the one that the sentence is about, and little of the one it is measured by, which may do
  well too.

Mentions in a list (``ETH and SOL outperform BTC``) are on one side. A negation turns it round; a
hedge or a question leaves `HEDGED` of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.domain.text import Mention
from engine.sentiment.base import TextSentiment

STRENGTH = 0.5
"""Score of a winner, and with a minus of a loser: a comparison says which, not how much."""

LEANING = 0.2
"""Score of the one that another is measured by; its label is neutral."""

HEDGED = 0.6
"""What a hedge or a question leaves of it."""

REACH = 60
"""Characters between two mentions in which they are still compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison says of a mention."""

    index: int
    """Of the mention."""
    reading: TextSentiment
    is_decisive: bool
    """One takes the other's place: it cannot be good, or bad, for both."""


def _any(*words: str) -> str:
    return r"\b(?:" + "|".join(words) + r")\b"


def _within(count: int, *words: str) -> str:
    """Match one of the words with at most so many characters behind it, up to the end."""
    return _any(*words) + rf"[^.!?;\n]{{0,{count}}}$"


_LISTED = re.compile(r"(?:[\s,&/+$#()]|and|or|plus)*", re.IGNORECASE)
_BROKEN = re.compile(r"[.!?;|\n](?:\s|$)|" + _any("but", "while", "whereas", "as"), re.IGNORECASE)
_REPLACES = re.compile(
    _any(
        r"flip(?:s|ped|ping|pen|pening)?", r"dethron\w*", r"kill(?:s|ed|ing)?",
        r"replac(?:e|es|ed|ing)", r"destroy\w*", "instead of", "rather than",
        r"(?:better|stronger|safer|faster|cheaper) than", r"superior to",
    ) + r"|\s>+\s",
    re.IGNORECASE,
)  # fmt: skip
_IS_REPLACED = re.compile(
    _any(r"los(?:e|es|ing|t) (?:\w+ )?(?:out )?(?:to|against)",
         r"(?:weaker|worse|slower|riskier) than", r"inferior to") + r"|\s<+\s",
    re.IGNORECASE,
)  # fmt: skip
_OUTDOES = re.compile(
    _any(
        r"(?:out|over)(?:perform|shin|pac|tak|took|do)\w*", r"beat(?:s|en|ing)?", r"surpass\w*",
        r"eclips\w*", r"crush\w*", r"pass(?:es|ed)", "ahead of",
        r"(?:gain|ris|rally|climb|jump|surg|strengthen)\w* (?:ground )?(?:against|on|versus|vs)",
    ),
    re.IGNORECASE,
)  # fmt: skip
_IS_OUTDONE = re.compile(
    _any(
        r"underperform\w*", r"lag(?:s|ged|ging)?", r"trail(?:s|ed|ing)?", "behind",
        r"(?:fall|fell|drop|slid|slump|sink|weaken|bleed)\w* (?:against|versus|vs)",
    ),
    re.IGNORECASE,
)  # fmt: skip
_LEFT = re.compile(
    _within(
        24, r"sell(?:s|ing)?", "sold", r"dump(?:s|ed|ing)?", r"ditch(?:es|ed|ing)?", "out of",
        r"swap(?:s|ped|ping)?", r"rotat\w+", r"switch\w*", r"mov(?:e|es|ed|ing)",
        r"flow(?:s|ed|ing)?", r"shift\w*", r"exit(?:s|ed|ing)?", r"short(?:s|ed|ing)?",
        r"trim(?:s|med|ming)?",
    ),
    re.IGNORECASE,
)  # fmt: skip
_TAKEN_UP = re.compile(
    r"^\s*(?:(?:in)?to\b|for\b|->|→)|\binto\s*$|"
    + _within(
        12, r"buy(?:s|ing)?", "bought", r"long(?:s|ed|ing)?", r"load\w*", r"accumulat\w*",
        r"add(?:s|ed|ing)?", r"stack(?:s|ed|ing)?", "kept", r"keep(?:s|ing)?", "all in",
    ),
    re.IGNORECASE,
)  # fmt: skip
_PREFERRED = re.compile(
    _within(24, r"prefer\w*", r"choos\w*", "chose", r"pick(?:s|ed|ing)?", r"tak(?:e|es|ing)",
            r"favou?r(?:s|ed|ing)?"),
    re.IGNORECASE,
)  # fmt: skip
_CHOSEN = re.compile(
    _within(24, r"buy(?:s|ing)?", "bought", r"long(?:s|ed|ing)?", r"hold(?:s|ing)?"),
    re.IGNORECASE,
)
_PASSED_OVER = re.compile(r"^\s*(?:over|to|not)\b", re.IGNORECASE)
_GIVEN_AWAY = re.compile(
    r"^\s*over\b|^\s*(?:,|and)*\s*"
    + _any(r"short(?:s|ed|ing)?", r"sell(?:s|ing)?", "sold", r"dump(?:s|ed|ing)?"),
    re.IGNORECASE,
)
_NEGATION = re.compile(
    _any("not", "never", "cannot", "no longer", r"fail(?:s|ed|ing)? to", r"unlikely to")
    + r"|n['’]t\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    _any("can", "could", "may", "might", "maybe", "perhaps", "if", "possibly", "whether"),
    re.IGNORECASE,
)


def comparisons(text: str, mentions: Sequence[Mention]) -> list[Compared]:
    """Read what a text's comparisons say of the mentions they compare.

    Parameters
    ----------
    text
        As the mentions' positions count it.
    mentions
        Where it names which assets, in order.

    Returns
    -------
    list of Compared
        By pairs, in order; mentions that are compared with nothing are not among them.

    Examples
    --------
    >>> found = comparisons("ETH will flip BTC", [Mention(0, 3, "ETH"), Mention(14, 17, "BTC")])
    >>> [(each.index, each.reading.score) for each in found]
    [(0, 0.5), (1, -0.5)]
    """
    found: list[Compared] = []
    passed = 0
    for first, second in pairwise(_sides(text, mentions)):
        begin, end = mentions[first[0]].start, mentions[first[-1]].end
        between = text[end : mentions[second[0]].start]
        before = text[max(passed, begin - REACH) : begin]
        passed = end
        sign, is_decisive = _verdict(before, between)
        names = {mentions[index].name for index in first}
        if not sign or not names.isdisjoint(mentions[index].name for index in second):
            continue
        behind = re.split(r"[.!\n;]", text[mentions[second[0]].start :], maxsplit=1)[0]
        is_open = _HEDGE.search(between) or _HEDGE.search(before) or "?" in behind
        share = HEDGED if is_open else 1.0
        own = _reading(sign * STRENGTH * share, (1.0 - STRENGTH * share) / 2)
        other = _reading(-sign * STRENGTH * share, (1.0 - STRENGTH * share) / 2)
        if not is_decisive:
            other = _reading(-sign * LEANING * share, 0.6)
        found += [Compared(index, own, is_decisive) for index in first]
        found += [Compared(index, other, is_decisive) for index in second]
    return found


def _sides(text: str, mentions: Sequence[Mention]) -> list[list[int]]:
    """Group mentions that stand in one list."""
    sides: list[list[int]] = []
    for index, mention in enumerate(mentions):
        before = mentions[index - 1].end if index else 0
        if index and _LISTED.fullmatch(text, before, mention.start):
            sides[-1].append(index)
        else:
            sides.append([index])
    return sides


def _verdict(before: str, between: str) -> tuple[int, bool]:
    """Return 1 where the first side wins, -1 where it loses, 0 for neither; and if it decides."""
    if len(between) > REACH or _BROKEN.search(between):
        return 0, False
    given = _LEFT.search(before)
    taken = _CHOSEN.search(before)
    preferred = _PREFERRED.search(before)
    sign, is_decisive = 0, True
    if _REPLACES.search(between):
        sign = 1
    elif _IS_REPLACED.search(between):
        sign = -1
    elif (preferred and _PASSED_OVER.search(between)) or (taken and _GIVEN_AWAY.search(between)):
        sign = -1 if _is_negated(before, preferred or taken) else 1
    elif given and _TAKEN_UP.search(between):
        sign = 1 if _is_negated(before, given) else -1
    else:
        is_decisive = False
        sign = 1 if _OUTDOES.search(between) else -1 if _IS_OUTDONE.search(between) else 0
    return (-sign if _NEGATION.search(between) else sign), is_decisive


def _is_negated(before: str, verb: re.Match[str] | None) -> bool:
    """Whether a negation stands right before a verb (``not selling``)."""
    return bool(verb and _NEGATION.search(before, max(0, verb.start() - 10), verb.start()))


def _reading(score: float, neutral: float) -> TextSentiment:
    return TextSentiment.of(score, neutral)
