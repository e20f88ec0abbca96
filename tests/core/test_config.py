"""The configuration: where values come from, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.config_command import markdown_table
from engine.config import Config, described_keys, load_config
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_config_without_anything_is_the_defaults() -> None:
    assert load_config(environment={}) == Config()


def test_config_later_source_wins(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("serve: {port: 1}\nranking: {sentiment_share: 0.1}\nbus: {prefix: file}\n")
    found = load_config(
        file,
        ["serve.port=3"],
        {"ENGINE__SERVE__PORT": "2", "ENGINE__RANKING__SENTIMENT_SHARE": "0.3", "OTHER": "x"},
    )
    assert (found.serve.port, found.ranking.sentiment_share, found.bus.prefix) == (3, 0.3, "file")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("storee.url=x", "unknown key 'storee'; did you mean 'store'?"),
        ("store.urll=x", "unknown key 'store.urll'; did you mean 'store.url'?"),
        ("share=1", "unknown key 'share'"),
        ("ranking.sentiment_share=2", "ranking.sentiment_share: Input should be less than"),
        ("exchanges.binance.instruments=[BTC]", "instrument 'BTC' is not of the form BASE-QUOTE"),
        ("exchanges.binance.instruments=[A-B, A-B]", "listed more than once: A-B"),
        ("exchanges.binance.shardz=1", "did you mean 'exchanges.binance.shards'?"),
        ("simulator.epoch=2026-01-01T00:00:00", "has no zone"),
        ("ranking.timeframe=4h", "ranking.timeframe 4h is not among features.timeframes (1m, 1h)"),
        ("serve", "is not of the form section.key=value"),
        ("serve.port.x=1", "serve.port: Input should be a valid integer"),
        ("serve.port={", "is not YAML"),
        ("replay.speed=-1", "speed must be above 0, or max"),
        ("sources=[{name: a, kind: rss}]", "source 'a' of kind rss needs a location"),
    ],
)
def test_config_mistake_is_named(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override], environment={})
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 2


def test_config_mistake_names_where_the_value_came_from(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("serve: {porrt: 1}\nranking: {sentiment_share: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(
            file,
            ["serve.prot=8001", "storee.url=x", "bus={prefx: a}"],
            {"ENGINE__METRICS__PORT": "-1"},
        )
    assert sorted(line.split("; did")[0] for line in str(caught.value).splitlines()) == sorted(
        [
            f"{file}: unknown key 'serve.porrt'",
            f"{file}: ranking.sentiment_share: Input should be less than or equal to 1 (given 3)",
            "--set: unknown key 'serve.prot'",
            "--set: unknown key 'storee'",
            "--set: unknown key 'bus.prefx'",
            "ENGINE__METRICS__PORT: metrics.port: Input should be greater than or equal to 0 "
            "(given -1)",
        ]
    )


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("label_outcomes.horizons=90m", "label_outcomes.horizons takes a list: write [90m]"),
        ("features.timeframes=1m, 1h", "features.timeframes takes a list: write [1m, 1h]"),
        ("sources={name: a}", "sources takes a list"),
    ],
)
def test_config_single_value_for_a_list_says_how_to_write_one(
    override: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override], environment={})
    assert str(caught.value) == f"--set: {complaint}"


def test_config_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=["serve.port=-1", "bus.prefx=a"], environment={})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("a: [", "line 1"), ("just words", "must hold sections"), ("\x00", "is not YAML")],
)
def test_config_file_that_is_no_tree_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config(file, environment={})
    assert str(file) in str(caught.value)


def test_config_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "absent.yaml", environment={})


@pytest.mark.parametrize("name", ["local.yaml", "live.yaml"])
def test_config_shipped_files_are_right(name: str) -> None:
    found = load_config(ROOT / "configs" / name, environment={})
    assert set(found.exchanges) >= {"binance", "coinbase", "kraken"}
    assert found.ranking.timeframe is Timeframe.H1


def test_config_every_key_says_what_it_is_for() -> None:
    undocumented = [
        key.name
        for key in described_keys()
        if not key.doc and not key.name.startswith("store.retention.")
    ]
    assert undocumented == []


def test_config_page_lists_every_key() -> None:
    assert markdown_table() in (ROOT / "docs" / "configuration.md").read_text()
