"""How often a source was right, as far as it was known at a moment.

An *opinion* is a bullish or bearish score of a text about an instrument. It was right where the
instrument's return over the horizon that followed had its sign; that is known when the horizon
has passed, never before. Within one horizon only the first opinion of a subject on an instrument
counts: what follows speaks of the same move.

With ``r`` right and ``w`` wrong opinions, each worth ``2 ** (-age / half_life)`` since it became
known, credibility is the mean of a Beta distribution around a prior ``p`` that weighs as much as
``n`` opinions: ``(n p + r) / (n + r + w)``. The prior of a source is its configured credibility.
That of an author, and of a class of engagement, is the source's credibility without their own
opinions, so that no opinion counts twice. A text has the credibility of its author where that is
known, else of its engagement, else of its source; where nothing is known the configured one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from engine.domain.credibility import CredibilityLevel, SourceCredibility
from engine.texts.credibility_rules import CredibilityRules

UNCONFIGURED = 0.5
"""Prior of a source that the configuration does not name: as often right as wrong."""

_CLASSES = (1_000, 100, 10, 1)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a text said of an instrument, and whether that came true."""

    source: str
    author: str
    """Hash; empty where there is none."""
    engagement: float
    instrument: str
    text_id: str
    available_at: int
    """UTC nanoseconds."""
    known_at: int
    """When it was known what followed, UTC nanoseconds."""
    is_right: bool


class Subject(NamedTuple):
    """Whose opinions are counted."""

    source: str
    level: CredibilityLevel
    name: str


def engagement_class(engagement: float) -> str:
    """Return the class of an engagement: its least, of 0, 1, 10, 100 and 1000.

    Examples
    --------
    >>> [engagement_class(each) for each in (0.0, 7.0, 12.0, 25_000.0)]
    ['0', '1', '10', '1000']
    """
    return next((str(least) for least in _CLASSES if engagement >= least), "0")


def subjects(source: str, engagement: float, author: str) -> tuple[Subject, ...]:
    """Return whom a text's opinion counts for, the whole source first, the author last."""
    found = [
        Subject(source, "source", ""),
        Subject(source, "engagement", engagement_class(engagement)),
    ]
    if author:
        found.append(Subject(source, "author", author))
    return tuple(found)


@dataclass(slots=True)
class _Tally:
    right: float = 0.0
    wrong: float = 0.0
    opinions: int = 0
    as_of: int = 0

    def fade(self, rules: CredibilityRules, as_of: int) -> None:
        if self.opinions:
            worth = rules.faded(as_of - self.as_of)
            self.right *= worth
            self.wrong *= worth
        self.as_of = as_of

    @property
    def sums(self) -> tuple[float, float]:
        return self.right, self.wrong

    def add(self, is_right: bool, worth: float) -> None:
        self.right += worth * is_right
        self.wrong += worth * (not is_right)
        self.opinions += 1


