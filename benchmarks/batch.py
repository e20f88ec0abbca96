"""Batch jobs against the bare store: import, features, scoring, and the source and sink they use.

Run it with ``python -m benchmarks.batch`` (``--only features``, ``--runs 3``, ``--parquet FILE``).
Every ratio is of two measurements of one run, which take turns; figures are medians of several
runs. *Bare* is `Store.insert_arrow` or `Store.query_arrow` of the same rows by one client, without
Ray. Ray and a worker for each core are started once; that is counted apart. Without a recorded file
beside the checkout, random walks of the same shape are used.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import ray

from benchmarks.bare_scoring import rate_alone, rate_side_by_side
from benchmarks.batch_data import first_symbols, recorded_candles, simulated_texts
from benchmarks.machine import describe_machine
from engine.clock import SystemClock
from engine.config import Config, load_config
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.ray_data import BLOCK_BYTES, ClickHouseSink, ClickHouseSource
from engine.store.schema import migrate
from engine.store.tables import table_named
from jobs import build_features, import_candles, score_texts
from jobs.summary import Summary

INSERT_ROWS = 100_000
FEW, MANY = 10, 60
"""Instruments: the cost of a row must not grow from the one to the other."""

Figures = dict[str, list[float]]


class Bench:
    """One store, one Parquet file, and what was measured on them."""

    def __init__(self, store: Store, folder: Path, parquet: Path | None, texts: int) -> None:
        self.store = store
        self.folder = folder
        self.parquet = parquet
        self.texts = texts
        self.figures: Figures = {}

    def note(self, name: str, value: float) -> None:
        """Keep one measurement."""
        self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        """Return the median of what was noted."""
        return statistics.median(self.figures[name])

    def empty(self, *tables: str) -> None:
        """Remove all rows of tables, and what jobs noted as done."""
        for table in (*tables, "job_blocks"):
            self.store.command("TRUNCATE TABLE {table:Identifier}", {"table": table})

    def run_job(self, name: str, main: Callable[[Config], Summary], **section: object) -> Summary:
        """Run a job on the Ray that runs, and note the memory of its workers."""
        config = load_config(
            None,
            [f"store.url={self.store.endpoint.url}", "features.timeframes=[1h]"]
            + [f"{name}.{key}={value}" for key, value in section.items()],
        )
        with worker_memory() as peak:
            summary = main(config)
        self.note(f"{name} worker MiB", max(peak) / 2**20)
        return summary

    def insert_bare(self, table: str, rows: pa.Table) -> float:
        """Return the seconds in which one client inserts rows, 100,000 at a time."""
        began = time.perf_counter()
        for start in range(0, rows.num_rows, INSERT_ROWS):
            self.store.insert_arrow(table, rows.slice(start, INSERT_ROWS))
        return time.perf_counter() - began

    # ------------------------------------------------------------ the parts

    def imports(self) -> None:
        """Import candles from Parquet; then insert the same rows bare."""
        self.note("import_candles", self._import(MANY))
        self._bare_like("candles", "import_candles", "toYear(open_time)")

    def _import(self, instruments: int) -> float:
        """Import the candles of so many instruments anew, and return rows a second."""
        file = self.folder / f"candles-{instruments}.parquet"
        if not file.exists():
            first_symbols(self.parquet, instruments, file)
        self.empty("candles", "instruments")
        summary = self.run_job(
            "import_candles", import_candles.main, path=file, naive_timezone="UTC"
        )
        return summary.written["candles"] / (summary.seconds - summary.startup_seconds)

    def features(self) -> None:
        """Build features of few and of many instruments; then insert the same rows bare."""
        for instruments in (FEW, MANY):
            self._import(instruments)
            self.empty("features")
            summary = self.run_job("build_features", build_features.main)
            working = summary.seconds - summary.startup_seconds
            rate = summary.written["features"] / working
            self.note("build_features" if instruments == MANY else "build_features few", rate)
        self._bare_like("features", "build_features", "toYYYYMM(open_time)")

    def _bare_like(self, table: str, job: str, part: str) -> None:
        """Insert a table's rows bare into one like it, a stretch at a time."""
        bare = f"bare_{table}"
        self.store.command(f"DROP TABLE IF EXISTS {bare}")
        self.store.command(f"CREATE TABLE {bare} AS {table}")
        wanted = table_named(table).select
        parts = self.store.query_arrow(
            f"SELECT DISTINCT {part} AS part FROM {table} ORDER BY part"
        ).column("part")
        rows, took = 0, 0.0
        for each in parts.to_pylist():
            found = self.store.query_arrow(f"SELECT {wanted} FROM {table} WHERE {part} = {each}")
            rows += found.num_rows
            took += self.insert_bare(bare, found)
        self.store.command(f"DROP TABLE {bare}")
        self.note(f"{job} bare", rows / took)

    def source_and_sink(self) -> None:
        """Read all candles through the source, write them through the sink; and both bare."""
        if self.store.command("SELECT count() FROM candles") == "0":
            self._import(MANY)
        version = SystemClock().now_ns()
        rows = self._read_both()
        turns: list[Callable[[pa.Table], None]] = [self._sink, self._sink_bare]
        if len(self.figures["source"]) % 2:
            turns.reverse()
        for number, turn in enumerate(turns):
            self.empty("candles")
            # Rows of their own: none is dropped as a repetition.
            place = rows.column_names.index("version")
            versions = pa.repeat(pa.scalar(version + number, pa.int64()), rows.num_rows)
            turn(rows.set_column(place, "version", versions))

    def _read_both(self) -> pa.Table:
        wanted = table_named("candles").select
        began = time.perf_counter()
        rows = self.store.query_arrow(f"SELECT {wanted} FROM candles FINAL")
        self.note("source bare", rows.num_rows / (time.perf_counter() - began))
        began = time.perf_counter()
        source = ClickHouseSource(self.store.endpoint, "candles")
        held = sum(each.num_rows() for each in source.dataset().iter_internal_ref_bundles())
        self.note("source", held / (time.perf_counter() - began))
        if held != rows.num_rows:
            raise RuntimeError(f"the source gave {held} rows of {rows.num_rows}")
        return rows

    def _sink(self, rows: pa.Table) -> None:
        step = max(1, rows.num_rows * BLOCK_BYTES // rows.nbytes)
        blocks: Any = [ray.put(rows.slice(n, step)) for n in range(0, rows.num_rows, step)]
        began = time.perf_counter()
        ray.data.from_arrow_refs(blocks).write_datasink(
            ClickHouseSink(self.store.endpoint, "candles")
        )
        self.note("sink", rows.num_rows / (time.perf_counter() - began))

    def _sink_bare(self, rows: pa.Table) -> None:
        self.note("sink bare", rows.num_rows / self.insert_bare("candles", rows))

    def scoring(self) -> None:
        """Score texts by the job's replicas, and in this process alone."""
        texts = simulated_texts(self.texts)
        self.empty("texts", "sentiment_scores")
        self.store.insert("texts", texts)
        few = self.store.query_arrow(
            f"SELECT {', '.join(score_texts.COLUMNS)} FROM texts LIMIT {{few:UInt64}}",
            {"few": self.texts // 8},
        )
        before, together_before = rate_alone(few), rate_side_by_side(few)
        self.run_job("score_texts", score_texts.main, model="lexicon")
        # From the first rows that were stored on: replicas take seconds to start.
        (span,) = self.store.query_arrow(
            "SELECT (max(inserted_at) - min(inserted_at))::Float64 AS s, count() AS n, "
            "countIf(inserted_at = (SELECT min(inserted_at) FROM sentiment_scores)) AS first "
            "FROM sentiment_scores"
        ).to_pylist()
        self.note("score_texts", (span["n"] - span["first"]) / span["s"])
        # Before and after: the speed of a shared machine moves within the minute.
        together = (together_before + rate_side_by_side(few)) / 2
        self.note("score_texts side by side", together)
        self.note("score_texts bare", (before + rate_alone(few)) / 2)


@contextmanager
def local_ray() -> Iterator[None]:
    """Run Ray on this machine, with a worker already started for each core."""
    folder = tempfile.mkdtemp(prefix="ray-")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=os.cpu_count() or 1,
        object_store_memory=2**30,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
    )
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.range(1_000, override_num_blocks=8).materialize()
        yield
    finally:
        ray.shutdown()


@contextmanager
def worker_memory() -> Iterator[list[int]]:
    """Yield a list that gets the private memory of the largest Ray worker, bytes, as time goes."""
    peaks, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(2.0):  # to look costs what the jobs could use
            peaks.extend(map(_private_bytes, psutil.Process().children(recursive=True)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _private_bytes(process: psutil.Process) -> int:
    try:
        if not process.name().startswith("ray::"):
            return 0
        used: Any = process.memory_info()
        return int(used.rss - used.shared)
    except psutil.Error:
        return 0


GOALS = (
    ("source", "source", "a bare query_arrow", 0.50),
    ("sink", "sink", "a bare insert_arrow", 0.50),
    ("import_candles", "import_candles", "a bare insert_arrow", 0.50),
    ("build_features", "build_features", "a bare insert_arrow", 0.60),
    ("score_texts", "score_texts", "all cores, each like one process", 0.90),
)
PARTS = ("imports", "features", "source_and_sink", "scoring")


def show(bench: Bench) -> None:
    """Print medians and ratios."""
    print(f"{'what':16} {'rows/s':>12} {'reference':>12} {'ratio':>7} {'goal':>6}  reference is")
    for name, key, reference, goal in GOALS:
        if f"{key} bare" not in bench.figures or key not in bench.figures:
            continue
        times = psutil.cpu_count() or 1 if name == "score_texts" else 1
        pairs = zip(bench.figures[key], bench.figures[f"{key} bare"], strict=False)
        ratio = statistics.median(got / (times * bare) for got, bare in pairs)
        bare = times * bench.median(f"{key} bare")
        print(
            f"{name:16} {bench.median(key):12,.0f} {bare:12,.0f} {ratio:7.2f} {goal:6.2f}  "
            f"{reference}"
        )
    if "score_texts" in bench.figures:
        cores = psutil.cpu_count() or 1
        together = bench.figures["score_texts side by side"]
        like_one = [cores * bare for bare in bench.figures["score_texts bare"]]
        for what, got, of in (
            ("score_texts of bare processes, one a core", bench.figures["score_texts"], together),
            ("these of all cores, each like one process", together, like_one),
        ):
            ratios = [one / other for one, other in zip(got, of, strict=True)]
            print(
                f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    if "build_features" in bench.figures:
        few, many = bench.figures["build_features few"], bench.figures["build_features"]
        ratio = statistics.median(a / b for a, b in zip(few, many, strict=False))
        print(f"cost of a row, {MANY} instruments of that of {FEW}: {ratio:.2f}")
    print(f"start-up of Ray and its workers: {bench.median('start-up'):.1f} s")
    for name, values in bench.figures.items():
        if name.endswith("worker MiB"):
            print(f"{name}, private, of the largest: {max(values):,.0f}")


def run_all(bench: Bench, parts: Sequence[str], runs: int) -> None:
    """Measure the parts in turns, and say how busy the machine was."""
    for _ in range(runs):
        for part in parts:
            getattr(bench, part)()
            loads = " ".join(f"{load:.1f}" for load in psutil.getloadavg())
            print(f"  {part} done, load {loads}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parquet", type=Path, default=recorded_candles())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--only", choices=PARTS, action="append", help="once for each wanted part")
    given = parser.parse_args()
    print(describe_machine())
    print(f"candles: {given.parquet or 'random walks'}; medians of {given.runs} runs", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = EmbeddedStore(folder / "store")
        with Store(home.start()) as store:
            migrate(store, Config().store.retention, feature_columns())
            bench = Bench(store, folder, given.parquet, given.texts)
            began = time.perf_counter()
            with local_ray():
                bench.note("start-up", time.perf_counter() - began)
                try:
                    run_all(bench, given.only or PARTS, given.runs)
                finally:  # also where somebody has seen enough
                    show(bench)
        home.stop()


if __name__ == "__main__":
    main()
