"""Languages: English or not, or too little to tell."""

from __future__ import annotations

import pytest

from engine.quality.language import LanguageCount, count_languages, languages_of


@pytest.mark.parametrize(
    "text",
    [
        "Bitcoin Returns Above USD 20K, Ethereum Rallies, CEL Keeps Outperforming",
        "$TSLA Daddy's drinkin' eArly tonight! Here's to a PT of ohhhhh $1000 in 2020!",
        "SPICEJET TO ISSUE WARRANTS TO PROMOTERS",
        "paradigm leads $225 million round for monad labs",
    ],
)
def test_language_of_english_is_english(text: str) -> None:
    assert languages_of([text]) == ["english"]


@pytest.mark.parametrize(
    "text",
    [
        "El precio de bitcoin cae por debajo de los veinte mil dólares",
        "Der Bitcoin-Kurs fällt unter die Marke von zwanzigtausend Dollar",
        "Биткоин упал ниже двадцати тысяч долларов",
        "比特币跌破两万美元",
        "ビットコインが急落",
        "Le bitcoin passe sous la barre des vingt mille dollars",
    ],
)
def test_language_of_another_one_is_other(text: str) -> None:
    assert languages_of([text]) == ["other"]


@pytest.mark.parametrize(
    "text", ["", "$BTC", "🚀🚀🚀", "https://t.co/abcdefghijk", "@someone_else 42"]
)
def test_language_of_too_little_is_untold(text: str) -> None:
    assert languages_of([text]) == ["untold"]


def test_count_languages_counts_by_source_and_day() -> None:
    found = count_languages(
        [
            ("wire", 0, "a", "Traders wait for the decision of the central bank"),
            ("wire", 0, "b", "Los inversores esperan la decisión del banco central"),
            ("wire", 0, "c", "$BTC"),
            ("posts", 9, "d", "Traders wait for the decision of the central bank"),
        ]
    )
    assert found == {
        ("wire", 0): LanguageCount(texts=3, told=2, foreign=["b"]),
        ("posts", 9): LanguageCount(texts=1, told=1, foreign=[]),
    }
    found["wire", 0].add(LanguageCount(2, 1, ["e"]))
    assert found["wire", 0] == LanguageCount(texts=5, told=3, foreign=["b", "e"])
