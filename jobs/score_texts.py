"""Sentiment of the stored texts that have none yet, by a pool of model replicas.

::

    python -m jobs.score_texts --config configs/local.yaml [--set begin=2026-01-01]
    engine submit score_texts --set replicas=4 --wait

Which texts lack a score of this version of the model is asked in the store, so a run that was
stopped is taken up where it was, whoever scored the rest. All rows of a run bear the moment that
it began: a batch that is scored twice, since its replica died, gives the same rows.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from engine.actors.text_reading import open_text_reader
from engine.config import Config
from engine.errors import StartError
from engine.job_request import AGAIN
from engine.sentiment.scoring import score_texts
from engine.store.columns import python_values
from engine.store.ray_data import ClickHouseSink, ClickHouseSource
from engine.store.tables import table_named
from jobs.priority import give_way
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

REPLICA_CPUS, OTHER_CPUS = 0.8, 0.1
"""Logical CPUs of a replica, and of a task that reads or writes: with a replica on each core there
is still room for both, so the pool never waits for texts that cannot be read."""

RESTARTS = 3
"""How often a replica that died is started again, and its batch tried again."""

TASKS_PER_REPLICA = 8
"""So that the last replica is not alone for long."""

MOST_BATCHES = 16
"""Batches of one task at most: what is lost with a replica."""

UNSCORED = (
    "({again:Bool} OR text_id NOT IN "
    "(SELECT text_id FROM sentiment_scores WHERE model = {model:String} "
    "AND text_id IN (SELECT text_id FROM texts "
    "WHERE available_at >= fromUnixTimestamp64Nano({_start:Int64}) "
    "AND available_at < fromUnixTimestamp64Nano({_end:Int64}))))"
)
"""Texts without a score of a model; all of them with ``--again``. `_start` and `_end` are a task's
own (`engine.store.key_ranges`): looking through those of the whole span in each would cost the
square of their number."""

UNREAD = "_unread"
"""Column beside those of the scores: why a text has none."""
EMPTY = "empty texts"
UNREADABLE = "texts in another language, or of links and names alone"


class TextScorer:
    """A replica: holds a model, and scores batches of texts.

    Parameters
    ----------
    model
        As `engine.sentiment.registry` knows it.
    config
        The whole configuration.
    scored_at
        Moment that the rows bear, UTC nanoseconds.
    """

    def __init__(self, model: str, config: Config, scored_at: int) -> None:
        give_way()
        self._reader = open_text_reader(model, config)
        self._scored_at = scored_at

    def __call__(self, texts: pa.Table) -> pa.Table:
        """Score a batch.

        Parameters
        ----------
        texts
            With ``text_id``, ``title`` and ``body``.

        Returns
        -------
        Table
            Rows of ``sentiment_scores`` and the column `UNREAD`, which is null; then a row for
            each text that has no score, where it says why and only the id is there too.
        """
        ids, titles, bodies = (
            python_values(texts.column(name)) for name in ("text_id", "title", "body")
        )
        rows = score_texts(self._reader, ids, titles, bodies, self._scored_at)
        scored = {row.text_id for row in rows}
        why = {
            text_id: UNREADABLE if (title + body).strip() else EMPTY
            for text_id, title, body in zip(ids, titles, bodies, strict=True)
            if text_id not in scored
        }
        scores = table_named("sentiment_scores").to_arrow(rows)
        unread = pa.table(
            [pa.array(list(each), pa.string()) for each in (why, why.values())],
            names=["text_id", UNREAD],
        )
        missing = pa.nulls(scores.num_rows, pa.string())
        return pa.concat_tables(
            [scores.append_column(UNREAD, missing), unread], promote_options="default"
        )


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

    @property
    def parameters(self) -> dict[str, Any]:
        """Values for `UNSCORED`."""
        again = bool(os.environ.get(AGAIN))
        return {"model": self.version, "again": again}


def main(config: Config) -> Summary:
    """Score the texts that have no score.

    Raises
    ------
    ConfigError
        Where no model has that name.
    StartError
        Where GPUs are asked for and the cluster has none.
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
    work = find_work(run)
    run.note("model", work.version)
    if not work.texts:
        return
    replicas = _replicas(run)
    with step("texts", work.texts) as progress:
        for done in written(run, work, replicas, scorer).iter_rows():
            run.wrote("sentiment_scores", done["scored"])
            progress.advance(done["texts"], rows=done["scored"])
            for why, number in ((EMPTY, done["empty"]), (UNREADABLE, done["unreadable"])):
                if number:
                    run.skip(why, number)


