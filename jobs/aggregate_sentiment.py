"""What the stored texts felt about each instrument, as of every whole hour.

Beside the aggregates it stores the events that they show, and the topics and emotions of texts
that have none yet.

::

    python -m jobs.aggregate_sentiment --config configs/local.yaml [--set every=1m]
    engine submit aggregate_sentiment --set begin=2026-01-01 --wait

A task makes the rows of four weeks; a day is a unit, which is done again only where the texts that
its aggregates reach have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray

from engine.actors.text_reading import open_text_reader
from engine.actors.wiring import markets_of, ranked_markets, resolve
from engine.config import Config
from engine.errors import EngineError
from engine.store.aggregate_days import (
    AggregateDay,
    AggregateDays,
    AggregateRequest,
    aggregate_days,
    bundles,
)
from engine.store.asking import patiently
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.event_pass import missing_events
from engine.store.ray_data import ClickHouseSink
from engine.store.tables import content_token, table_named
from engine.store.units import Ledger, note_empty
from jobs.by_unit import labelled
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary
from jobs.text_topics import tag_texts

TABLE = "sentiment_aggregates"
EVENTS = "sentiment_events"


def main(config: Config) -> Summary:
    """Make the aggregates that are missing, or whose texts have changed.

    Raises
    ------
    EngineError
        Where no text has a score of that model.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("aggregate_sentiment", config) as run:
        request = requested(run)
        run.note("model", request.model)
        plan = AggregateDays(run.store, request)
        if not plan.has_texts:
            raise EngineError(
                f"no text has a score of {request.model}: run score_texts first, or name another "
                "model with --set model=…"
            )
        days = plan.days
        done = run.done_units()
        left = [day for day in days if day.fingerprint not in done.get(day.name, set())]
        if len(left) < len(days):
            run.skip("days that are stored already", len(days) - len(left))
        if left:
            _make(run, request, left, plan.first_mentions)
            _find_events(run, request, left[0].moments[0])
        tag_texts(run, request.begin or 0, request.end)
        return run.summary


def _find_events(run: Run, request: AggregateRequest, start: int) -> None:
    rules = run.config.sentiment.events
    events = patiently(lambda: missing_events(run.store, request.model, rules, start, request.end))
    if events:
        rows = table_named(EVENTS).to_arrow(events)
        token = content_token(EVENTS, rows)
        run.wrote(EVENTS, patiently(lambda: run.store.insert_arrow(EVENTS, rows, token)))


def requested(run: Run) -> AggregateRequest:
    """Return what the configuration asks for."""
    section, config = run.section, run.config
    begin, end = section.moments()
    # The moment at which the run began may still get texts: it is the next run's.
    return AggregateRequest(
        model=_model(run, section.model or config.sentiment.model),
        every=section.every,
        begin=begin,
        end=min(end or run.started_at, run.started_at),
        half_life_share=config.sentiment.half_life_share,
        instruments=tuple(
            market.instrument for market in ranked_markets(markets_of(resolve(config)))
        ),
    )


def _model(run: Run, name: str) -> str:
    """Return a model's name with its version; scores of a model that is gone may be named so."""
    held = run.store.command(
        "SELECT count() FROM sentiment_scores WHERE model = {model:String}", {"model": name}
    )
    return name if int(held) else open_text_reader(name, run.config).name


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a task needs, in whichever process it runs."""

    endpoint: StoreEndpoint
    ledger: Ledger
    sink: ClickHouseSink
    request: AggregateRequest
    first_mentions: Mapping[str, int]

    def make(self, days: Sequence[AggregateDay]) -> dict[str, int]:
        """Make and store the rows of days that follow each other; return counts."""
        with closing(Store(self.endpoint)) as store:
            made = patiently(
                lambda: list(aggregate_days(store, self.request, days, self.first_mentions))
            )
            for each in made:
                if each.rows:
                    rows = table_named(TABLE).to_arrow(each.rows)
                    self.sink.write([labelled(rows, each.day)], None)
                else:
                    units = {each.day.name: each.day.fingerprint}
                    patiently(partial(note_empty, store, self.ledger, units))
        return {
            "days": len(made),
            "rows": sum(len(each.rows) for each in made),
            "kept": sum(each.kept for each in made),
            "differing": sum(each.differing for each in made),
        }


def _make(
    run: Run,
    request: AggregateRequest,
    days: Sequence[AggregateDay],
    first_mentions: Mapping[str, int],
) -> None:
    cores = run.ray()
    sink = ClickHouseSink(run.endpoint, TABLE, run.ledger)
    workshop = Workshop(run.endpoint, run.ledger, sink, request, first_mentions)
    work = list(bundles(days))

    def make(row: dict[str, Any]) -> dict[str, int]:
        return workshop.make(work[row["id"]])

    numbers = ray.data.range(len(work), override_num_blocks=len(work))
    kept = differing = 0
    with step("days", len(days)) as progress:
        for done in numbers.map(make, concurrency=min(cores, len(work))).iter_rows():
            run.wrote(TABLE, done["rows"])
            kept += done["kept"]
            differing += done["differing"]
            progress.advance(done["days"], rows=done["rows"])
    if kept:
        run.skip("rows that a running engine stored, equal", kept)
    if differing:
        run.skip(
            "rows that a running engine stored otherwise: what was known then stays", differing
        )


if __name__ == "__main__":
    raise SystemExit(command("aggregate_sentiment", main))