def measure(
    opinions: Iterable[Opinion],
    rules: CredibilityRules,
    *,
    every_ns: int,
    end: int,
    model: str,
    configured: Callable[[str], float],
) -> Iterator[SourceCredibility]:
    """Yield what was known of each subject at every moment that brought something new.

    A row depends on nothing that became known after its moment: leaving later opinions out
    changes no earlier row.

    Parameters
    ----------
    opinions
        In any order.
    rules
        What decides the values.
    every_ns
        Moments are the whole multiples of it, nanoseconds.
    end
        Moments up to this one, UTC nanoseconds.
    model
        Name and version of the model that scored.
    configured
        Source -> its configured credibility.

    Yields
    ------
    SourceCredibility
        By moment, then by subject.
    """

    def moment(opinion: Opinion) -> int:
        return -(-opinion.known_at // every_ns) * every_ns

    def order(opinion: Opinion) -> tuple[int, int, str, str]:
        return opinion.known_at, opinion.available_at, opinion.text_id, opinion.instrument

    counts = _Counts(rules)
    for as_of, known in groupby(sorted(opinions, key=order), key=moment):
        if as_of > end:
            return
        touched = {subject for each in known for subject in counts.count(each, as_of)}
        for subject in sorted(touched):
            row = counts.row(subject, as_of, model, configured(subject.source))
            if row is not None:
                yield row


class _Counts:
    """The tallies of all subjects, and which opinion of each was counted last."""

    def __init__(self, rules: CredibilityRules) -> None:
        self._rules = rules
        self._tallies: defaultdict[Subject, _Tally] = defaultdict(_Tally)
        self._last: dict[tuple[Subject, str], int] = {}

    def count(self, opinion: Opinion, as_of: int) -> Iterator[Subject]:
        """Count an opinion as of a moment, and yield for whom it counted."""
        worth = self._rules.faded(as_of - opinion.known_at)
        for subject in subjects(opinion.source, opinion.engagement, opinion.author):
            key = subject, opinion.instrument
            last = self._last.get(key)
            if last is not None and abs(opinion.available_at - last) < self._rules.horizon_ns:
                continue
            self._last[key] = opinion.available_at
            tally = self._tallies[subject]
            tally.fade(self._rules, as_of)
            tally.add(opinion.is_right, worth)
            yield subject

    def row(
        self, subject: Subject, as_of: int, model: str, configured: float
    ) -> SourceCredibility | None:
        tally = self._tallies[subject]
        if subject.level == "author" and tally.opinions < self._rules.author_opinions:
            return None
        prior = configured
        if subject.level != "source":
            whole = self._tallies[Subject(subject.source, "source", "")]
            whole.fade(self._rules, as_of)
            prior = self._rules.prior_within(configured, whole.sums, tally.sums)
        return SourceCredibility(
            source=subject.source,
            level=subject.level,
            name=subject.name,
            model=model,
            version=self._rules.version,
            as_of=as_of,
            right=tally.right,
            wrong=tally.wrong,
            opinions=tally.opinions,
            prior=prior,
            credibility=self._rules.credibility(prior, tally.right, tally.wrong),
        )


class MeasuredCredibility:
    """Answers what a text's credibility was at a moment.

    Parameters
    ----------
    rows
        Of one model, in any order. Those of another version of the rules are left out.
    rules
        What the rows were measured by.
    """

    def __init__(self, rows: Iterable[SourceCredibility], rules: CredibilityRules) -> None:
        self._rules = rules
        self._rows: dict[Subject, list[SourceCredibility]] = {}
        for row in sorted(rows, key=lambda each: each.as_of):
            if row.version == rules.version:
                subject = Subject(row.source, row.level, row.name)
                self._rows.setdefault(subject, []).append(row)

    def __len__(self) -> int:
        """Return of how many subjects something is known."""
        return len(self._rows)

    def credibility_at(
        self,
        source: str,
        time: int,
        *,
        configured: float = UNCONFIGURED,
        engagement: float = 0.0,
        author: str = "",
    ) -> float:
        """Return a text's credibility as it was known at a moment.

        Parameters
        ----------
        source
            Configured name.
        time
            UTC nanoseconds: nothing that became known later counts.
        configured
            The source's configured credibility, in [0, 1]: the answer where nothing is known.
        engagement
            Of the text, at least 0.
        author
            Hash; empty for none.

        Returns
        -------
        float
            In [0, 1].
        """
        whole, *parts = (
            self._sums(subject, time) for subject in subjects(source, engagement, author)
        )
        if whole is None:
            return configured
        own = next((sums for sums in reversed(parts) if sums is not None), None)
        if own is None:
            return self._rules.credibility(configured, *whole)
        return self._rules.credibility(self._rules.prior_within(configured, whole, own), *own)

    def _sums(self, subject: Subject, time: int) -> tuple[float, float] | None:
        """Return a subject's right and wrong opinions as of a moment; None where none is known."""
        rows = self._rows.get(subject, [])
        place = bisect_right(rows, time, key=lambda row: row.as_of)
        if not place:
            return None
        row = rows[place - 1]
        worth = self._rules.faded(time - row.as_of)
        return worth * row.right, worth * row.wrong
