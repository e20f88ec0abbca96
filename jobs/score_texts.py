"""Sentiment of the stored texts that have none yet, by a pool of model replicas.

::

    python -m jobs.score_texts --config configs/local.yaml [--set begin=2026-01-01]
    engine submit score_texts --set replicas=4 --wait

Which texts lack a score of this version of the model is asked in the store, so a run that was
stopped is taken up where it was, whoever scored the rest. All rows of a run bear the moment that
it began: a batch that is scored twice, since its replica died, gives the same rows.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from engine.actors.placement import gpus
from engine.actors.text_reading import open_text_reader
from engine.config import Config
from engine.errors import StartError
from engine.job_request import AGAIN
from engine.sentiment.registry import can_use_gpu
from engine.sentiment.scoring import score_texts
from engine.store.columns import python_values
from engine.store.ray_data import ClickHouseSink, ClickHouseSource
from engine.store.tables import table_named
from jobs.priority import give_way
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

REPLICA_CPUS, READER_CPUS = 0.8, 0.1
"""Logical CPUs of a replica, and of a task that reads: with a replica on each core there is still
room for one, so the pool never waits for texts that cannot be read."""

REPLICAS_PER_READER = 8
"""A reader is many times as fast as a replica. More at a time than the cluster has cores, as their
small shares would allow, and Ray would start and end a process for each task."""

RESTARTS = 3
"""How often a replica that died is started again, and its batch tried again."""

TASKS_PER_REPLICA = 8
"""So that the last replica is not alone for long."""

SMALLEST_TASK = 512
"""Texts; a task costs some milliseconds."""

UNSCORED = (
    "(text_id NOT IN "
    "(SELECT text_id FROM sentiment_scores WHERE model = {model:String} "
    "AND text_id IN (SELECT text_id FROM texts "
    "WHERE available_at >= fromUnixTimestamp64Nano({_start:Int64}) "
    "AND available_at < fromUnixTimestamp64Nano({_end:Int64}))))"
)
"""Texts without a score of a model. `_start` and `_end` are a task's own
(`engine.store.key_ranges`): only scores of its own texts are looked for."""

COLUMNS = ("text_id", "title", "body", "instruments")
"""Of ``texts``: what a replica needs."""

EMPTY = "empty texts"
UNREADABLE = "texts in another language, or of links and names alone"


class TextScorer:
    """A replica: holds a model; scores batches of texts and stores the scores.

    It stores them itself: to hand them to a task that does would cost as much again.

    Parameters
    ----------
    model
        As `engine.sentiment.registry` knows it.
    config
        The whole configuration.
    scored_at
        Moment that the rows bear, UTC nanoseconds.
    sink
        Of ``sentiment_scores``.
    """

    def __init__(self, model: str, config: Config, scored_at: int, sink: ClickHouseSink) -> None:
        give_way()
        self._reader = open_text_reader(model, config)
        self._scored_at = scored_at
        self._sink = sink
        self._table = table_named("sentiment_scores")

    def __call__(self, texts: pa.Table) -> pa.Table:
        """Score a batch and store it.

        Parameters
        ----------
        texts
            With `COLUMNS`.

        Returns
        -------
        Table
            One row: how many ``texts`` there were, and how many of them were ``scored``, were
            ``empty`` and were ``unreadable``; they have no score.
        """
        ids, titles, bodies, instruments = (python_values(texts.column(name)) for name in COLUMNS)
        rows = score_texts(self._reader, ids, titles, bodies, instruments, self._scored_at)
        if rows:
            self._sink.write([self._table.to_arrow(rows)], None)
        scored = {row.text_id for row in rows}
        unread = [
            bool((title + body).strip())
            for text_id, title, body in zip(ids, titles, bodies, strict=True)
            if text_id not in scored
        ]
        counts = {
            "texts": texts.num_rows,
            "scored": len(rows),
            "empty": unread.count(False),
            "unreadable": unread.count(True),
        }
        return pa.table({name: [value] for name, value in counts.items()})


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be scored."""

    model: str
    """Its name in the configuration."""
    version: str
    """Its name with the version, as rows have it."""
    begin: int
    end: int
    """UTC nanoseconds of ``available_at``, ``[begin, end)``."""
    texts: int
    """How many there are."""
    where: str
    """Which of the texts in that time they are; empty for all of them."""
    config: Config
    """What replicas are told."""
    gpu_share: float
    """Of a GPU, for each replica; 0 for the CPU."""


