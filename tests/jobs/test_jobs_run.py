"""Runs of jobs on a real Ray and a real store: recorded however they end, submitted and stopped."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest
import ray
from ray import cloudpickle
from ray._private import services, worker
from typer.testing import CliRunner

from engine.actors.agent_port import note_own_address, own_agent_port
from engine.actors.job_environment import token_header
from engine.actors.placement import NAMESPACE
from engine.actors.submission import JobServer
from engine.cli.job_listing import join
from engine.cli.main import app
from engine.clock import SystemClock
from engine.code_version import ROOT, code_version
from engine.config import Config
from engine.domain.job import JobBlock, JobRun
from engine.errors import ConfigError, EngineError, StartError
from engine.job_request import AGAIN, JOBS, RUN_ID, load_job_config
from engine.job_summary import Summary
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.job_runs import (
    ENDED_EARLY,
    LOST,
    is_gone,
    recent_runs,
    record_ended_early,
    run_of,
)
from engine.store.tables import table_named
from jobs.run import command, running
from tests.local_ray import own_ray

pytestmark = pytest.mark.ray
PROGRAMS = Path(sys.executable).parent
# Workers cannot import a test file: what they run of it travels whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    yield home
    home.stop()


@pytest.fixture(scope="module")
def config(home: EmbeddedStore) -> Config:
    return Config.model_validate({"store": {"url": home.endpoint.url}})


@pytest.fixture(scope="module")
def jobs_url(home: EmbeddedStore) -> Iterator[str]:
    """A cluster with its job API; its machines know the store's password, and which Python."""
    os.environ["ENGINE__STORE__URL"] = home.endpoint.url
    path = os.environ["PATH"]
    with ExitStack() as stack:
        with own_agent_port():
            os.environ["PATH"] = os.pathsep.join((str(PROGRAMS), path))
            context = stack.enter_context(
                own_ray(include_dashboard=True, dashboard_host="127.0.0.1", namespace=NAMESPACE)
            )
        note_own_address(Path(context.address_info["session_dir"]).parent)
        os.environ["PATH"] = path
        del os.environ["ENGINE__STORE__URL"]
        yield f"http://{context.dashboard_url}"


@pytest.fixture
def store(config: Config, home: EmbeddedStore) -> Iterator[Store]:
    with running("report", config):
        pass  # makes the tables
    with Store(home.endpoint) as store:
        yield store


