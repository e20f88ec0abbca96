"""Feature updates per second: live, batch, and what live would cost without handles.

``python -m benchmarks.live_features [--bars N] [--rounds N]``

The reference is the same catalogue with TA-Lib's array functions run again over the window at
every bar, the usual way to use TA-Lib live. One thread, no I/O; the medians are of rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_VERSION, FEATURES
from engine.features.grid import Bar, Bars
from engine.features.live import LiveFeatures
from engine.features.warm_up import WARM_UP_BARS

_HOUR = Timeframe.H1
_MARCH_2024_NS = 1_709_251_200_000_000_000
_OPENED_MARKETS = 54


def walk(seed: int, count: int) -> Bars:
    """Make hourly bars of a seeded walk: the warm-up before March 2024, and `count` of it."""
    rng = np.random.default_rng(seed)
    first = _MARCH_2024_NS - WARM_UP_BARS * _HOUR.ns
    closes = 100 * np.exp(np.cumsum(rng.standard_t(3, WARM_UP_BARS + count) * 0.005))
    volumes = rng.lognormal(3, 1, len(closes))
    bars = []
    opened = 100.0
    for index, (close, volume) in enumerate(zip(closes.tolist(), volumes.tolist(), strict=True)):
        high, low = max(opened, close) * 1.002, min(opened, close) / 1.002
        middle = (opened + close) / 2
        bars.append(
            Bar(
                first + index * _HOUR.ns,
                opened, high, low, close, volume, middle, middle, volume * 0.6,
            )
        )  # fmt: skip
        opened = close
    return Bars.of(bars)


def seconds(task: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bars", type=int, default=500, help="bars pushed in a round, up to 744")
    parser.add_argument("--rounds", type=int, default=5, help="rounds the median is taken of")
    options = parser.parse_args()
    own, reference = walk(1, options.bars), walk(2, options.bars)
    pairs = [(own.bar(i), reference.bar(i)) for i in range(WARM_UP_BARS, len(own))]
    some = pairs[:: max(1, len(pairs) // 25)]

    def opened() -> LiveFeatures:
        live = LiveFeatures(Market("binance", "ETH-USDT"), _HOUR)
        live.open(own[:WARM_UP_BARS], reference[:WARM_UP_BARS])
        return live

    def push() -> float:
        live = opened()
        return seconds(lambda: [live.push(*pair) for pair in pairs]) / len(pairs)

    def preview() -> float:
        live = opened()
        return seconds(lambda: [live.preview(*pairs[0]) for _ in pairs]) / len(pairs)

    def batch() -> float:
        return seconds(lambda: compute_segment(own, _HOUR, _MARCH_2024_NS, reference)) / len(pairs)

    def again() -> float:
        def window(bar: Bar) -> object:
            end = own.position(bar.open_time) + 1
            return compute_segment(own[:end], _HOUR, _MARCH_2024_NS, reference[:end])

        return seconds(lambda: [window(bar) for bar, _ in some]) / len(some)

    def open_all() -> float:
        def one() -> object:
            live = LiveFeatures(Market("binance", "ETH-USDT"), _HOUR)
            return live.open(own, reference)

        return seconds(lambda: [one() for _ in range(_OPENED_MARKETS)])

    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"TA-Lib {version('ta-lib')}; {len(FEATURES)} features, version {FEATURE_VERSION}"
    )
    measured = {
        "push a closed bar": push,
        "preview a forming bar": preview,
        "batch, per bar": batch,
        "reference: arrays again per bar": again,
    }
    for name, measure in measured.items():
        median = statistics.median(measure() for _ in range(options.rounds))
        print(f"{name:<34} {median * 1e3:9.3f} ms   {1 / median:12,.0f} updates/s")
    median = statistics.median(open_all() for _ in range(options.rounds))
    print(f"open {_OPENED_MARKETS} markets from {len(own)} bars       {median:9.2f} s")


if __name__ == "__main__":
    main()
