"""Texts for the quality gate: counted, and failing ones named, in the store.

Two texts of a source are duplicates where they are the same words, or nearly so: links, signs and
capitals do not count, and of longer texts the smallest and the largest hashes of all pairs of
words (MinHash, as ClickHouse has it) are compared. The first one is no duplicate. What a
running engine took for a near-duplicate when it came (`engine.texts.near_duplicates`) is one too,
unless it repeats another source: that is no fault of a source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.clock import NS_PER_S
from engine.quality.coverage import has_ended
from engine.quality.language import LanguageCount, Languages, count_languages
from engine.quality.measure import Measure, TextCounts, freshness, text_measures
from engine.quality.verdict import DailyQuality, SourceQuality, daily
from engine.settings.check_quality import QualitySection
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.quality_scope import INSTRUMENT_NAME, Scope, between, set_aside

SAMPLE = 20_000
"""Texts of each source whose language a sample tells: the share is right to 0.2 % of all."""

AHEAD_NS = 300 * NS_PER_S
"""A source's clock may be ahead of ours by this much."""

IDS_AT_ONCE = 5_000
"""Ids in one statement."""

OF_SOURCES = "(empty({sources:Array(String)}) OR source IN {sources:Array(String)})"
"""Which sources: the condition on ``sources``, none meaning all."""

DAY = "toUnixTimestamp64Nano(toDateTime64(toStartOfDay(available_at), 9, 'UTC'))"
CONTENT = "if(empty(body), title, concat(title, '\\n', body))"

_JUDGED = f"""
SELECT *, {CONTENT} AS content, lengthUTF8(content) AS length,
    trim(replaceRegexpAll(replaceRegexpAll(lowerUTF8(content), 'https?://\\\\S+', ' '),
        '[^\\\\p{{L}}\\\\p{{N}}$%]+', ' ')) AS words,
    if(countSubstrings(words, ' ') < 5, tuple(cityHash64(words), toUInt64(0)),
        wordShingleMinHashUTF8(words, 2, 6)) AS sketch,
    length < {{shortest:UInt32}} AS too_short, length > {{longest:UInt32}} AS too_long,
    empty(trim(title)) AS is_incomplete,
    toUnixTimestamp64Nano(available_at) <= {{now:Int64}} AND toYear(published_at) >= 2000
        AND toUnixTimestamp64Nano(published_at)
            <= toUnixTimestamp64Nano(available_at) + {AHEAD_NS} AS timely,
    notEmpty(text_id) AND kind IN ('news', 'post') AND isFinite(engagement) AND engagement >= 0
        AND credibility >= 0 AND credibility <= 1
        AND arrayAll(each -> match(each, {INSTRUMENT_NAME}), instruments) AS possible,
    (notEmpty(words) AND row_number() OVER
        (PARTITION BY source, sketch ORDER BY available_at, text_id) > 1)
        OR (notEmpty(duplicate_of)
            AND (source, duplicate_of) IN (SELECT source, text_id FROM texts)) AS is_repeated
FROM texts FINAL
WHERE {OF_SOURCES} AND {between("available_at")}
"""

_COUNTS = f"""
SELECT source, {DAY} AS day, count() AS rows, countIf(is_incomplete) AS incomplete,
    countIf(NOT timely) AS bad_times, countIf(NOT possible) AS bad_schema,
    countIf(too_short OR too_long) AS off_length, countIf(is_repeated) AS repeated
FROM ({_JUDGED})
GROUP BY source, day
"""

_NEWEST = f"""
SELECT source, toUnixTimestamp64Nano(max(available_at)) AS newest FROM texts
WHERE {between("available_at")} GROUP BY source
"""

_SAMPLE = f"""
SELECT source, {DAY} AS day, text_id, {CONTENT} AS content FROM texts FINAL
WHERE {OF_SOURCES} AND {between("available_at")}
ORDER BY source, cityHash64(text_id) LIMIT {{most:UInt32}} BY source
"""

