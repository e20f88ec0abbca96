"""The gate: measures what is stored, scores every source, and sets failing rows aside.

::

    python -m jobs.check_quality --config configs/local.yaml [--set begin=2026-01-01]
    engine submit check_quality --set tables=[candles] --set exchange=binance --wait

Counting is the store's work; languages are told by tasks. Measuring again replaces the scores, and
a row that is set aside again counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import pyarrow as pa

from engine.config import Config
from engine.domain.quality import QualityScore
from engine.domain.text import text_content
from engine.quality.coverage import DAY_NS
from engine.quality.language import LanguageCount, Languages, count_languages
from engine.quality.verdict import DailyQuality, SourceQuality, Verdict
from engine.store.columns import python_values
from engine.store.quality_candles import CandleQuality
from engine.store.quality_scope import Scope
from engine.store.quality_texts import OF_SOURCES, TextQuality, foreign_of
from engine.store.ray_data import ClickHouseSource
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

TEXTS_PER_TASK = 20_000
"""A task tells their languages in about two seconds."""

MOST_SAID = 20
"""Problems that the summary lists; ``quality_scores`` has all."""

ROWS_AT_ONCE = 100_000
"""Rows of one insert."""

LANGUAGE_COLUMNS = ("text_id", "source", "available_at", "title", "body")
_COUNTED = pa.schema(
    {
        "source": pa.string(),
        "day": pa.int64(),
        "texts": pa.int64(),
        "told": pa.int64(),
        "foreign": pa.list_(pa.string()),
    }
)


def main(config: Config) -> Summary:
    """Measure, and say what does not pass.

    Returns
    -------
    Summary
        With a problem, and so exit code 1, where the gate does not pass.

    Raises
    ------
    StoreError
        Where the store does not answer.
    """
    with running("check_quality", config) as run:
        scope = _scope(run)
        verdict = Verdict(())
        if "candles" in scope.tables:
            verdict += check_candles(run, scope)
        if "texts" in scope.tables:
            verdict += check_texts(run, scope)
        _tell(run, verdict)
        return run.summary


def check_candles(run: Run, scope: Scope) -> Verdict:
    """Measure candles, market by market."""
    candles = CandleQuality(run.store, run.config.quality, scope)
    found: list[SourceQuality] = []
    markets = sum(len(series.instruments) for series in candles.series)
    with step("candles of markets", markets or None) as progress:
        for series in candles.series:
            measured = list(candles.measured(series))
            found += _keep(run, measured)
            if run.section.quarantine:
                candles.set_aside(series, run.run_id)
            progress.advance(len(measured), rows=series.rows)
    return Verdict(tuple(found), candles.missing)


def check_texts(run: Run, scope: Scope) -> Verdict:
    """Measure texts, source by source."""
    texts = TextQuality(run.store, run.config.quality, scope)
    if not texts.sources:
        return Verdict((), texts.missing)
    languages = tell_languages(run, scope)
    found = _keep(run, texts.measured(languages))
    if run.section.quarantine:
        texts.set_aside(foreign_of(languages), run.run_id)
    return Verdict(tuple(found), texts.missing)


def tell_languages(run: Run, scope: Scope) -> Languages:
    """Tell the language of every text, by as many tasks as there are cores."""
    cores = run.ray()
    source = ClickHouseSource(
        run.endpoint,
        "texts",
        columns=LANGUAGE_COLUMNS,
        where=OF_SOURCES,
        parameters={"sources": list(scope.sources)},
        start=scope.start,
        end=scope.end,
        rows_per_task=TEXTS_PER_TASK,
    )
    found: Languages = {}
    tasks = max(1, len(source.ranges))
    with step("languages of texts", sum(each.rows for each in source.ranges)) as progress:
        counted = source.dataset().map_batches(
            _languages, batch_size=None, batch_format="pyarrow", concurrency=min(cores, tasks)
        )
        for row in counted.iter_rows():
            count = LanguageCount(row["texts"], row["told"], list(row["foreign"]))
            found.setdefault((row["source"], row["day"]), LanguageCount()).add(count)
            progress.advance(count.texts)
    return found


def _languages(texts: pa.Table) -> pa.Table:
    """Count the languages of a batch: a row for each source and day."""
    columns = (python_values(texts.column(name)) for name in LANGUAGE_COLUMNS)
    found = count_languages(
        (source, available_at - available_at % DAY_NS, text_id, text_content(title, body))
        for text_id, source, available_at, title, body in zip(*columns, strict=True)
    )
    rows = [
        {"source": source, "day": day, **asdict(count)} for (source, day), count in found.items()
    ]
    return pa.Table.from_pylist(rows, _COUNTED)


def _keep(run: Run, measured: Iterable[tuple[SourceQuality, DailyQuality]]) -> list[SourceQuality]:
    """Store the scores of every day; return what was measured over the whole stretch."""
    whole: list[SourceQuality] = []
    rows: list[QualityScore] = []
    for source, daily in measured:
        whole.append(source)
        for day, quality in daily:
            rows += quality.rows(day, run.run_id, run.started_at)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        run.wrote("quality_scores", run.store.insert("quality_scores", part))
    return whole


def _tell(run: Run, verdict: Verdict) -> None:
    """Say what came of it; a gate that does not pass is the run's problem."""
    if run.section.quarantine:
        _count_quarantined(run)
    for name, (source, measure) in verdict.worst.items():
        where = f", at worst: {source}" if measure.soundness < 1.0 else ""
        run.note(name, measure.text + where)
    failing = verdict.problems
    # One alone is the run's problem, said last.
    for number, problem in enumerate(failing[:MOST_SAID] if len(failing) > 1 else (), start=1):
        run.note(f"problem {number}", problem)
    if len(failing) > MOST_SAID:
        run.note("and", f"{len(failing) - MOST_SAID} more, in quality_scores")
    sources = len(verdict.sources)
    run.note("score", f"{verdict.score:.4f} over {sources:,} source{'s' * (sources != 1)}")
    if not verdict.passed:
        run.summary.problem = f"the gate does not pass: {failing[0]}" + (
            f", and {len(failing) - 1} more" if len(failing) > 1 else ""
        )


def _count_quarantined(run: Run) -> None:
    held = run.store.command(
        "SELECT count() FROM quarantine WHERE table_name IN {tables:Array(String)} "
        "AND run_id = {run_id:String}",
        {"tables": list(run.section.tables), "run_id": run.run_id},
    )
    run.wrote("quarantine", int(held))


def _scope(run: Run) -> Scope:
    section = run.section
    begin, until = section.moments()
    end = min(until or run.started_at, run.started_at)
    if section.days is not None:
        # Of whole days alone: scores of a part of one would replace those of all of it.
        begin = max(0, end - end % DAY_NS - section.days * DAY_NS)
    return Scope(
        start=begin or 0,
        end=end,
        now=run.started_at,
        tables=section.tables,
        exchange=section.exchange,
        instruments=section.instruments,
        timeframes=section.timeframes,
        sources=section.sources,
    )


if __name__ == "__main__":
    raise SystemExit(command("check_quality", main))
