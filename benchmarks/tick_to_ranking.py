"""Tick-to-ranking latency of the whole engine, on simulated venues.

Starts the engine in a folder of its own, lets it run, and reads
``engine_tick_to_ranking_seconds`` from its own metrics: the time from the receipt of a market's
newest event to the publication of the first ranking that holds it. The named reference is the
configured ``ranking.every_ms``: a ranking made so often cannot be faster at the median than
about half of it, so the ratio says what the engine itself adds.

Run with ``python -m benchmarks.tick_to_ranking [SECONDS]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.machine import describe_machine

ROOT = Path(__file__).parents[1]
METRIC = "engine_tick_to_ranking_seconds"


def engine(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`."""
    environment = {
        **os.environ,
        "ENGINE_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "engine.cli.main", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )


def buckets(url: str) -> dict[float, float]:
    """Return upper bound -> cumulative count."""
    found: dict[float, float] = {}
    for family in text_string_to_metric_families(httpx.get(url, timeout=10).text):
        for sample in family.samples:
            if sample.name == f"{METRIC}_bucket":
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0.0) + sample.value
    return found


def quantile(counts: dict[float, float], share: float) -> float:
    """Interpolate a quantile within its bucket."""
    bounds = sorted(counts)
    wanted = counts[bounds[-1]] * share
    low_bound = low_count = 0.0
    for bound in bounds:
        if counts[bound] >= wanted:
            width = counts[bound] - low_count
            return low_bound + (bound - low_bound) * ((wanted - low_count) / width if width else 1)
        low_bound, low_count = bound, counts[bound]
    return bounds[-1]


def main(seconds: float = 60.0) -> None:
    """Measure and print."""
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = str(ROOT / "configs" / "local.yaml")
        began = time.perf_counter()
        engine(
            folder,
            "up",
            "--detach",
            "--config",
            config,
            "--set",
            "serve.port=0",
            "--set",
            "metrics.port=0",
        )
        ready_s = time.perf_counter() - began
        try:
            (run_file,) = (folder / "state").glob("run-*.json")
            run = json.loads(run_file.read_text())
            time.sleep(10)  # the first minute's catching-up is not what is measured
            before = buckets(run["metrics_url"])
            family = [psutil.Process(run["pid"])]
            family += family[0].children(recursive=True)
            cpu_before = sum(sum(process.cpu_times()[:2]) for process in family)
            time.sleep(seconds)
            counts = {
                bound: count - before.get(bound, 0.0)
                for bound, count in buckets(run["metrics_url"]).items()
            }
            cpu_s = sum(sum(process.cpu_times()[:2]) for process in family) - cpu_before
            resident_mb = sum(process.memory_info().rss for process in family) / 2**20
        finally:
            engine(folder, "down")
    every_s = (
        json.loads(engine(ROOT, "config", "show", "--json", "--config", config).stdout)["ranking"][
            "every_ms"
        ]
        / 1000
    )
    middle, worst = quantile(counts, 0.5), quantile(counts, 0.99)
    print(f"first ranking served after        {ready_s:6.1f} s (engine up --detach)")
    print(f"ticks measured                    {max(counts.values()):6.0f} in {seconds:.0f} s")
    for name, value in (("p50", middle), ("p99", worst)):
        ratio = value / every_s
        print(
            f"tick to ranking {name}               {value * 1000:6.0f} ms = {ratio:.2f} x every_ms"
        )
    print(f"processor time of all processes   {cpu_s / seconds:6.2f} cores")
    print(f"resident memory of all processes  {resident_mb:6.0f} MiB ({len(family)} processes)")


if __name__ == "__main__":
    main(*(float(text) for text in sys.argv[1:2]))
