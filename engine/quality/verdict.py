"""What the measures of all sources say together: fit for training or not, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.domain.quality import QualityScore, QualityTable
from engine.quality.measure import SCORE, Measure


@dataclass(frozen=True, slots=True)
class SourceQuality:
    """The measures of one source."""

    table: QualityTable
    source: str
    """A market and timeframe (``binance BTC-USDT 1h``), or a source of texts."""
    measures: tuple[Measure, ...]
    """At least one."""

    @property
    def passed(self) -> bool:
        """Whether every measure passes."""
        return all(measure.passed for measure in self.measures)

    @property
    def score(self) -> float:
        """Mean soundness of the measures, in [0, 1]."""
        return sum(measure.soundness for measure in self.measures) / len(self.measures)

    def rows(self, day: int, run_id: str, checked_at: int) -> Iterator[QualityScore]:
        """Yield a row of ``quality_scores`` for each measure, and one for the score.

        Parameters
        ----------
        day
            Begin of the day that was measured, UTC nanoseconds.
        run_id
            Of the run that measured.
        checked_at
            UTC nanoseconds.
        """

        def row(
            measure: str, value: float, threshold: float | None, passed: bool, rows: int
        ) -> QualityScore:
            return QualityScore(
                table_name=self.table,
                source=self.source,
                day=day,
                measure=measure,
                value=value,
                threshold=threshold,
                passed=passed,
                rows=rows,
                run_id=run_id,
                checked_at=checked_at,
            )

        for each in self.measures:
            yield row(each.name, each.value, each.threshold, each.passed, each.rows)
        most = max(each.rows for each in self.measures)
        yield row(SCORE, self.score, None, self.passed, most)


DailyQuality = list[tuple[int, SourceQuality]]
"""Begin of a day (UTC nanoseconds) and what was measured of it, ascending."""


def daily(
    table: QualityTable,
    source: str,
    measured: Mapping[int, tuple[Measure, ...]],
    last: tuple[Measure, ...],
) -> DailyQuality:
    """Return the days of a source that have any measure.

    Parameters
    ----------
    measured
        Begin of a day (UTC nanoseconds) -> its measures; ascending.
    last
        Measures of the source as it is at the end: they belong to the last day.
    """
    days = [(day, measures) for day, measures in measured.items() if measures]
    return [
        (day, SourceQuality(table, source, measures + (last if day == days[-1][0] else ())))
        for day, measures in days
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the gate."""

    sources: tuple[SourceQuality, ...]
    missing: tuple[str, ...] = ()
    """What was asked for and has no rows at all."""

    def __add__(self, other: Verdict) -> Verdict:
        """Judge both together."""
        return Verdict(self.sources + other.sources, self.missing + other.missing)

    @property
    def passed(self) -> bool:
        """Whether there is anything, and all of it is fit."""
        return bool(self.sources) and not self.missing and all(s.passed for s in self.sources)

    @property
    def score(self) -> float:
        """Mean score of the sources, in [0, 1]; 0 where there is none."""
        if not self.sources:
            return 0.0
        return sum(source.score for source in self.sources) / len(self.sources)

    @property
    def worst(self) -> dict[str, tuple[str, Measure]]:
        """Measure -> the source where it is least sound, and its value there."""
        found: dict[str, tuple[str, Measure]] = {}
        for source in self.sources:
            for measure in source.measures:
                known = found.get(measure.name)
                if known is None or measure.soundness < known[1].soundness:
                    found[measure.name] = source.source, measure
        return found

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not pass, a sentence each; empty where everything does."""
        found = [f"{name}: nothing is stored" for name in self.missing]
        if not self.sources and not self.missing:
            found.append("nothing is stored of what was asked for")
        for source in self.sources:
            failing = [str(measure) for measure in source.measures if not measure.passed]
            if failing:
                found.append(f"{source.source}: {', '.join(failing)}")
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""
        return {
            "passed": self.passed,
            "score": self.score,
            "problems": list(self.problems),
            "sources": {
                f"{source.table} {source.source}": {
                    "score": source.score,
                    "passed": source.passed,
                    **{measure.name: measure.value for measure in source.measures},
                }
                for source in self.sources
            },
        }
