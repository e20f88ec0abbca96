"""A point-in-time training set as Parquet: a file a month, and a manifest.

::

    python -m jobs.export_dataset --set out=dataset --set horizons=[24h]
    engine submit export_dataset --set out=dataset --set horizons=[24h] --wait

Tasks read a stretch of bars each and join it with what was known then; this process writes the
rows, in order, as they come. So the folder is on the machine that runs the job, and memory is that
of a few stretches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from engine.clock import SystemClock
from engine.config import Config
from engine.datasets.columns import dataset_schema
from engine.datasets.folder import DatasetFolder
from engine.datasets.manifest import dataset_row, manifest_of
from engine.datasets.request import DatasetRequest
from engine.domain.sentiment import Window
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.job_request import AGAIN
from engine.quality.verdict import Verdict
from engine.store.asking import patiently
from engine.store.client import Store
from engine.store.dataset_plan import (
    chosen_features,
    parameters_of,
    plan_dataset,
    queries_of,
    selection_of,
)
from engine.store.dataset_reader import BarRange, DatasetReader
from engine.store.dataset_rows import part_rows
from engine.store.endpoint import StoreEndpoint
from engine.store.quality_gate import Scope, gate
from jobs.progress import Step, step
from jobs.provenance import code_version
from jobs.run import Run, command, running
from jobs.summary import Summary


def main(config: Config) -> Summary:
    """Export the data set that the configuration asks for.

    Raises
    ------
    ConfigError
        Where a name is unknown, there are no bars, the quality gate fails, or the folder holds
        something else.
    StoreError
        Where the store does not answer.
    """
    folder = DatasetFolder(Path(config.export_dataset.out).expanduser().absolute())
    folder.request()
    chosen_features(config.export_dataset.features)
    with running("export_dataset", config) as run:
        request = _request(run, folder)
        parts = DatasetReader(run.store).ranges(selection_of(request))
        verdict = _judged(run, request, parts)
        folder.claim(request)
        if os.environ.get(AGAIN):
            folder.discard()
        if folder.is_complete:
            run.skip("months that are written already", len(folder.months()))
            return run.summary
        _write(run, folder, request, parts)
        _finish(run, folder, request, verdict)
        return run.summary


def _request(run: Run, folder: DatasetFolder) -> DatasetRequest:
    """Say what is exported; an export that was begun is gone on with, as of its watermark."""
    section, held = run.section, folder.request()
    timeframe = section.timeframe or run.config.ranking.timeframe
    given = section.watermark_ns()
    if given is None and held is not None and not folder.is_complete:
        begun = plan_dataset(run.store, section, timeframe, held.watermark)
        if begun == held:
            return begun
    if given is not None and given > run.started_at:
        raise ConfigError(f"watermark {section.watermark} lies in the future")
    watermark = run.started_at if given is None else given
    return plan_dataset(run.store, section, timeframe, watermark)


def _judged(run: Run, request: DatasetRequest, parts: Sequence[BarRange]) -> Verdict:
    """Ask the quality gate about what is exported.

    Raises
    ------
    ConfigError
        Where it fails, unless that is overruled.
    """
    # Up to the newest bar, not to the end of its month: what was never there is no hole in it.
    closed = DatasetReader(run.store).closed_until(selection_of(request))
    scope = Scope(
        max(request.begin, parts[0].begin),
        min(request.end, closed),
        request.watermark,
        tables=("candles",),
        exchange=request.exchange or None,
        instruments=request.instruments,
        timeframes=(Timeframe(request.timeframe),),
    )
    verdict = gate(run.store, run.config.quality, scope)
    if request.sentiment_model:
        # The first bar's aggregate is made of texts from a window before it.
        reach = Window(request.sentiment_window).ns
        texts = replace(scope, start=max(0, scope.start - reach), tables=("texts",))
        verdict += gate(run.store, run.config.quality, texts)
    run.note("quality", f"{'passed' if verdict.passed else 'failed'}, score {verdict.score:.3f}")
    if not verdict.passed and not run.section.force:
        problems = verdict.problems
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConfigError(
            f"the quality gate fails: {'; '.join(problems[:3])}{more}; mend it (check_quality "
            "lists everything), export a time without holes (--set begin=… --set end=…), or "
            "overrule the gate with --set force=true"
        )
    return verdict


def _write(
    run: Run, folder: DatasetFolder, request: DatasetRequest, parts: Sequence[BarRange]
) -> None:
    """Write the months that are missing."""
    there = folder.months()
    left = [part for part in parts if part.month not in there]
    months = {part.month for part in left}
    if there:
        run.skip("months that are written already", len(there))
    if not left:
        return
    cores = run.ray()
    schema = dataset_schema(request)
    tables = _tables(run.endpoint, request, left, cores)
    with step("months", len(months)) as progress:
        for month, of_month in groupby(tables, key=_month_of):
            with folder.month(month, schema) as file:
                for rows in of_month:
                    file.put(rows)
                    _count(run, progress, rows)
            progress.advance()


def _count(run: Run, progress: Step, rows: pa.Table) -> None:
    run.wrote("dataset", rows.num_rows)
    progress.advance(0, rows.num_rows)


def _tables(
    endpoint: StoreEndpoint, request: DatasetRequest, parts: Sequence[BarRange], cores: int
) -> Iterator[pa.Table]:
    """Yield the rows of every stretch, in order, while the next ones are being read."""
    make = partial(_make, endpoint, request, list(parts))
    places = [{"id": place} for place in range(len(parts))]
    dataset = ray.data.from_items(places, override_num_blocks=len(parts)).map_batches(
        make,
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        concurrency=min(cores, len(parts)),
    )
    dataset.context.execution_options.preserve_order = True
    batches: Iterable[Any] = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    yield from (rows for rows in batches if rows.num_rows)


def _make(
    endpoint: StoreEndpoint, request: DatasetRequest, parts: Sequence[BarRange], which: pa.Table
) -> pa.Table:
    (number,) = which.column("id").to_pylist()
    with closing(Store(endpoint)) as store:
        return patiently(partial(part_rows, store, request, parts[number]))


def _month_of(rows: pa.Table) -> str:
    return str(rows.column("open_time")[0].as_py().strftime("%Y-%m"))


def _finish(run: Run, folder: DatasetFolder, request: DatasetRequest, verdict: Verdict) -> None:
    """Write the manifest, and the row that tells of it."""
    now = SystemClock().now_ns()
    files = list(folder.files())
    manifest = manifest_of(
        request,
        files,
        run_id=run.run_id,
        code_version=code_version(),
        created_at=now,
        quality=verdict.as_dict(),
        queries=queries_of(request),
        parameters=parameters_of(request),
    )
    text = folder.finish(manifest)
    row = dataset_row(request, manifest, text, str(folder.path), now)
    run.store.insert("datasets", [row])
    run.note("dataset", row.dataset_id)
    run.note("folder", row.path)
    run.note("files", f"{row.files}, {sum(file.bytes for file in files) / 1e6:,.1f} MB")
    if not verdict.passed:
        run.note("forced", "the quality gate failed and was overruled; the manifest says so")


if __name__ == "__main__":
    raise SystemExit(command("export_dataset", main))
