"""Which language: the likeliest one, and the one that is sure."""

from __future__ import annotations

import pytest

from engine.texts.language import LANGUAGES, language_of, sure_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bitcoin slides below its average as traders wait", "en"),
        ("Der Bitcoin-Kurs fällt unter die Marke von zwanzigtausend Dollar", "de"),
        ("El precio de bitcoin cae por debajo de los veinte mil dólares", "es"),
        ("Биткоин упал ниже двадцати тысяч долларов", "ru"),
        ("ビットコインが急落", "ja"),
    ],
)
def test_language_of_a_sentence_is_told_and_sure(text: str, language: str) -> None:
    assert language_of(text) == sure_language(text) == language
    assert language in LANGUAGES


@pytest.mark.parametrize(
    "text", ["", "$BTC!", "🚀🚀", "https://x.io/abcdefghijklmn", "42,000", "gm"]
)
def test_language_of_too_little_is_not_told(text: str) -> None:
    assert language_of(text) is None
    assert sure_language(text) is None


@pytest.mark.parametrize("slang", ["gm ser, wen lambo", "lfg moon soon hodl", "gm frens wagmi"])
def test_sure_language_of_slang_is_english(slang: str) -> None:
    assert sure_language(slang) == "en"
