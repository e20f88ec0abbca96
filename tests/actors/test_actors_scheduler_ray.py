"""The scheduler as an actor of a real cluster: a real job, submitted once though it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import ray

from engine.actors.agent_port import note_own_address, own_agent_port
from engine.actors.placement import NAMESPACE, kill, place
from engine.actors.scheduler import Scheduler
from engine.actors.wiring import Wiring
from engine.config import Config, RetentionConfig, load_config
from engine.domain.schedule import ScheduledRun
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schedule_book import ScheduleBook
from engine.store.schema import migrate
from tests.local_ray import own_ray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sched-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    home = EmbeddedStore(folder / "data" / "store")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


@pytest.fixture(scope="module")
def jobs_url() -> Iterator[str]:
    with ExitStack() as stack:
        with own_agent_port():
            context = stack.enter_context(
                own_ray(include_dashboard=True, dashboard_host="127.0.0.1", namespace=NAMESPACE)
            )
        note_own_address(Path(context.address_info["session_dir"]).parent)
        yield f"http://{context.dashboard_url}"


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return load_config(
        overrides=[
            f"data_dir={folder / 'data'}",
            "schedule=[{name: nightly, job: report, every: 1d}]",
        ],
        environment={},
    )


def until(look: Callable[[], Any], seconds: float = 180) -> Any:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing seen in {seconds} s; the last look gave {found!r}")


def test_scheduler_killed_while_its_job_runs_goes_on_with_it(
    store: Store, jobs_url: str, config: Config
) -> None:
    book = ScheduleBook(store)
    actor = place(
        Scheduler, "scheduler", config, Wiring(store.endpoint, ""), jobs_url, True, near_head=True
    )
    ray.get(actor.start.remote(), timeout=120)
    assert [one.origin for one in book.schedules().values()] == ["configuration"]
    now = time.time_ns()
    book.note(ScheduledRun("nightly", now, True, "asked", "", 1, 0, None, None, "", now))

    def state() -> str:
        return book.last_runs()["nightly"].state

    until(lambda: state() != "asked")
    before = ray.get(actor.report.remote(), timeout=30)
    os.kill(before.pid, signal.SIGKILL)

    def anew() -> Any:
        try:
            return ray.get(actor.report.remote(), timeout=30)
        except ray.exceptions.RayActorError:
            return None

    after = until(anew)
    assert (after.phase, after.incarnation != before.incarnation) == ("created", True)
    ray.get(actor.start.remote(), timeout=120)
    until(lambda: state() not in ("submitting", "running"))
    run = book.last_runs()["nightly"]
    # There is nothing to rank in this store: the job ran, and said so itself.
    assert run.state == "failed"
    assert "neither a signal nor a row of features" in run.problem
    ran = store.query_arrow("SELECT submission_id, outcome FROM job_runs FINAL")
    assert ran.to_pylist() == [{"submission_id": run.submission_id, "outcome": "failed"}]
    assert msgspec.structs.asdict(run)["attempt"] == 1
    ray.get(actor.drain.remote(), timeout=60)
    kill(actor, restart=False)
