"""Charts as inline SVG: no text of their own, no script, and colours from the page's style."""

from __future__ import annotations

from collections.abc import Sequence

from engine.reports.report import PriceChart, TrackRecord

WIDTH, HEIGHT = 600.0, 120.0
PADDING = 4.0
"""Room above and below the line, so that its stroke is not cut."""


def price_line(chart: PriceChart) -> tuple[str, str]:
    """Return the paths of a price line and of the area under it.

    The line breaks where bars are missing: what we do not hold is not drawn.

    Parameters
    ----------
    chart
        With at least one bar.
    """
    low, high = min(chart.closes), max(chart.closes)
    first, last = chart.times[0], chart.times[-1]

    def place(time: int, close: float) -> tuple[float, float]:
        across = (time - first) / (last - first) if last > first else 0.5
        up = (close - low) / (high - low) if high > low else 0.5
        return WIDTH * across, HEIGHT - PADDING - up * (HEIGHT - 2 * PADDING)

    line, area = [], []
    for stretch in _stretches(chart):
        points = [place(time, close) for time, close in stretch]
        drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        # A lone bar is a line of no length: its round ends make it a dot.
        line.append(f"M{drawn}" if len(points) > 1 else f"M{drawn}h0")
        area.append(f"M{points[0][0]:.1f} {HEIGHT:.0f}L{drawn}L{points[-1][0]:.1f} {HEIGHT:.0f}Z")
    return "".join(line), "".join(area)


def _stretches(chart: PriceChart) -> list[list[tuple[int, float]]]:
    found: list[list[tuple[int, float]]] = []
    before = None
    for time, close in zip(chart.times, chart.closes, strict=True):
        if before is None or time - before > chart.bar_ns:
            found.append([])
        found[-1].append((time, close))
        before = time
    return found


def return_bars(record: TrackRecord) -> list[tuple[float, float, float, bool]]:
    """Return the net return of each past signal as a bar: x, y, height, whether it was a gain.

    One that took no side is a bar of no height. Bars stand on, or hang from, the middle; each is
    0.8 wide, one unit from the next, in a box 100 high.
    """
    returns = [one.net_return or 0.0 for one in record.signals]
    most = max((abs(value) for value in returns), default=0.0)
    bars = []
    for number, value in enumerate(returns):
        height = 48.0 * abs(value) / most if most else 0.0
        y = 50.0 - height if value > 0 else 50.0
        bars.append((number + 0.1, round(y, 2), round(height, 2), value > 0))
    return bars


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Draw values as a line of block characters, each the mean of as many values.

    Examples
    --------
    >>> sparkline([1.0, 2.0, 3.0, 2.0], 4)
    '▁▅█▅'
    """
    count = len(values)
    cells = min(width, count)
    means = []
    for cell in range(cells):
        part = values[cell * count // cells : (cell + 1) * count // cells]
        means.append(sum(part) / len(part))
    low, high = min(means, default=0.0), max(means, default=0.0)
    span = high - low
    if not span:
        return SPARKS[3] * cells
    return "".join(
        SPARKS[min(len(SPARKS) - 1, int((mean - low) / span * len(SPARKS)))] for mean in means
    )


def block_bar(value: float, most: float, width: int = 12) -> str:
    """Draw a signed length: to the right of the middle above 0, to the left below.

    Examples
    --------
    >>> block_bar(1.0, 1.0, 2), block_bar(-0.5, 1.0, 2), block_bar(0.0, 1.0, 2)
    ('··│██', '·█│··', '··│··')
    """
    cells = round(width * min(1.0, abs(value) / most)) if most else 0
    filled, empty = "█" * cells, "·" * (width - cells)
    if value < 0:
        return f"{empty}{filled}│{'·' * width}"
    return f"{'·' * width}│{filled}{empty}"
