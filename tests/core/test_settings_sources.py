import pytest

from engine.config import load_config
from engine.errors import ConfigError
from engine.settings.sources import SourceConfig


def load(*overrides):
    return load_config(overrides=overrides, environment={})


@pytest.mark.parametrize("kind", ["rss", "jsonl", "csv", "parquet"])
def test_source_without_a_location_is_refused_with_an_example(kind):
    with pytest.raises(ConfigError, match=f"of kind {kind} needs a location, for example locati"):
        load(f"sources=[{{name: a, kind: {kind}}}]")


@pytest.mark.parametrize("kind", ["reddit", "newsapi", "huggingface"])
def test_source_without_a_query_is_refused_with_an_example(kind):
    with pytest.raises(ConfigError, match=f"of kind {kind} needs a query, for example query: "):
        load(f"sources=[{{name: a, kind: {kind}}}]")


@pytest.mark.parametrize("kind", ["simulated", "cryptopanic", "coingecko"])
def test_source_that_can_do_without_is_taken(kind):
    (source,) = load(f"sources=[{{name: a, kind: {kind}}}]").sources
    assert source == SourceConfig(name="a", kind=kind)


def test_mood_of_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match=r"mood\.0\.kind: Input should be 'fear_greed', 'vix' or"):
        load("mood=[{kind: vixx}]")


def test_mood_named_twice_is_refused():
    with pytest.raises(ConfigError, match="mood names vix more than once"):
        load("mood=[{kind: vix}, {kind: vix, location: a.csv}]")


def test_sources_named_alike_are_refused():
    with pytest.raises(ConfigError, match="sources names a more than once"):
        load("sources=[{name: a, kind: simulated}, {name: a, kind: coingecko}]")
