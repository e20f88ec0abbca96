"""The one reader of texts: what it reads, what it cuts, what it cannot say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actors.text_reading import open_text_reader, spoken_of
from engine.config import Config
from engine.domain.text import text_content
from engine.errors import ConfigError, InstrumentError
from engine.sentiment.base import TextSentiment
from engine.sentiment.reading import MAX_CHARACTERS, KnownText, TextQuery, TextReader
from engine.sentiment.registry import sentiment_model
from engine.sentiment.scoring import score_texts
from engine.sources.mentions import MentionFinder
from engine.texts.language import sure_language
from engine.texts.normalise import normalise

READER = open_text_reader("lexicon", Config())


def read(text: str, instrument: str | None = None) -> tuple[float | None, str | None, bool]:
    (found,) = READER.read([TextQuery(text, instrument)])
    return (
        found.sentiment.score if found.sentiment else None,
        found.language,
        found.truncated,
    )


def test_reader_of_an_english_text_gives_the_models_own_reading() -> None:
    text = "Bitcoin breaks $70k on huge inflows"
    (own,) = sentiment_model("lexicon").score([text])
    assert READER.opinions([KnownText(text, ["BTC-USDT"])]) == [(own, ())]
    (reading,) = READER.read([TextQuery(text)])
    assert reading.sentiment == own
    assert [each.instrument for each in reading.instruments] == ["BTC-USDT"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", None),
        ("   ", None),
        ("\x00\x01\x02 bullish", None),
        ("\ufffd\ufffd\ufffd moon", None),
        ("Le cours du bitcoin s'effondre encore, panique sur les marchés", "fr"),
        ("Цена биткоина упала", "ru"),
        ("Bitcoin stiger till ny rekordnivå", "sv"),
        ("ירידה", "he"),
        ("بيتكوين يرتفع بقوة اليوم", "ar"),
    ],
)
def test_reader_of_what_cannot_be_read_says_unknown(text: str, language: str | None) -> None:
    assert read(text) == (None, language, False)
    assert READER.opinions([KnownText(text, [])]) == [None]


@pytest.mark.parametrize(
    "text", ["wagmi frens", "green green green 💚💚 wen lambo", "No volume, no buyers", "gm 🚀"]
)
def test_reader_takes_slang_for_no_other_language(text: str) -> None:
    assert read(text)[1] in ("en", None)


def test_reader_of_every_language_reads_what_the_model_can() -> None:
    reader = TextReader(
        sentiment_model("lexicon"), normalise, sure_language, MentionFinder([]), languages=()
    )
    spanish = KnownText("El precio del bitcoin cae con fuerza tras la noticia", [])
    assert reader.opinions([spanish]) != [None]


def test_reader_cuts_long_texts_and_says_so() -> None:
    text = "Bitcoin is bullish. " * 300
    assert read(text)[2] is True
    assert read(text)[0] == read(text[:MAX_CHARACTERS])[0]
    assert read(text[:MAX_CHARACTERS])[2] is False


class FiveCharacters:
    """A model that reads five characters of a text."""

    name = "five-1"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        return [TextSentiment.of(0.5, 0.25) for _ in texts]

    def truncates(self, text: str) -> bool:
        return len(text) > 5


def test_reader_says_where_the_model_itself_stops() -> None:
    reader = TextReader(FiveCharacters(), normalise, sure_language, MentionFinder([]))
    found = reader.read([TextQuery("short"), TextQuery("longer")])
    assert [reading.truncated for reading in found] == [False, True]


@pytest.mark.parametrize(
    ("text", "instrument", "score"),
    [
        ("ETH will flip BTC", "ETH-USDT", 0.5),
        ("ETH will flip BTC", "BTC-USD-PERP", -0.5),
        ("ETH soars", "BTC-USDT", None),
        ("PEPE hacked", "1000PEPE-USDT-PERP", -0.5423),
    ],
)
def test_reader_reads_towards_the_instrument_asked_for(
    text: str, instrument: str, score: float | None
) -> None:
    (found,) = READER.read([TextQuery(text, instrument)])
    assert (found.sentiment and found.sentiment.score) == score
    assert (found.instruments[0].instrument, found.instruments[0].score) == (instrument, score)


def explained(text: str, instrument: str | None) -> list[str]:
    (found,) = READER.read([TextQuery(text, instrument, True)])
    assert found.explanation is not None
    return [word for word, _ in found.explanation]


def test_reader_explains_the_score_that_it_shows() -> None:
    text = "Bitcoin crashes while Ethereum rallies"
    assert explained(text, None) == ["crashes", "rallies"]
    assert explained(text, "BTC-USDT") == ["crashes"]
    assert explained(text, "ETH-USDT") == ["rallies"]
    assert explained(text, "SOL-USDT") == [], "it says nothing of it"
    assert explained("Bitcoin crashes", "ETH-USDT") == []
    assert explained("Bitcoin crashes", "BTC-USDT") == ["crashes"]
    assert explained("what a crash", "BTC-USDT") == ["crash"]


def test_reader_refuses_a_name_that_is_no_instrument() -> None:
    with pytest.raises(InstrumentError, match="BTCUSDT"):
        READER.read([TextQuery("a", "BTCUSDT")])


def test_reader_of_an_unknown_model_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="'gut' is unknown"):
        open_text_reader("gut", Config())


def test_spoken_of_is_one_instrument_of_each_configured_asset() -> None:
    exchanges = {"binance": {"instruments": ["BTC-USDT"]}, "kraken": {"instruments": ["BTC-USD"]}}
    assert spoken_of(Config.model_validate({"exchanges": exchanges})) == ["BTC-USDT"]
    assert spoken_of(Config()) == []


def scores_of(text: str, instrument: str | None = None) -> dict[str, float | None]:
    exchanges = {"binance": {"instruments": ["BTC-USDT", "ETH-USDT"]}}
    reader = open_text_reader("lexicon", Config.model_validate({"exchanges": exchanges}))
    (found,) = reader.read([TextQuery(text, instrument)])
    return {each.instrument: each.score for each in found.instruments}


def test_reader_names_an_asset_without_a_configured_instrument_against_usdt() -> None:
    assert scores_of("ETH will flip SOL") == {"ETH-USDT": 0.5, "SOL-USDT": -0.5}
    assert scores_of("ETH will flip SOL", "SOL-USD") == {"SOL-USD": -0.5, "ETH-USDT": 0.5}
    assert list(scores_of("Tether depegs, PEPE crashes")) == ["USDT-USD", "PEPE-USDT"]


def test_reader_finds_the_asset_asked_for_that_nobody_has_heard_of() -> None:
    assert scores_of("ETH crashes, $ZKJ soars") == {"ETH-USDT": -0.0516}
    found = scores_of("ETH crashes, $ZKJ soars", "ZKJ-USDT")
    assert found == {"ZKJ-USDT": 0.4939, "ETH-USDT": -0.5267}
    assert scores_of("ETH crashes, ZKJ soars", "ZKJ-USDT") == found
    assert scores_of("ETH crashes, zkj soars", "ZKJ-USDT")["ZKJ-USDT"] is None
    (opinion,) = READER.opinions([KnownText("ETH crashes, $ZKJ soars", ["ETH-USDT", "ZKJ-USDT"])])
    assert opinion is not None
    assert opinion.targets == (), "what is stored knows the list alone"


WORDS = ("Bitcoin", "ETH", "rally", "crash", "🚀", "not", "hacked", "$SOL", "but", "and", "gm.")
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_live_batch_and_single_readings_are_equal_to_the_bit(texts: list[str]) -> None:
    together = READER.read([TextQuery(text, "BTC-USDT", True) for text in texts])
    alone = [READER.read([TextQuery(text, "BTC-USDT", True)])[0] for text in texts]
    assert together == alone
    ids = [str(number) for number in range(len(texts))]
    contents = [text_content(text, "") for text in texts]
    readings = READER.read([TextQuery(text) for text in contents])
    about = [[each.instrument for each in reading.instruments] for reading in readings]
    stored = score_texts(READER, ids, texts, [""] * len(texts), about, 7)
    rows = {row.text_id: row for row in stored}
    for text_id, reading in zip(ids, readings, strict=True):
        if reading.sentiment is None:
            assert text_id not in rows
            continue
        row = rows[text_id]
        assert msgspec.structs.replace(row, targets=()) == reading.sentiment.row(
            text_id, READER.name, 7
        )
        said = {each.instrument: each.score for each in reading.instruments}
        told = {each.instrument: each.score for each in row.targets}
        assert told == said or (not told and set(said.values()) <= {row.score})


def test_stored_opinion_tells_the_assets_of_a_text_apart() -> None:
    instruments = ["ETH-USDT", "BTC-USDT", "SOL-USDT"]
    known = KnownText("ETH will flip BTC, mark my words", instruments)
    (opinion,) = READER.opinions([known])
    assert opinion is not None
    good, bad = opinion.targets  # the source says SOL too, the text does not name it
    assert (good.instrument, good.label) == ("ETH-USDT", "bullish")
    assert (bad.instrument, bad.label) == ("BTC-USDT", "bearish")


def test_reading_body_has_the_shape_of_the_api() -> None:
    (reading,) = READER.read([TextQuery("Exchange hacked", None, True)])
    body = reading.body()
    assert list(body)[:4] == ["label", "score", "probabilities", "confidence"]
    assert list(body["probabilities"]) == ["bearish", "neutral", "bullish"]
    ((word, weight),) = [each.values() for each in body["explanation"]]
    assert (word, round(weight, 4)) == ("hacked", body["score"])


def test_readers_are_loaded_by_the_configuration() -> None:
    from engine.actors.text_reading import open_text_readers

    config = Config.model_validate({"sentiment": {"model": "lexicon", "models": ["lexicon"]}})
    assert asyncio.run(open_text_readers(config).versions()) == {"lexicon": "lexicon-1"}