def main(config: Config) -> Summary:
    """Score the texts that have no score.

    Raises
    ------
    ConfigError
        Where no model has that name.
    StartError
        Where more of a GPU is asked for than the cluster has.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("score_texts", config) as run:
        score(run)
        return run.summary


def score(run: Run, scorer: type[TextScorer] = TextScorer) -> None:
    """Do the work of a run.

    Parameters
    ----------
    run
        With the section ``score_texts``.
    scorer
        What a replica holds.
    """
    gpu_share = find_gpu_share(run)
    work = find_work(run, gpu_share)
    run.note("model", work.version)
    if not work.texts:
        return
    replicas = find_replicas(run, gpu_share)
    with step("texts", work.texts) as progress:
        for done in written(run, work, replicas, scorer).iter_rows():
            run.wrote("sentiment_scores", done["scored"])
            progress.advance(done["texts"], rows=done["scored"])
            for why, number in ((EMPTY, done["empty"]), (UNREADABLE, done["unreadable"])):
                if number:
                    run.skip(why, number)


def find_gpu_share(run: Run) -> float:
    """Return what of a GPU each replica takes; 0 where they score on the CPU.

    Raises
    ------
    ConfigError
        Where no model has that name.
    StartError
        Where the cluster has less than that.
    """
    asked: float | None = run.section.num_gpus
    name = _model_name(run)
    if not can_use_gpu(name, run.config.sentiment):
        if asked:
            run.note("num_gpus", f"{name} cannot use a GPU: none is reserved")
        return 0.0
    if asked == 0.0:
        return 0.0
    run.ray()
    there = gpus()
    if asked is None:
        return 1.0 if there >= 1.0 else 0.0
    if there < asked:
        held = f"only {there:g}" if there else "none"
        raise StartError(
            f"score_texts.num_gpus is {asked:g}, but the cluster has {held}; "
            "set it to 0 to score on the CPU, or name a cluster with GPUs in ray.address"
        )
    return asked


def find_work(run: Run, gpu_share: float) -> Work:
    """Ask the store what has no score of this version of the model.

    Parameters
    ----------
    run
        With the section ``score_texts``.
    gpu_share
        Of each replica: a model on a GPU reads to other bits, and is another version.
    """
    section = run.section
    name = _model_name(run)
    config = run.config if gpu_share else _on_cpu(run.config)
    version = _version_on_gpu(name, config, gpu_share) if gpu_share else _version(name, config)
    begin, end = section.moments()
    begin, end = begin or 0, min(end or run.started_at, run.started_at)
    (found,) = run.store.query_arrow(
        f"SELECT count() AS texts, countIf({UNSCORED}) AS unscored FROM texts FINAL "
        "WHERE available_at >= fromUnixTimestamp64Nano({_start:Int64}) "
        "AND available_at < fromUnixTimestamp64Nano({_end:Int64})",
        {"model": version, "_start": begin, "_end": end},
    ).to_pylist()
    # Where none has a score, as after an import, no task need look for them.
    if os.environ.get(AGAIN) or found["texts"] == found["unscored"]:
        return Work(name, version, begin, end, found["texts"], "", config, gpu_share)
    return Work(name, version, begin, end, found["unscored"], UNSCORED, config, gpu_share)


def _model_name(run: Run) -> str:
    name: str = run.section.model or run.config.sentiment.model
    return name


def _on_cpu(config: Config) -> Config:
    """Keep a model off a GPU that this process may see: replicas without a share see none.

    A device that the configuration names stays, unless the job was told to score on the CPU: if
    it is not there, the model says so.
    """
    if config.sentiment.hf.device and config.score_texts.num_gpus != 0.0:
        return config
    hf = config.sentiment.hf.model_copy(update={"device": "cpu"})
    sentiment = config.sentiment.model_copy(update={"hf": hf})
    return config.model_copy(update={"sentiment": sentiment})


def _version(name: str, config: Config) -> str:
    return open_text_reader(name, config).name


def _version_on_gpu(name: str, config: Config, share: float) -> str:
    """Ask where a replica would be: this process may be on a machine without a GPU."""
    asking: Any = ray.remote(_version).options(num_cpus=REPLICA_CPUS, num_gpus=share)
    version: str = ray.get(asking.remote(name, config))
    return version


def written(run: Run, work: Work, replicas: int, scorer: type[TextScorer]) -> Dataset:
    """Return the pipeline: read, then score and store; what comes out of it are counts."""
    section = run.section
    share = work.texts // (replicas * TASKS_PER_REPLICA)
    rows = min(section.batch_texts, max(share, SMALLEST_TASK))
    source = ClickHouseSource(
        run.endpoint,
        "texts",
        columns=COLUMNS,
        where=work.where,
        parameters={"model": work.version} if work.where else {},
        start=work.begin,
        end=work.end,
        rows_per_task=rows,
    )
    tasks = max(1, len(source.ranges))
    texts: Dataset = ray.data.read_datasource(
        source,
        override_num_blocks=tasks,
        num_cpus=READER_CPUS,
        concurrency=math.ceil(replicas / REPLICAS_PER_READER),
    )
    with warnings.catch_warnings():
        # Ray has no named parameter yet that bounds restarts; without a bound a replica that
        # cannot live is started for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        counts: Dataset = texts.map_batches(
            scorer,
            fn_constructor_kwargs={
                "model": work.model,
                "config": work.config,
                "scored_at": run.started_at,
                "sink": ClickHouseSink(run.endpoint, "sentiment_scores"),
            },
            # What a task read; on GPUs Ray wants to be told how much that is.
            batch_size=rows if work.gpu_share else None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                min_size=1, max_size=replicas, initial_size=min(replicas, tasks)
            ),
            num_cpus=REPLICA_CPUS,
            num_gpus=work.gpu_share or None,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    return counts


def find_replicas(run: Run, gpu_share: float) -> int:
    """Return how many replicas there may be.

    Parameters
    ----------
    run
        With the section ``score_texts``.
    gpu_share
        Of each, no more than the cluster has; 0 for the CPU.
    """
    cores, wanted = run.ray(), int(run.section.replicas)
    if not gpu_share:
        return wanted or cores
    fitting = int(gpus() / gpu_share)
    return min(wanted, fitting) if wanted else fitting


if __name__ == "__main__":
    raise SystemExit(command("score_texts", main))
