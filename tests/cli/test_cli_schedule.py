"""``engine schedule`` where no engine runs: the store alone keeps what is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from engine.cli.main import app
from engine.config import RetentionConfig
from engine.domain.schedule import ScheduledRun
from engine.errors import ConfigError, EngineError, NotRunningError
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schedule_book import ScheduleBook
from engine.store.schema import migrate

KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
MINUTE = 60_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def migrated(folder: Path) -> Iterator[Store]:
    home = EmbeddedStore(folder / "data" / "store")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def store(migrated: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for table in ("schedules", "schedule_runs"):
        migrated.command(f"TRUNCATE TABLE {table}")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ENGINE_STATE_DIR", str(folder / "state"))
    return migrated


def engine(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["schedule", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in json.loads(engine("list", "--json", *arguments))}


def test_schedule_added_is_listed_with_when_it_is_due(store: Store) -> None:
    said = engine("add", "nightly", "report", "--every", "30 2 * * *", "--set", "top=3")
    assert said.startswith("nightly: report, first due ")
    assert said.strip().endswith("02:30 UTC")
    line = listed()["nightly"]
    assert (line["job"], line["every"], line["set"]) == ("report", "30 2 * * *", {"top": 3})
    assert (line["origin"], line["catch_up"], line["last_state"]) == ("command", 1, None)
    assert line["next_due_at"].endswith("T02:30:00.000000Z")
    assert "no engine is running here" in engine()


def test_schedule_added_again_is_replaced(store: Store) -> None:
    engine("add", "a", "report", "--every", "1h")
    engine("add", "a", "build_candles", "--every", "1d", "--catch-up", "3")
    assert [(one["job"], one["catch_up"]) for one in listed().values()] == [("build_candles", 3)]


def test_schedule_paused_resumed_and_removed(store: Store) -> None:
    engine("add", "a", "report", "--every", "1h")
    assert "engine schedule resume a" in engine("pause", "a")
    assert (listed()["a"]["paused"], listed()["a"]["next_due_at"]) == (True, None)
    before = ScheduleBook(store).schedules()["a"].since
    assert "next due" in engine("resume", "a")
    after = ScheduleBook(store).schedules()["a"]
    assert not after.is_paused
    assert after.since > before
    engine("remove", "a")
    assert engine("list") == "nothing is on a schedule; see: engine schedule add --help\n"


def test_list_tells_how_the_last_run_ended_and_what_was_left_out(store: Store) -> None:
    engine("add", "a", "report", "--every", "1h")
    book = ScheduleBook(store)
    book.note(ScheduledRun("a", 60 * MINUTE, False, "done", "a-1", 1, 4, 1, 2, "", 1))
    book.note(
        ScheduledRun("a", 120 * MINUTE, False, "failed", "a-2", 1, 2, 0, 90 * 10**9, "no rows", 1)
    )
    line = listed()["a"]
    assert (line["last_state"], line["last_id"], line["problem"]) == ("failed", "a-2", "no rows")
    assert (line["last_due_at"], line["took_s"], line["left_out"]) == (
        "1970-01-01T02:00:00.000000Z",
        90.0,
        6,
    )
    head, row, problem, *_ = engine().splitlines()
    assert "left out" in head
    assert row.split()[:6] == ["a", "report", "1h", "01-01", "02:00", "failed"]
    assert problem == "a: no rows"


def test_list_fits_a_terminal_of_80_columns(store: Store) -> None:
    engine("add", "nightly", "build_features", "--every", "*/5 * * * *")
    ScheduleBook(store).note(
        ScheduledRun("nightly", 60 * MINUTE, True, "done", "n-1", 1, 0, 1, 12 * 10**9, "", 1)
    )
    shown = engine()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "left out" not in shown


def test_list_shows_what_the_configuration_would_start(store: Store) -> None:
    found = listed("--set", "report.every=1h", "--set", "data_dir=data")
    assert (found["report"]["origin"], found["report"]["last_state"]) == ("configuration", None)


def test_list_without_any_store_is_of_the_configuration_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert listed() == {}
    assert set(listed("--set", "report.every=1h")) == {"report"}


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        (["add", "a", "reprot", "--every", "1h"], ConfigError, "no job 'reprot'; did you mean"),
        (["add", "a", "report", "--every", "7h"], ConfigError, "every '7h' is not a whole part"),
        (["add", "a", "report", "--every", "1h", "--set", "topp=3"], ConfigError, "'topp'"),
        (["add", "a b", "report", "--every", "1h"], ConfigError, "'a b' is no name for a schedule"),
        (["remove", "b"], ConfigError, "there is no schedule 'b'; known: none"),
        (["pause", "b"], ConfigError, "there is no schedule 'b'; known: none"),
        (["run", "b"], NotRunningError, "no engine is running here to run it"),
        (["list", "--set", "report.every=x"], ConfigError, "report.every: every 'x' is no recur"),
    ],
)
def test_schedule_asked_for_wrongly_says_what_is_wrong(
    store: Store, arguments: list[str], kind: type[EngineError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        engine(*arguments)
    assert listed() == {}


def test_schedule_of_the_configuration_is_not_changed_by_the_command(store: Store) -> None:
    engine("add", "a", "report", "--every", "1h")
    book = ScheduleBook(store)
    held = book.schedules()["a"]
    store.command("TRUNCATE TABLE schedules")
    book.put(msgspec.structs.replace(held, origin="configuration"))
    for arguments in (["add", "a", "report", "--every", "1d"], ["remove", "a"]):
        with pytest.raises(ConfigError, match="schedule 'a' is one of the configuration"):
            engine(*arguments)
