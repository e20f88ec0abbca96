"""The commands about jobs, without a cluster: what is refused, joined, followed and shown."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from engine.actors.job_environment import (
    entrypoint,
    job_environment,
    token_header,
    travelling_code,
)
from engine.actors.submission import JobServer, Submission
from engine.cli.job_following import BarView, Lines, follow
from engine.cli.job_listing import Listed, jobs_table, join, problem_in
from engine.cli.job_target import Target, find_target, read_job_config
from engine.cli.main import app
from engine.cli.runfile import Run, write_run
from engine.cli.submit import exit_code
from engine.code_version import ROOT, code_version
from engine.config import Config, load_config
from engine.domain.job import JobRun, Progress
from engine.errors import ConfigError, NotRunningError, StartError
from engine.job_request import (
    RUN_ID,
    TREE,
    job_config_from,
    load_job_config,
    new_run_id,
    portable,
)
from engine.job_summary import Summary
from engine.store.job_runs import is_gone

S = 1_000_000_000


def run_row(run_id: str, outcome: str = "done", **changes: object) -> JobRun:
    fields: dict[str, object] = {
        "run_id": run_id,
        "job": "report",
        "submission_id": run_id,
        "config": "{}",
        "code_version": "1",
        "started_at": 10 * S,
        "ended_at": None if outcome == "running" else 12 * S,
        "outcome": outcome,
        "problem": "",
        "rows": 7,
        "skipped": 0,
        "details": "{}",
        "version": 1,
        "host": "here",
        "pid": 5,
    }
    return JobRun(**{**fields, **changes})  # type: ignore[arg-type]


def submission(name: str, state: str = "running", **changes: object) -> Submission:
    fields: dict[str, object] = {
        "submission_id": name,
        "job": "report",
        "state": state,
        "started_at": 9 * S,
        "ended_at": None if state in ("waiting", "running") else 13 * S,
        "exit_code": None,
        "message": "",
    }
    return Submission(**{**fields, **changes})  # type: ignore[arg-type]


class Server:
    """Answers as a cluster would, one look after another."""

    def __init__(self, looks: list[tuple[Submission, str]]) -> None:
        self._looks = iter(looks)
        self._log = ""

    def wait(self, job_id: str, patience_s: float | None = None) -> Submission:
        found, self._log = next(self._looks)
        return found

    def log(self, job_id: str) -> str:
        return self._log


# What is asked for


@pytest.mark.parametrize(
    ("job", "overrides", "words"),
    [
        ("build_featurs", [], "there is no job 'build_featurs'; did you mean 'build_features'?"),
        ("zzz", [], "there is no job 'zzz'; there are backfill, import_candles"),
        (
            "build_features",
            ["instrumets=[A]"],
            "unknown key 'instrumets' of build_features; did you mean 'instruments'?",
        ),
        ("build_features", ["ranking.topp=1"], "unknown key 'ranking.topp'"),
        ("import_candles", [], "path is missing: name a file with --set path="),
        ("build_features", ["begin=2026-02-02", "end=2026-02-01"], "is not before end"),
    ],
)
def test_job_config_that_cannot_work_is_refused_before_submission(
    job: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_job_config(job, None, overrides, Target("", True, None))
    assert words in str(caught.value)


def test_skip_bad_is_refused_for_a_job_that_sets_no_rows_aside() -> None:
    done = CliRunner().invoke(app, ["submit", "report", "--skip-bad"])
    assert isinstance(done.exception, ConfigError)
    words = "--skip-bad: report sets no bad rows aside; that is for import_candles"
    assert str(done.exception) == words


def test_skip_bad_is_the_short_form_of_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str] | None] = []

    def refused(job: str, path: Path | None, overrides: list[str] | None, target: Target) -> None:
        given.append(overrides)
        raise ConfigError("seen")

    monkeypatch.setattr("engine.cli.submit.read_job_config", refused)
    monkeypatch.setattr("engine.cli.submit.find_target", lambda address: Target("", True, None))
    CliRunner().invoke(app, ["submit", "import_candles", "--set", "path=x.csv", "--skip-bad"])
    CliRunner().invoke(app, ["submit", "import_candles"])
    assert given == [["path=x.csv", "skip_bad=true"], None]


def test_job_config_without_a_file_is_that_of_the_running_engine() -> None:
    settings = json.dumps(portable(Config.model_validate({"ranking": {"neutral_band": 0.2}})))
    engine = Run(1, 0.0, "", "", "", "", "", "", "", (), (), "", True, settings=settings)
    config = read_job_config("report", None, ["top=3"], Target("http://x", True, engine))
    assert (config.ranking.neutral_band, config.report.top) == (0.2, 3)


def test_portable_config_round_trips_with_paths_written_out(tmp_path: Path) -> None:
    config = load_job_config("import_candles", None, ["path=../x/*.parquet"], {})
    tree = json.loads(json.dumps(portable(config, tmp_path / "below")))
    back = job_config_from("import_candles", tree, {})
    assert back.import_candles.path == str(tmp_path / "x" / "*.parquet")
    assert back.data_dir == str(tmp_path / "below" / "data")
    assert back.model_copy(
        update={"import_candles": config.import_candles, "data_dir": config.data_dir,
                "export_dataset": config.export_dataset}
    ) == config  # fmt: skip


def test_portable_config_writes_out_paths_in_lists(tmp_path: Path) -> None:
    own = ["sets=[{path: a.csv, weight: 2}, {path: /b.csv}]", "init=[c.safetensors]"]
    config = load_job_config("train_sentiment", None, own, {})
    tree = json.loads(json.dumps(portable(config, tmp_path)))
    back = job_config_from("train_sentiment", tree, {}).train_sentiment
    assert [one.path for one in back.sets] == [str(tmp_path / "a.csv"), "/b.csv"]
    assert [one.weight for one in back.sets] == [2.0, 1.0]
    assert back.init == (str(tmp_path / "c.safetensors"),)


@pytest.mark.parametrize(("given", "init"), [("", ()), ("a.safetensors", ("a.safetensors",))])
def test_config_that_an_earlier_engine_recorded_is_taken(given: str, init: tuple[str]) -> None:
    config = Config.model_validate({"train_sentiment": {"init": given}})
    assert config.train_sentiment.init == init


def test_portable_config_for_elsewhere_leaves_paths() -> None:
    config = load_job_config("import_candles", None, ["path=x.parquet"], {})
    assert portable(config)["import_candles"]["path"] == "x.parquet"
    assert portable(config)["data_dir"] == "data"


@pytest.mark.parametrize("name", ["local", "live"])
def test_shipped_configs_travel_unchanged(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml", (), {})
    assert job_config_from("report", portable(config), {}) == config


def test_password_stays_behind_and_is_taken_from_the_clusters_environment() -> None:
    url = "http://ann:se:cr%40et@db.example:8123/market"
    config = Config.model_validate({"store": {"url": url}, "bus": {"url": "redis://:pw@r:1/0"}})
    tree = portable(config)
    assert "se:cr" not in json.dumps(tree)
    assert tree["store"]["url"] == "http://ann:***@db.example:8123/market"
    assert tree["bus"]["url"] == "redis://:***@r:1/0"
    assert job_config_from("report", tree, {"ENGINE__STORE__URL": url}).store.url == url
    other = {"ENGINE__STORE__URL": "http://ann:x@elsewhere:8123/market"}
    assert job_config_from("report", tree, other).store.url == tree["store"]["url"]


def test_run_ids_of_one_second_differ() -> None:
    ids = {new_run_id("report") for _ in range(200)}
    assert len(ids) == 200
    assert all(each.startswith("report-20") for each in ids)


# What a job finds


def test_job_environment_holds_no_dollar_for_ray_to_replace() -> None:
    tree = portable(Config.model_validate({"data_dir": "/a/$HOME/${USER}"}))
    environment = job_environment(tree, "report-1", again=False, is_here=True)
    assert "$" not in environment[TREE]
    assert json.loads(environment[TREE]) == tree
    assert environment[RUN_ID] == "report-1"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_job_environment_elsewhere_has_no_path_of_this_machine() -> None:
    environment = job_environment(portable(Config()), "report-1", again=True, is_here=False)
    assert "PYTHONPATH" not in environment
    assert environment["ENGINE_JOB_AGAIN"] == "1"
    assert entrypoint("report", is_here=False) == "python -m jobs.report"
    assert travelling_code()["working_dir"] == str(ROOT)


def test_job_environment_tells_the_version_of_code_that_travels_and_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = job_environment({}, "report-1", again=False, is_here=False)
    assert elsewhere["ENGINE_JOB_CODE"] == code_version(ROOT)
    assert "ENGINE_JOB_CODE" not in job_environment({}, "report-1", again=False, is_here=True)
    monkeypatch.setattr("engine.actors.job_environment.ROOT", tmp_path)  # installed: runs its own
    assert travelling_code() == {}
    assert "ENGINE_JOB_CODE" not in job_environment({}, "report-1", again=False, is_here=False)


def test_job_environment_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes at most 100,000"):
        job_environment({"x": "y" * 100_001}, "report-1", again=False, is_here=True)


def test_token_is_looked_for_where_ray_looks(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-file\n")
    file = {"RAY_AUTH_TOKEN_PATH": str(path)}
    assert token_header(file) == {"Authorization": "Bearer from-file"}
    assert token_header({**file, "RAY_AUTH_TOKEN": "t"}) == {"Authorization": "Bearer t"}
    assert token_header({**file, "RAY_AUTH_MODE": "disabled"}) == {}
    assert token_header({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}) == {}


# Which cluster


def test_no_engine_and_no_address_is_said_with_exit_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path))
    with pytest.raises(NotRunningError, match="no engine is running here to take a job") as caught:
        find_target("").connect()
    assert caught.value.exit_code == 4


def test_engine_without_dashboard_is_said_to_take_no_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path))
    me = psutil.Process()
    write_run(Run(me.pid, me.create_time(), "", "", "", "", "", "", "", (), (), "", True))
    with pytest.raises(StartError, match=r"ray\.dashboard=true"):
        find_target("").connect()


def test_address_of_the_own_engine_is_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path))
    me = psutil.Process()
    write_run(
        Run(me.pid, me.create_time(), "", "", "", "", "", "", "", (), (), "", True,
            jobs_url="http://127.0.0.1:8265")
    )  # fmt: skip
    assert find_target("127.0.0.1:8265/").is_here
    assert not find_target("http://head:8265").is_here


def test_address_of_ray_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="jobs are submitted to the cluster's dashboard"):
        find_target("ray://head:10001")


def test_address_where_nothing_answers_is_one_sentence() -> None:
    with pytest.raises(StartError, match=r"no Ray cluster answers at http://127\.0\.0\.1:1 "):
        JobServer("http://127.0.0.1:1")


def test_cluster_that_asks_for_a_token_is_one_sentence() -> None:
    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"Unauthorized: Missing authentication token")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(StartError, match="asks for a token: set RAY_AUTH_TOKEN"):
                JobServer(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


# What is listed


def test_join_takes_the_record_of_a_submitted_job_and_lists_newest_first() -> None:
    found = join(
        [submission("report-2", "done"), submission("report-3", "waiting", started_at=20 * S)],
        [run_row("report-2"), run_row("report-1", started_at=S, ended_at=2 * S)],
        lambda run: False,
    )
    assert found == [
        Listed("report-3", "report", "waiting", 20 * S, None, 0, ""),
        Listed("report-2", "report", "done", 10 * S, 12 * S, 7, ""),
        Listed("report-1", "report", "done", S, 2 * S, 7, ""),
    ]


def test_join_says_lost_where_the_process_ended_without_a_word() -> None:
    (found,) = join([submission("a", "failed")], [run_row("a", "running")], lambda run: False)
    assert (found.state, found.ended_at) == ("lost", 13 * S)
    (found,) = join([], [run_row("a", "running")], lambda run: True)
    assert found.state == "lost"
    (found,) = join([], [run_row("a", "running")], lambda run: False)
    assert found.state == "running"


def test_join_says_why_a_job_failed_that_never_began() -> None:
    message = "failed with exit code 2, last available logs:\nerror: path is missing\n"
    (found,) = join([submission("a", "failed", message=message)], [], lambda run: False)
    assert (found.state, found.problem) == ("failed", "path is missing")


def test_join_leaves_out_what_is_no_job_of_ours() -> None:
    assert join([submission("x", job="")], [], lambda run: False) == []


def test_jobs_table_names_the_job_only_where_an_id_does_not() -> None:
    own = Listed("report-1", "report", "done", S, 2 * S, 7, "")
    foreign = Listed("raysubmit_1", "report", "done", S, 2 * S, 7, "")
    assert [c.header for c in jobs_table([own], 0).columns] == [
        "id", "state", "started", "took", "rows"
    ]  # fmt: skip
    assert "job" in [c.header for c in jobs_table([own, foreign], 0).columns]


@pytest.mark.parametrize(
    ("host", "began", "gone"),
    [
        ("here", None, True),  # no such process
        ("here", 9.0, False),  # began before the run: it is the run's
        ("here", 100.0, True),  # its number was given to another
        ("elsewhere", None, False),  # nothing is known of another machine
    ],
)
def test_run_is_gone_only_where_its_process_is(host: str, began: float | None, gone: bool) -> None:
    assert is_gone(run_row("a", "running"), host, lambda pid: began) is gone
    assert not is_gone(run_row("a", "done"), host, lambda pid: began)


@pytest.mark.parametrize("submissions", [[], [submission("report-1", "failed", ended_at=None)]])
@pytest.mark.parametrize(
    "run", [run_row("report-1", "running"), run_row("report-1", "lost", ended_at=99 * S)]
)
def test_jobs_table_lost_job_that_nobody_saw_end_took_an_unknown_time(
    submissions: list[Submission], run: JobRun
) -> None:
    listed = join(submissions, [run], lambda run: True)
    assert listed[0].ended_at is None
    for now in (20 * S, 50 * S):
        (took,) = next(c for c in jobs_table(listed, now).columns if c.header == "took").cells
        assert took == "–"


def test_jobs_table_running_job_takes_until_now_and_has_no_number_of_rows_yet() -> None:
    listed = join([], [run_row("report-1", "running")], lambda run: False)
    cells = {c.header: list(c.cells) for c in jobs_table(listed, 13 * S).columns}
    assert (cells["took"], cells["rows"]) == (["3.0 s"], ["–"])


def test_submit_without_a_job_names_them_all() -> None:
    done = CliRunner().invoke(app, ["submit"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("which job? there are backfill, import_candles, ")


# What is stopped


class Stoppable:
    """A cluster with one job, which Ray counts as stopped once it is asked to stop."""

    def __init__(self, is_over: bool) -> None:
        self._found = submission("report-1", "stopped" if is_over else "running")

    def one(self, name: str) -> Submission:
        return self._found

    def stop(self, name: str) -> bool:
        return True

    def wait(self, name: str, patience_s: float) -> Submission:
        return submission("report-1", "stopped")


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("done", "report-1 is over already: done"),
        ("running", None),
        ("stopped", None),
        (None, None),
    ],
)
def test_stop_of_a_job_that_recorded_its_end_says_what_it_recorded(
    monkeypatch: pytest.MonkeyPatch, is_over: bool, recorded: str | None, said: str | None
) -> None:
    monkeypatch.setattr(
        "engine.cli.jobs.find_target", lambda address: Target("http://x", True, None)
    )
    monkeypatch.setattr(Target, "connect", lambda self: Stoppable(is_over))
    monkeypatch.setattr(
        "engine.cli.jobs.run_recorded",
        lambda target, name: None if recorded is None else run_row(name, recorded),
    )
    done = CliRunner().invoke(app, ["stop", "report-1"])
    else_said = (
        "report-1 is over already: stopped"
        if is_over
        else "report-1: stopped; submitted again it does the rest"
    )
    assert (done.exit_code, done.output.strip()) == (0, said or else_said)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (("failed", "running"), "report-1: stopped; submitted again it does the rest"),
        (("failed", "stopped"), "report-2 is over already: failed"),
    ],
)
def test_stop_of_a_name_means_the_run_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, states: Sequence[str], told: str
) -> None:
    known = [submission(f"report-{2 - at}", state) for at, state in enumerate(states)]
    assert stopped("report", known, monkeypatch).output.strip() == told


def test_stop_of_a_name_that_several_runs_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [submission(name, "running") for name in ("report-2", "report-1")]
    refused = stopped("report", known, monkeypatch).exception
    assert isinstance(refused, ConfigError)
    assert str(refused) == "'report' may mean any of report-2, report-1, which all run; name one"


def stopped(name: str, known: Sequence[Submission], monkeypatch: pytest.MonkeyPatch) -> Result:
    """Ask for a stop on a cluster that knows these jobs, newest first."""
    server = Mock(**{"one.return_value": None, "all.return_value": known})
    server.wait.side_effect = lambda found, patience_s: submission(found, "stopped")
    monkeypatch.setattr(
        "engine.cli.jobs.find_target", lambda address: Target("http://x", True, None)
    )
    monkeypatch.setattr(Target, "connect", lambda self: server)
    monkeypatch.setattr("engine.cli.jobs.run_recorded", lambda target, name: None)
    return CliRunner().invoke(app, ["stop", name])


def test_problem_is_the_last_error_else_the_last_line() -> None:
    assert problem_in("error: a\nnoise\nerror: b\nend\n") == "b"
    assert problem_in("one\ntwo\n\n") == "two"
    assert problem_in("") == ""


# What is followed


@pytest.mark.parametrize("total", [None, 4_000])
def test_progress_line_reads_back(total: int | None) -> None:
    progress = Progress("a: b", 1_200, total, 893_000)
    assert Progress.parse(str(progress)) == progress


@pytest.mark.parametrize(
    "line", ["", "done in 15.8 s", "x: many of 3, 4 rows", "a: 1 of 2, 3 rows!"]
)
def test_progress_line_that_is_none_is_told(line: str) -> None:
    assert Progress.parse(line) is None


def test_follow_shows_each_line_once_and_the_unfinished_last(tmp_path: Path) -> None:
    looks = [
        (submission("a", "waiting"), ""),
        (submission("a"), "read\nhal"),
        (submission("a"), "read\nhalf a li"),
        (submission("a", "failed", exit_code=3), "read\nhalf a line\nerror: no"),
    ]
    out = io.StringIO()
    ended = follow(Server(looks), "a", Lines(Console(file=out)), sleep=lambda s: None)  # type: ignore[arg-type]
    assert out.getvalue() == "read\nhalf a line\nerror: no\n"
    assert exit_code(ended) == 3


def test_lines_tell_a_steps_progress_once_in_ten_seconds_and_its_end() -> None:
    moments = iter([0.0, 2.0, 4.0, 12.0, 13.0])
    out = io.StringIO()
    view = Lines(Console(file=out), only_progress=True, now=lambda: next(moments))
    for done in (1, 2, 3, 4, 5):
        view.line(f"months: {done} of 5, {done * 10} rows")
        view.line("something else")
    assert out.getvalue().splitlines() == [
        "months: 1 of 5, 10 rows", "months: 4 of 5, 40 rows", "months: 5 of 5, 50 rows"
    ]  # fmt: skip


def test_bars_move_with_the_lines_of_a_followed_job() -> None:
    view = BarView(Console(file=io.StringIO(), force_terminal=True), only_progress=True)
    for line in ("a: 1 of 4, 10 rows", "b: 3, 30 rows", "a: 4 of 4, 40 rows"):
        view.line(line)
    told = [(t.description, t.completed, t.total, t.fields["rows"]) for t in view.bars.tasks]
    assert told == [("a", 4, 4, 40), ("b", 3, None, 30)]


@pytest.mark.parametrize(
    ("state", "code", "exits"),
    [("done", 0, 0), ("failed", 2, 2), ("failed", None, 1), ("stopped", None, 130)],
)
def test_exit_code_is_that_of_the_job(state: str, code: int | None, exits: int) -> None:
    assert exit_code(submission("a", state, exit_code=code)) == exits


# What came of it


def test_summary_shows_counts_rates_and_brackets_as_they_are() -> None:
    found = Summary("report", "report-1", "failed", 12.0, 2.0, {"candles": 1_000}, {"[red]": 3})
    found.problem = "no [bold] file"
    out = io.StringIO()
    found.show(Console(file=out, width=100))
    text = out.getvalue()
    for words in (
        "report-1",
        "1,000",
        " 100 ",
        "skipped: [red]",
        "no [bold] file",
        "failed in 12.0 s",
    ):
        assert words in text


def test_summary_reads_back_and_passes_over_what_it_does_not_know() -> None:
    found = Summary("report", "report-1", "done", 12.0, 2.0, {"candles": 5}, {"late": 3}, {"a": 1})
    assert Summary.from_dict({**found.as_dict(), "new": 1}) == found
