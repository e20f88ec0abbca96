"""Which language is sure: every other one, and never slang."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import SimulatorConfig
from engine.simulator.news import NewsProcess
from engine.texts.language import LANGUAGES, sure_language

HEADLINES = [
    line.split("\t")
    for line in Path(__file__).with_name("foreign_headlines.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
TOO_SHORT = {
    "Zuhan a bitcoin árfolyama",
    "Bitcoin prudce klesá",
    "Le bitcoin s'effondre",
    "El bitcoin se desploma",
    "O bitcoin despenca hoje",
    "Bitcoini hind langes järsult",
    "Bitcoin se prys val skerp",
    "Pri bitcoin tonbe anpil jodi a",
}
NEIGHBOURS = {
    "Bei ya bitcoin yashuka sana leo": "ha",
    "Cena bitcoinu prudko klesla": "hr",
    "Harga bitcoin jatuh teruk hari ini": "id",
    "Цена биткоина нагло пада": "mk",
    # Somali is not among those that are told.
    "Qiimaha bitcoin ayaa hoos u dhacay maanta": "tl",
    "Maalgashadayaashu way ku faraxsan yihiin in qiimaha bitcoin uu aad kor ugu kacay": "ha",
}


@pytest.mark.parametrize(("language", "text"), HEADLINES)
def test_sure_language_of_a_foreign_headline_is_told(language: str, text: str) -> None:
    expected = "en" if text in TOO_SHORT else NEIGHBOURS.get(text, language)
    assert sure_language(text) == expected
    assert expected in LANGUAGES


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bitcoin slides below its average as traders wait", "en"),
        ("The Philippines: Bangko Sentral ng Pilipinas to teach the public about money", "en"),
        ("Skanska AB reports Q4 results", "en"),
        ("Der Bitcoin-Kurs fällt unter die Marke von zwanzigtausend Dollar", "de"),
        ("El precio de bitcoin cae por debajo de los veinte mil dólares", "es"),
    ],
)
def test_sure_language_of_a_sentence_is_told_by_more_than_its_names(
    text: str, language: str
) -> None:
    assert sure_language(text) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("рост", "ru"),
        ("ירידה 🚀", "he"),
        ("πτώση", "el"),
        ("暴涨", "zh"),
        ("Πτώση για το BTC", "el"),
        ("BTC: ירידה חדה", "he"),
        ("Bitcoin: Ціна стрімко впала", "uk"),
    ],
)
def test_sure_language_of_another_script_is_never_english_however_short(
    text: str, language: str
) -> None:
    assert sure_language(text) == language


@pytest.mark.parametrize(
    "text", ["", "$BTC!", "🚀🚀", "https://x.io/abcdefghijklmn", "42,000", "gm", "Ξ 🚀", "ʙᴛᴄ 𝗯𝘁𝗰"]
)
def test_sure_language_of_too_little_is_not_told(text: str) -> None:
    assert sure_language(text) is None


@pytest.mark.parametrize(
    "slang",
    [
        "gm ser, wen lambo",
        "lfg moon soon hodl",
        "gm frens wagmi",
        "haha hahaha hahahaha hahahahaha",
        "hodl hodl hodl hodl hodl hodl",
        "lambo lambo lambo lambo",
        "its ovr 4 da bears lads",
        "SHIB DOGE PEPE BONK FLOKI WIF to da moon",
        "🚀🚀✈️✈️🛩🛩🔥🔥🔥🇺🇸🇺🇸🇺🇸 never bet against it",
        "ʙɪᴛᴄᴏɪɴ ɪs ɢᴏɪɴɢ ᴜᴘ, 𝗯𝘂𝘆 𝘁𝗵𝗲 𝗱𝗶𝗽",
    ],
)
def test_sure_language_of_slang_is_english(slang: str) -> None:
    assert sure_language(slang) == "en"


def test_sure_language_of_a_simulated_text_is_english_or_too_short_to_tell() -> None:
    config = SimulatorConfig()
    day = 86_400 * 10**9
    events = NewsProcess(config).texts(config.epoch_ns, config.epoch_ns + day)
    told = [(sure_language(each.title), each.title) for each in events]
    assert len(told) > 1_000
    assert [title for language, title in told if language not in ("en", None)] == []
