"""One form for equal texts: what a reader sees, and nothing that only machines see.

Two forms. `normalise` is the text that is stored, matched with instruments and scored: HTML
entities decoded, Unicode's compatibility form (NFKC: ``𝗕𝗧𝗖`` is ``BTC``), no control characters,
nothing of zero width but what holds an emoji together, runs of blanks as one, links without the
parameters that follow their readers around. `words` is what two texts are compared by: lower
case, without links, signs and the commas within numbers; cashtags and emoji stay.
"""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"']+", re.IGNORECASE)
"""A link, up to the next blank, bracket or quote."""

MOST_PASSES = 8
"""Feeds escape twice, a joke three times: what is escaped deeper loses its ampersands."""

_JOINER, _EMOJI_STYLE, _KEYCAP = "\u200d", "\ufe0f", "\u20e3"
_BLACK_FLAG = "\U0001f3f4"
_LINE_ENDS = frozenset("\x0b\x0c\r\x85\u2028\u2029")
_TRACKING = re.compile(
    r"utm_\w+|fbclid|gclid|igshid|mc_[ce]id|ref_src|ref_url|cmpid", re.IGNORECASE
)
_NESTED = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r" ?\n[ \n]*")
_PLAIN = re.compile(r"[ -~]*")
# Controls, formats, fillers, selectors, halves of surrogates, private use: most are not seen.
_UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff]"
)
_WORD = re.compile(r"\$[^\W\d_]\w*|[^\W_]+(?:['’][^\W_]+)*%?|\S")
_GROUPED = re.compile(r"(?<=\d)[,’'](?=\d{3}(?!\d))")


def normalise(text: str) -> str:
    r"""Return a text as it is stored, matched and scored.

    Every text is taken, and the form is idempotent: ``normalise(normalise(text))`` is
    ``normalise(text)``. Half a surrogate becomes U+FFFD. Line breaks stay, one at a time: they
    part a headline from what follows it.

    Examples
    --------
    >>> normalise("Bit\u200bcoin &amp;amp; 𝗘𝗧𝗛  rally\x00 🚀 https://x.io/a?id=7&utm_source=mail")
    'Bitcoin & ETH rally 🚀 https://x.io/a?id=7'
    """
    # A pass may bring out what the next one takes: a full-width "＆amp;", say.
    for _ in range(MOST_PASSES):
        once = _pass(text)
        if once == text:
            return text
        text = once
    text = text.replace("&", "")
    while (once := _pass(text)) != text:
        text = once
    return text


def _pass(text: str) -> str:
    if "&" in text:
        text = html.unescape(_NESTED.sub("&", text))
    if "?" in text:
        text = LINK.sub(lambda link: _untracked(link[0]), text)
    if not _PLAIN.fullmatch(text):
        text = unicodedata.normalize("NFKC", _UNSEEN.sub(_seen, text))
    return _BLANK_LINES.sub("\n", _BLANKS.sub(" ", text)).strip()


def _seen(sign: re.Match[str]) -> str:
    """Return what a reader sees of a character: a break, a blank, its part in an emoji, nothing."""
    unseen = sign[0]
    if unseen in _LINE_ENDS:
        return "\n"
    if unseen == "\t":
        return " "
    if "\ud800" <= unseen <= "\udfff":
        return "\ufffd"
    before = sign.string[max(0, sign.start() - 1) : sign.start()]
    behind = sign.string[sign.end() : sign.end() + 1]
    return unseen if _holds_emoji(unseen, before, behind) else ""


def _holds_emoji(unseen: str, before: str, behind: str) -> bool:
    """Whether a character joins emoji, gives one its style, or names a flag."""
    if unseen == _EMOJI_STYLE:
        return _is_pictorial(before) or (behind == _KEYCAP and before in "0123456789#*")
    if unseen == _JOINER:
        return (_is_pictorial(before) or before == _EMOJI_STYLE) and _is_pictorial(behind)
    return _is_flag_letter(unseen) and (before == _BLACK_FLAG or _is_flag_letter(before))


def _is_pictorial(sign: str) -> bool:
    """Whether it may be an emoji; new ones are in no table of Python's yet."""
    if "\U0001f000" <= sign <= "\U0001fffd":
        return True
    return sign > "\xa0" and unicodedata.category(sign) in ("So", "Sm")


def _is_flag_letter(sign: str) -> bool:
    """Whether it is one of the unseen letters in the flags of England, Scotland and Wales."""
    return "\U000e0020" <= sign <= "\U000e007f"


def _untracked(link: str) -> str:
    """Return a link without the parameters that say where its reader came from."""
    try:
        parts = urlsplit(link)
        if not _TRACKING.search(parts.query):
            return link
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return link
    kept = [(name, value) for name, value in pairs if not _TRACKING.fullmatch(name)]
    return link if kept == pairs else urlunsplit(parts._replace(query=urlencode(kept)))


def words(text: str) -> list[str]:
    """Return what a text is compared by.

    Parameters
    ----------
    text
        In normal form.

    Examples
    --------
    >>> words("Bitcoin hits $70,000! 🚀 $BTC via https://x.io/1")
    ['bitcoin', 'hits', '70000', '🚀', '$btc', 'via']
    """
    bare = _GROUPED.sub("", LINK.sub(" ", text).casefold())
    return [word for word in _WORD.findall(bare) if len(word) > 1 or _says_something(word)]


def _says_something(sign: str) -> bool:
    return sign.isalnum() or unicodedata.category(sign) == "So" or _is_pictorial(sign)