def find_work(run: Run) -> Work:
    """Ask the store what has no score of this version of the model."""
    section = run.section
    name = section.model or run.config.sentiment.model
    version = open_text_reader(name, run.config).name
    begin, end = section.moments()
    work = Work(name, version, begin or 0, min(end or run.started_at, run.started_at), 0)
    count = run.store.command(
        "SELECT count() FROM texts FINAL "
        "WHERE available_at >= fromUnixTimestamp64Nano({_start:Int64}) "
        f"AND available_at < fromUnixTimestamp64Nano({{_end:Int64}}) AND {UNSCORED}",
        {**work.parameters, "_start": work.begin, "_end": work.end},
    )
    return Work(name, version, work.begin, work.end, int(count))


def written(run: Run, work: Work, replicas: int, scorer: type[TextScorer]) -> Dataset:
    """Return the pipeline: read, score, write; what comes out of it are counts."""
    section = run.section
    most = section.batch_texts * MOST_BATCHES
    share = work.texts // (replicas * TASKS_PER_REPLICA)
    source = ClickHouseSource(
        run.endpoint,
        "texts",
        columns=("text_id", "title", "body"),
        where=UNSCORED,
        parameters=work.parameters,
        start=work.begin,
        end=work.end,
        rows_per_task=max(section.batch_texts, min(share, most)),
    )
    tasks = max(1, len(source.ranges))
    sink = ClickHouseSink(run.endpoint, "sentiment_scores")

    def write(batch: pa.Table) -> pa.Table:
        return write_scores(sink, batch)

    texts: Dataset = ray.data.read_datasource(
        source, override_num_blocks=tasks, num_cpus=OTHER_CPUS
    )
    with warnings.catch_warnings():
        # Ray has no named parameter yet that bounds restarts; without a bound a replica that
        # cannot live is started for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        scores: Dataset = texts.map_batches(
            scorer,
            fn_constructor_kwargs={
                "model": work.model,
                "config": run.config,
                "scored_at": run.started_at,
            },
            batch_size=section.batch_texts,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                min_size=1, max_size=replicas, initial_size=min(replicas, tasks)
            ),
            num_cpus=REPLICA_CPUS,
            num_gpus=section.num_gpus or None,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    counts: Dataset = scores.map_batches(
        write, batch_size=None, batch_format="pyarrow", num_cpus=OTHER_CPUS
    )
    return counts


def write_scores(sink: ClickHouseSink, batch: pa.Table) -> pa.Table:
    """Store what `TextScorer` made; return how many texts there were, and what became of them."""
    why = batch.column(UNREAD)
    stored = sink.write([batch.filter(pc.is_null(why)).drop_columns(UNREAD)], None).rows
    empty = pc.sum(pc.equal(why, EMPTY)).as_py() or 0
    counts = {
        "texts": batch.num_rows,
        "scored": stored,
        "empty": empty,
        "unreadable": batch.num_rows - stored - empty,
    }
    return pa.table({name: [value] for name, value in counts.items()})


def _replicas(run: Run) -> int:
    """Return how many replicas there may be.

    Raises
    ------
    StartError
        Where they need more of a GPU than the cluster has.
    """
    cores, section = run.ray(), run.section
    wanted: int = section.replicas
    if not section.num_gpus:
        return wanted or cores
    resources: Any = ray.cluster_resources
    gpus = float(resources().get("GPU", 0.0))
    if gpus < section.num_gpus:
        held = f"only {gpus:g}" if gpus else "none"
        raise StartError(
            f"score_texts.num_gpus is {section.num_gpus:g}, but the cluster has {held}; "
            "set it to 0 to score on the CPU, or name a cluster with GPUs in ray.address"
        )
    fitting = max(1, int(gpus / section.num_gpus))
    return min(wanted, fitting) if wanted else fitting


if __name__ == "__main__":
    raise SystemExit(command("score_texts", main))