def until(look: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing seen in {seconds} s")


def last(store: Store) -> JobRun:
    return recent_runs(store, 1)[0]


# How a run ends


def test_run_that_ends_is_recorded_with_its_counts(config: Config, store: Store) -> None:
    with running("report", config) as run:
        assert run_of(store, run.run_id).outcome == "running"  # type: ignore[union-attr]
        run.wrote("candles", 5)
        run.wrote("candles", 2)
        run.skip("delisted", 3)
        run.note("as of", "now")
    found = last(store)
    assert (found.run_id, found.job, found.outcome) == (run.run_id, "report", "done")
    assert (found.rows, found.skipped, found.problem) == (7, 3, "")
    assert (found.host, found.pid) == (socket.gethostname(), os.getpid())
    assert found.ended_at is not None
    assert found.ended_at > found.started_at
    assert "***" in json.loads(found.config)["store"]["url"]
    assert store.endpoint.password not in found.config
    summary = Summary.from_dict(json.loads(found.details))
    assert (summary.written, summary.skipped) == ({"candles": 7}, {"delisted": 3})


def test_run_with_a_problem_of_its_own_fails_and_keeps_its_counts(
    config: Config, store: Store
) -> None:
    with running("report", config) as run:
        run.wrote("candles", 5)
        run.summary.problem = "the gate is closed"
    assert (last(store).outcome, last(store).rows) == ("failed", 5)
    assert last(store).problem == "the gate is closed"


def test_mistake_of_a_job_keeps_its_trace_and_is_recorded(config: Config, store: Store) -> None:
    with pytest.raises(ZeroDivisionError), running("report", config):
        1 / 0  # noqa: B018 - that is the mistake
    assert last(store).problem == "ZeroDivisionError: division by zero"


def test_interrupted_run_is_recorded_as_stopped(config: Config, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), running("report", config):
        raise KeyboardInterrupt
    assert last(store).outcome == "stopped"


def test_run_that_was_killed_is_found_lost_by_the_next(config: Config, store: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    now = SystemClock().now_ns()
    row = JobRun("killed", "report", "", "{}", "1", now, None, "running", "", 0, 0, "{}", now,
                 socket.gethostname(), ended.pid)  # fmt: skip
    store.insert("job_runs", [row])
    with running("report", config):
        pass
    found = run_of(store, "killed")
    assert found is not None
    assert (found.outcome, found.problem) == ("lost", LOST)


def test_job_that_was_stopped_before_it_began_is_recorded_by_who_stopped_it(
    config: Config, store: Store
) -> None:
    with running("report", config) as run:
        pass
    now = SystemClock().now_ns()
    stopped = {run.run_id: "report", "backfill-early": "backfill"}
    (early,) = record_ended_early(store, stopped, now)
    assert run_of(store, "backfill-early") == early
    assert (early.job, early.outcome, early.problem) == ("backfill", "stopped", ENDED_EARLY)
    assert (early.submission_id, early.started_at, early.ended_at) == ("backfill-early", now, now)
    assert run_of(store, run.run_id).outcome == "done"  # type: ignore[union-attr]
    assert record_ended_early(store, stopped, now + 1) == []


def test_units_that_are_done_are_known_unless_all_is_to_be_done_again(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = JobBlock("report", "u1", "f1", "t", 3, 3, "r", SystemClock().now_ns())
    store.insert_arrow("job_blocks", table_named("job_blocks").to_arrow([block]), None)
    with running("report", config) as run:
        assert run.done_units() == {"u1": {"f1"}}
        monkeypatch.setenv(AGAIN, "1")
        assert run.done_units() == {}


# Errors from anywhere in the cluster


def run_report(config: Config, work: Callable[[], object]) -> None:
    with running("report", config) as run:
        run.ray()
        work()


def in_a_task(raise_it: Callable[[], object]) -> None:
    ray.get(ray.remote(raise_it).remote())


def in_a_batch(raise_it: Callable[[], object]) -> None:
    def each(batch: pa.Table) -> pa.Table:
        raise_it()
        return batch

    ray.data.range(4, override_num_blocks=2).map_batches(each, batch_format="pyarrow").materialize()


def wrong_file() -> None:
    raise ConfigError("x.parquet lacks the column close")


def mistake() -> float:
    return 1 / 0


def sudden_death() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("place", [in_a_task, in_a_batch])
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (wrong_file, ConfigError, "x.parquet lacks the column close"),
        (mistake, EngineError, "a task failed with ZeroDivisionError: division by zero"),
    ],
)
def test_error_in_the_cluster_arrives_as_one_sentence(
    jobs_url: str,
    config: Config,
    store: Store,
    place: Callable[[Callable[[], object]], None],
    fault: Callable[[], object],
    kind: type[EngineError],
    words: str,
) -> None:
    with pytest.raises(EngineError) as caught:
        run_report(config, lambda: place(fault))
    assert type(caught.value) is kind
    assert str(caught.value) == words
    assert (last(store).outcome, last(store).problem) == ("failed", words)


def test_worker_that_dies_is_told_as_such(jobs_url: str, config: Config, store: Store) -> None:
    task = ray.remote(max_retries=0)(sudden_death)
    with pytest.raises(StartError, match="ended without a word"):
        run_report(config, lambda: ray.get(task.remote()))
    assert last(store).outcome == "failed"


def test_sigterm_while_waiting_for_a_task_stops_the_run(
    jobs_url: str, config: Config, store: Store
) -> None:
    driver = os.getpid()

    @ray.remote
    def stop_the_driver() -> None:
        os.kill(driver, signal.SIGTERM)
        time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    waiting = []

    def wait() -> None:
        waiting.append(stop_the_driver.remote())
        ray.get(waiting)

    with pytest.raises(KeyboardInterrupt):
        run_report(config, wait)
    ray.cancel(waiting[0], force=True)
    assert last(store).outcome == "stopped"
    assert signal.getsignal(signal.SIGTERM) == before


# Which store


def test_run_on_an_engines_cluster_works_on_the_engines_store(
    jobs_url: str, home: EmbeddedStore, store: Store
) -> None:
    endpoint = home.endpoint

    @ray.remote
    class Supervisor:
        async def store_endpoint(self) -> object:
            return endpoint

    supervisor = Supervisor.options(name="supervisor", namespace=NAMESPACE).remote()
    try:
        ray.get(supervisor.store_endpoint.remote())
        masked = f"http://someone:***@{endpoint.host}:{endpoint.port}/{endpoint.database}"
        for url in ("embedded", masked):
            with running("report", Config.model_validate({"store": {"url": url}})) as run:
                assert run.endpoint == endpoint
            assert last(store).run_id == run.run_id
    finally:
        ray.kill(supervisor)


def test_password_that_nobody_knows_is_asked_for(jobs_url: str) -> None:
    config = Config.model_validate({"store": {"url": "http://a:***@127.0.0.1:1/engine"}})
    with pytest.raises(ConfigError, match="set ENGINE__STORE__URL"), running("report", config):
        pass


def test_store_in_the_folder_of_a_submitted_job_is_refused(
    jobs_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN_ID, "report-1")
    with pytest.raises(ConfigError, match="name a store"), running("report", Config()):
        pass


# The command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("path is missing"), 2, "error: path is missing"),
        (StartError("no space"), 3, "error: no space"),
        (KeyboardInterrupt(), 130, "stopped before it was done"),
    ],
)
def test_command_exits_as_its_job_ends(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(config: Config) -> Summary:
        raise error

    assert command("report", main, []) == code
    assert words in capsys.readouterr().err


def test_command_prints_its_summary_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    def main(config: Config) -> Summary:
        return Summary("report", "report-1", "done", written={"candles": config.report.top})

    assert command("report", main, ["--set", "top=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 4


# Submission


def submitted_backfill(server: JobServer, home: EmbeddedStore) -> tuple[str, socket.socket]:
    """Submit a job that waits for a venue which never answers."""
    venue = socket.create_server(("127.0.0.1", 0))
    config = load_job_config(
        "backfill",
        None,
        ["exchange=kraken", "instruments=[BTC-USD]", "begin=2026-01-01",
         f"store.url={home.endpoint.url}", f"rest_url=http://127.0.0.1:{venue.getsockname()[1]}"],
        {},
    )  # fmt: skip
    return server.submit("backfill", config), venue


def running_row(store: Store, name: str) -> JobRun | None:
    found = run_of(store, name)
    return found if found is not None and found.outcome == "running" else None


def test_submitted_job_that_is_stopped_is_recorded_as_stopped(
    jobs_url: str, home: EmbeddedStore, store: Store
) -> None:
    server = JobServer(jobs_url)
    name, venue = submitted_backfill(server, home)
    with venue:
        until(lambda: running_row(store, name))
        assert server.stop(name)
        assert server.wait(name, 60).state == "stopped"
    found = run_of(store, name)
    assert found is not None
    assert (found.run_id, found.submission_id, found.outcome) == (name, name, "stopped")
    assert not server.stop(name)
    (listed,) = [each for each in join(server.all(), [found], is_gone) if each.id == name]
    assert listed.state == "stopped"


def test_submitted_job_that_is_killed_is_listed_as_lost(
    jobs_url: str, home: EmbeddedStore, store: Store
) -> None:
    server = JobServer(jobs_url)
    name, venue = submitted_backfill(server, home)
    with venue:
        row = until(lambda: running_row(store, name))
        psutil.Process(row.pid).kill()
        assert server.wait(name, 60).state == "failed"
    assert [each.state for each in join(server.all(), [row], is_gone) if each.id == name] == [
        "lost"
    ]


def test_job_is_submitted_once_under_one_id_and_fails_with_its_exit_code(
    jobs_url: str, home: EmbeddedStore, store: Store
) -> None:
    server = JobServer(jobs_url)
    config = load_job_config(
        "import_candles", None, ["path=none.parquet", f"store.url={home.endpoint.url}"], {}
    )
    assert server.submit("import_candles", config, run_id="twice") == "twice"
    assert server.submit("import_candles", config, run_id="twice") == "twice"
    ended = server.wait("twice", 120)
    assert (ended.job, ended.state, ended.exit_code) == ("import_candles", "failed", 2)
    assert len([each for each in server.all() if each.submission_id == "twice"]) == 1
    assert "none.parquet" in server.log("twice").splitlines()[-1]
    assert server.one("never") is None
    assert not server.stop("never")


def hourly_file(folder: Path, symbol: str) -> Path:
    path = folder / f"{symbol}-1h.csv"
    rows = [f"{1_700_000_000 // 3600 * 3600 + hour * 3600},1,2,0.5,1.5,9" for hour in range(3)]
    path.write_text("\n".join(("time,open,high,low,close,volume", *rows)))
    return path


def closes(store: Store, instrument: str) -> list[float]:
    found = store.query_arrow(
        "SELECT close FROM candles FINAL WHERE instrument = {name:String} ORDER BY open_time",
        {"name": instrument},
    )
    return list(found.column("close").to_pylist())


def test_job_for_a_cluster_elsewhere_takes_its_code_and_the_clusters_token_along(
    jobs_url: str,
    home: EmbeddedStore,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", (Path.home() / ".ray" / "auth_token").read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path))  # no engine of this machine is known
    path, url = hourly_file(tmp_path, "BTCUSDT"), home.endpoint.url
    done = CliRunner().invoke(app, [
        "submit", "import_candles", "--address", jobs_url, "--wait", "--json",
        "--set", f"path={path}", "--set", f"store.url={url}",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["job"], told["state"]) == ("import_candles", "done")
    run = run_of(store, told["id"])
    assert run is not None
    assert (run.submission_id, run.outcome, run.rows) == (told["id"], "done", 3)
    assert run.code_version == code_version()
    assert "***" in json.loads(run.config)["store"]["url"]
    assert closes(store, "BTC-USDT") == [1.5] * 3
    job = httpx.get(f"{jobs_url}/api/jobs/{told['id']}", headers=token_header()).json()
    assert job["entrypoint"] == "python -m jobs.import_candles"
    assert job["runtime_env"]["working_dir"].startswith("gcs://")


def test_job_that_rays_own_command_submits_is_recorded_with_a_hash_of_its_code(
    jobs_url: str, store: Store, tmp_path: Path
) -> None:
    path = hourly_file(tmp_path, "ETHUSDT")
    done = subprocess.run(
        [PROGRAMS / "ray", "job", "submit", "--address", jobs_url, "--working-dir", ".", "--",
         "python", "-m", "jobs.import_candles", "--config", "configs/live.yaml",
         "--set", f"path={path}"],
        cwd=ROOT, env={**os.environ, "RAY_AUTH_MODE": "token"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = last(store)
    assert (found.job, found.outcome, found.rows) == ("import_candles", "done", 3)
    assert f"'{found.submission_id}' succeeded" in done.stdout
    assert found.run_id in done.stdout
    for name in ("engine", "jobs", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert found.code_version == code_version(tmp_path)
    assert "+src." in found.code_version
    assert closes(store, "ETH-USDT") == [1.5] * 3


def test_job_joins_its_own_cluster_where_another_runs_on_the_machine(
    jobs_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ray.get_runtime_context().gcs_address
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: ("127.0.0.1:1", own))
    folder = worker._global_node.get_temp_dir_path()
    # What Ray asks in the process that starts a job, with the folder of its cluster.
    assert services.canonicalize_bootstrap_address_or_die("auto", folder) == own


def test_token_that_is_wrong_is_one_sentence(
    jobs_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(StartError, match="does not know this token"):
        JobServer(jobs_url)


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_module_that_is_a_command(job: str) -> None:
    module = import_module(f"jobs.{job}")
    assert callable(module.main)
    found = re.search(r"raise SystemExit\(command\((.+), main\)\)", inspect.getsource(module))
    assert found is not None
    assert found[1] in (f'"{job}"', "JOB")
    assert getattr(module, "JOB", job) == job
