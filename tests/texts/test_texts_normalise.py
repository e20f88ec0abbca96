"""The normal form: what a reader sees, once and for all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.texts.normalise import normalise, words

FAMILY = "👨\u200d👩\u200d👧"
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", ""),
        ("Bitcoin falls", "Bitcoin falls"),
        ("𝗕𝗧𝗖 to the 𝓶𝓸𝓸𝓷", "BTC to the moon"),
        ("ＢＴＣ　ｕｐ ５％", "BTC up 5%"),
        ("Bit\u200bco\u00adin\ufeff", "Bitcoin"),
        ("\u202egnp.exe\u202c rally", "gnp.exe rally"),
        ("a\x00b\x07c\x1b[0m", "abc[0m"),
        ("tab\tand  two   blanks ", "tab and two blanks"),
        ("title\r\n\r\n\r\nbody\u2028more", "title\nbody\nmore"),
        ("AT&amp;T &lt;b&gt; &#36;BTC", "AT&T <b> $BTC"),
        ("&amp;amp;amp;lt;", "<"),
        ("＆amp;amp;", "&"),
        ("S&P 500 & co", "S&P 500 & co"),
        ("half a \ud83d pair", "half a \ufffd pair"),
        ("$BTC $eth #Sol @who", "$BTC $eth #Sol @who"),
        ("cafe\u0301", "café"),
    ],
)
def test_normalise_of_a_text_is_what_a_reader_sees(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    "emoji", ["🚀", "❤️", "👍🏽", "🇺🇸", "1️⃣", "👁️\u200d🗨️", "\U0001fae8", FAMILY, ENGLAND]
)
def test_normalise_of_an_emoji_keeps_all_of_it(emoji: str) -> None:
    assert normalise(f"up {emoji} now") == f"up {emoji} now"


@pytest.mark.parametrize("lone", ["a\u200db", "a\ufe0fb", "a\u20e3\ufe0f", "\u200d🚀"])
def test_normalise_of_a_joiner_that_joins_nothing_drops_it(lone: str) -> None:
    assert not {"\u200d", "\ufe0f"} & set(normalise(lone))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://x.io/a?utm_source=rss&id=7&fbclid=q", "https://x.io/a?id=7"),
        ("https://x.io/a?utm_source=rss", "https://x.io/a"),
        ("https://x.io/a?b=%20c&d=", "https://x.io/a?b=%20c&d="),
        ("http://[half?utm_a=1", "http://[half?utm_a=1"),
        ("https://x.io/a?id=7#part", "https://x.io/a?id=7#part"),
    ],
)
def test_normalise_of_a_link_takes_out_what_follows_its_readers(link: str, expected: str) -> None:
    assert normalise(f"read {link} now") == f"read {expected} now"


def test_normalise_of_entities_without_end_ends() -> None:
    nested = "&amp;"
    for _ in range(3_000):
        nested = nested.replace("a", f"&#{ord('a')};", 1) if nested.count("a") == 1 else nested
        nested = "&" + nested.removeprefix("&").replace("#97", "#&#57;7", 1)
    assert normalise(normalise(nested)) == normalise(nested)
    assert normalise("&" + "amp;" * 25_000) == "&"


RAW = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("&;#$@🚀❤\ufe0f\u200d\u200b\u20e3１＆ \n\t\r%?=amplt38xwh:/."),
    ),
    max_size=60,
)
PARTS = st.lists(
    st.sampled_from(
        ["&", "amp;", "#38;", "&lt;", "＆", "\u200b", "https://x.io/?utm_a=1", "&b=2", " ", "🚀",
         "\u200d", "\ufe0f", "ﬁ", "\n", "www.x.io?", "\u0301"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(RAW, PARTS))
def test_normalise_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert not any(sign < " " and sign != "\n" for sign in once)
    assert once == once.strip()
    once.encode()


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&?")))
def test_normalise_of_plain_ascii_words_is_the_same(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bitcoin Hits $70,000! https://x.io/1", ["bitcoin", "hits", "70000"]),
        ("SEC Approves Valkyrie’s ETF", ["sec", "approves", "valkyrie’s", "etf"]),
        ("$BTC #BTC BTC", ["$btc", "btc", "btc"]),
        ("up 5% 🚀🚀", ["up", "5%", "🚀", "🚀"]),
        ("... !!! —", []),
        ("https://x.io", []),
    ],
)
def test_words_of_a_text_are_what_it_is_compared_by(text: str, expected: list[str]) -> None:
    assert words(text) == expected
