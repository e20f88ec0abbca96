"""The gate before the models: rejected texts are written down, credibility is taken up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from actors_fakes import config_for

from engine.actors.text_gate import TextGate
from engine.clock import parse_iso_utc
from engine.domain.credibility import SourceCredibility
from engine.domain.text import TextItem
from engine.errors import StoreUnavailable
from engine.metrics import REGISTRY

T0 = parse_iso_utc("2026-01-05T00:00:00Z")
HEADLINE = "Regulator approves the first spot fund after a decade of refusals"


class Stored:
    """What was measured, or a store that does not answer."""

    def __init__(self) -> None:
        self.rows: list[SourceCredibility] = []
        self.is_down = False
        self.asked: list[str] = []

    def source_credibility(self, model: str, version: str) -> list[SourceCredibility]:
        self.asked.append(model)
        if self.is_down:
            raise StoreUnavailable("the store does not answer")
        return [row for row in self.rows if row.version == version]


class Sink:
    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}

    async def put(self, table: str, rows: Sequence[Any]) -> None:
        self.rows.setdefault(table, []).extend(rows)


def text(name: str, title: str, source: str = "gate-wire", author: str = "") -> TextItem:
    kind = "post" if author else "news"
    return TextItem(name, source, kind, title, "", "", author, T0, T0, 0.0, 0.5, ())


def gate(folder: Path, stored: Stored, sink: Sink, *overrides: str) -> TextGate:
    log = logging.getLogger("test.gate")
    return TextGate(config_for(folder, *overrides), stored, sink, lambda _: (), log)


async def test_gate_sets_rejected_texts_aside_and_counts_them(tmp_path: Path) -> None:
    sink = Sink()
    door = gate(tmp_path, Stored(), sink)
    spam = text("b", "Giveaway! Retweet this and follow me to win", author="x")
    let_in = await door.admit([text("a", HEADLINE), spam, text("c", HEADLINE + "!")])
    assert [(item.text_id, item.duplicate_of) for item in let_in] == [("a", ""), ("c", "a")]
    assert [(row.source, row.reason) for row in sink.rows["quarantine"]] == [
        ("gate-wire", "spam: giveaway")
    ]
    assert door.details() == {
        "rejected": {"gate-wire": {"giveaway": 1}},
        "duplicates": {"gate-wire": 1},
    }
    labels = {"source": "gate-wire", "reason": "giveaway"}
    assert REGISTRY.get_sample_value("engine_rejected_texts_total", labels) == 1.0
    labels = {"source": "gate-wire"}
    assert REGISTRY.get_sample_value("engine_duplicate_texts_total", labels) == 1.0


async def test_gate_without_rejected_texts_writes_nothing(tmp_path: Path) -> None:
    sink = Sink()
    await gate(tmp_path, Stored(), sink).admit([text("a", HEADLINE)])
    assert sink.rows == {}


async def test_gate_resumed_knows_what_was_said_before(tmp_path: Path) -> None:
    door = gate(tmp_path, Stored(), Sink())
    door.resume([text("a", HEADLINE)])
    (found,) = await door.admit([text("b", HEADLINE)])
    assert found.duplicate_of == "a"


VERSION = "2 24h of 1h bars, half-life 90 d, prior 50, authors 5"


def known(right: float) -> SourceCredibility:
    return SourceCredibility(
        "gate-wire", "source", "", "m-1", VERSION, T0, right, 0.0, round(right), 0.5, 0.75
    )


async def weight(door: TextGate, name: str) -> float:
    (found,) = await door.admit([text(name, f"{HEADLINE} {name}")])
    return found.credibility


async def test_gate_learns_and_keeps_what_it_knew_while_the_store_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored()
    door = gate(tmp_path, stored, Sink())
    assert await weight(door, "1") == 0.5
    stored.rows = [known(50.0)]
    await door.learn("m-1")
    assert await weight(door, "2") == 0.75
    stored.is_down = True
    await door.learn("m-1")
    assert await weight(door, "3") == 0.75
    assert "credibility of sources stays as it was: the store does not answer" in caplog.text
    assert stored.asked == ["m-1", "m-1"]


async def test_gate_that_is_told_not_to_measure_does_not_ask(tmp_path: Path) -> None:
    stored = Stored()
    stored.rows = [known(50.0)]
    door = gate(tmp_path, stored, Sink(), "texts.measured_credibility=false")
    await door.learn("m-1")
    assert await weight(door, "1") == 0.5
    assert stored.asked == []


async def test_gate_rows_measured_by_other_settings_do_not_count(tmp_path: Path) -> None:
    stored = Stored()
    stored.rows = [known(50.0)]
    door = gate(tmp_path, stored, Sink(), "measure_credibility.horizon=4h")
    await door.learn("m-1")
    assert await weight(door, "1") == 0.5
