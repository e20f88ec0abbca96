"""Kinds of text that the dynamic ensemble tells apart, by the text alone.

A model is not told where a text comes from, so the kind is what it looks like.
"""

from __future__ import annotations

import re

LONG_WORDS = 14
"""From so many words on a text is long: about the median of headlines and posts."""

KINDS = ("news short", "news long", "post short", "post long")

# Signs of a person speaking: names for traders, oneself and others, emoji, cries, slang.
_PERSONAL = re.compile(
    r"(?<!\w)[$#@][A-Za-z]\w*"
    r"|[!?]{2,}|!\s*$|!\s|\.\.\.|…|[\U0001F000-\U0001FAFF\u2600-\u27BF]"
    r"|\b(?:i|im|i'm|i’m|i'd|i'll|i’ll|i've|i’ve|me|my|mine|we|we're|us|our|u|ur|you|your|you're|"
    r"ya|y'all|guys|anon|fam|bro|ser|lol|lmao|lfg|wtf|omg|imo|imho|tbh|ngl|idk|smh|gm|gn|nfa|dyor|"
    r"ngmi|wagmi|hodl|rekt|rn|gonna|wanna|gotta|ain't|dont|cant|yeah|nah|yep|haha|fuck\w*|shit\w*|"
    r"damn)\b",
    re.IGNORECASE,
)


def is_post(text: str) -> bool:
    """Whether a text looks like a post rather than a headline.

    Examples
    --------
    >>> is_post("my $ETH bag is cooked"), is_post("Ether slides as funds see outflows")
    (True, False)
    """
    return _PERSONAL.search(text) is not None


def kind_of(text: str) -> str:
    """Return the kind of a text, one of `KINDS`."""
    style = "post" if is_post(text) else "news"
    return f"{style} {'long' if len(text.split()) >= LONG_WORDS else 'short'}"