_KEPT = (
    "text_id", "source", "kind", "title", "body", "url", "published_at", "available_at",
    "engagement", "credibility", "instruments",
)  # fmt: skip
_FAULTS = {
    "no headline": "is_incomplete",
    "time is impossible": "NOT timely",
    "kind, engagement, credibility or instruments are impossible": "NOT possible",
    "too short": "too_short",
    "too long": "too_long",
    "said before by the same source": "is_repeated",
}
_SET_ASIDE = set_aside("texts", "source", _FAULTS, _KEPT, _JUDGED)
_SET_FOREIGN_ASIDE = set_aside(
    "texts",
    "source",
    {"not in English": "true"},
    _KEPT,
    f"SELECT * FROM texts FINAL WHERE {between('available_at')} "
    "AND text_id IN {ids:Array(String)}",
)


class TextQuality:
    """The texts of a scope: what there is, day by day, and which rows fail.

    Parameters
    ----------
    store
        Where they are.
    quality
        The thresholds.
    scope
        Which ones.
    """

    def __init__(self, store: Store, quality: QualitySection, scope: Scope) -> None:
        self._store = store
        self._quality = quality
        self._scope = scope
        found = store.query_arrow(_NEWEST, scope.span).to_pylist()
        self._newest = {row["source"]: row["newest"] for row in found}

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are looked at and have texts in the scope."""
        wanted = self._scope.sources or sorted(self._newest)
        return tuple(source for source in wanted if source in self._newest)

    @property
    def missing(self) -> tuple[str, ...]:
        """The sources that were asked for by name and have no text in the scope."""
        return tuple(source for source in self._scope.sources if source not in self._newest)

    def sampled_languages(self) -> Languages:
        """Tell the languages of `SAMPLE` texts of each source, the same ones every time."""
        found = self._store.query_arrow(_SAMPLE, self._parameters() | {"most": SAMPLE})
        columns = (python_values(column) for column in found.columns)
        return count_languages(zip(*columns, strict=True))

    def measured(self, languages: Languages) -> Iterator[tuple[SourceQuality, DailyQuality]]:
        """Yield what was measured of each source: over the whole stretch, and daily."""
        by_source: dict[str, dict[int, TextCounts]] = defaultdict(dict)
        for row in self._store.query_arrow(_COUNTS, self._parameters()).to_pylist():
            source, day = row.pop("source"), row.pop("day")
            count = languages.get((source, day), LanguageCount())
            by_source[source][day] = TextCounts(**row, told=count.told, foreign=len(count.foreign))
        for source in self.sources:
            yield self._judged(source, by_source[source])

    def set_aside(self, foreign: Sequence[str], run_id: str) -> None:
        """Copy the failing texts to ``quarantine``, each once.

        Parameters
        ----------
        foreign
            Ids of those that are not in English.
        run_id
            Of the run that does it.
        """
        common = self._parameters() | {"run_id": run_id}
        self._store.command(_SET_ASIDE, common)
        for start in range(0, len(foreign), IDS_AT_ONCE):
            ids = foreign[start : start + IDS_AT_ONCE]
            self._store.command(_SET_FOREIGN_ASIDE, common | {"ids": list(ids)})

    def _parameters(self) -> dict[str, Any]:
        shortest, longest = self._quality.text_length
        bounds = {"shortest": shortest, "longest": longest}
        return self._scope.span | bounds | {"sources": list(self._scope.sources)}

    def _judged(
        self, source: str, by_day: Mapping[int, TextCounts]
    ) -> tuple[SourceQuality, DailyQuality]:
        counts = sum(by_day.values(), TextCounts())
        newest, end = self._newest[source], self._scope.end
        last: tuple[Measure, ...] = ()
        if not has_ended(newest, max(self._newest.values()), end, self._quality):
            last = (freshness(newest, end, counts.rows, self._quality),)
        measured = {day: text_measures(each, self._quality) for day, each in sorted(by_day.items())}
        whole = (*text_measures(counts, self._quality), *last)
        return SourceQuality("texts", source, whole), daily("texts", source, measured, last)


def foreign_of(languages: Languages) -> Sequence[str]:
    """Return the ids of the texts that are not in English."""
    return [text_id for count in languages.values() for text_id in count.foreign]
