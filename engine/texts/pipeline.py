"""From a text as its source gives it to one that counts, or the reason why it does not.

In order: the normal form; what has no words left, and spam, is rejected; instruments are looked
for again where the form changed them; what repeats another text is marked; a text weighs as much
as its source was right. All of it is decided once, when the text comes, and stored with it: who
reads the store sees what the running engine saw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from engine.clock import NS_PER_S, iso_utc
from engine.domain.quarantine import QuarantinedRow
from engine.domain.text import TextItem
from engine.metrics import DUPLICATE_TEXTS, REJECTED_TEXTS
from engine.settings.texts import TextsSection
from engine.texts.credibility import MeasuredCredibility
from engine.texts.near_duplicates import NearDuplicates
from engine.texts.normalise import normalise, words
from engine.texts.spam import PostingWatch, SpamReason, spam_reason

Rejection: TypeAlias = Literal["empty"] | SpamReason
"""Why a text is not let in."""

JOB = "texts"
"""Who sets rejected texts aside: the actor's name, as ``quarantine`` has it."""


@dataclass(frozen=True, slots=True)
class RejectedText:
    """A text that is not let in."""

    item: TextItem
    """In normal form."""
    reason: Rejection

    def row(self) -> QuarantinedRow:
        """Return it as a row of ``quarantine``: the same text counts once, however often read."""
        kept = {
            "text_id": self.item.text_id,
            "kind": self.item.kind,
            "title": self.item.title,
            "body": self.item.body,
            "url": self.item.url,
            "author": self.item.author,
            "published_at": iso_utc(self.item.published_at),
        }
        return QuarantinedRow(
            job=JOB,
            run_id="",
            table_name="texts",
            source=self.item.source,
            row_number=0,
            reason=f"spam: {self.reason}" if self.reason != "empty" else "empty",
            row=msgspec.json.encode(kept).decode(),
            quarantined_at=self.item.available_at,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of some texts."""

    items: list[TextItem]
    """Let in, in the order given."""
    rejected: list[RejectedText]


class TextPipeline:
    """Admits texts, in the order in which they come.

    The same texts in the same order fare the same. It remembers a bounded number of them
    (`NearDuplicates`, `PostingWatch`); `resume` gives a new process that memory.

    Parameters
    ----------
    section
        The settings.
    mentions
        Text -> instruments that it speaks of.
    """

    def __init__(self, section: TextsSection, mentions: Callable[[str], tuple[str, ...]]) -> None:
        self.rejected: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Source -> how many were not let in, by reason."""
        self.duplicates: Counter[str] = Counter()
        """Source -> how many repeated another text."""
        self.credibility: MeasuredCredibility | None = None
        """How often sources were right; None gives every text what its source is configured."""
        self._section = section
        self._mentions = mentions
        self._watch = PostingWatch()
        self._near = NearDuplicates(
            section.duplicate_similarity,
            round(section.duplicate_window_h * 3_600 * NS_PER_S),
            section.duplicate_memory,
        )

    def resume(self, stored: Iterable[TextItem]) -> None:
        """Remember texts that were let in before, oldest first."""
        for item in stored:
            self._watch.reason(item)
            if not item.duplicate_of:
                self._near.remember(item)

    def admit(self, items: Sequence[TextItem]) -> Admission:
        """Look at texts as they come.

        Parameters
        ----------
        items
            As their sources give them.

        Returns
        -------
        Admission
            Every text is in it once. Those that are let in are in normal form, with the id of the
            text that they repeat, and the credibility that they count with.
        """
        admitted, rejected = [], []
        for item in items:
            normal = self._normal(item)
            reason = self._reason(normal)
            if reason is not None:
                self.rejected[item.source][reason] += 1
                REJECTED_TEXTS.labels(item.source, reason).inc()
                rejected.append(RejectedText(normal, reason))
                continue
            admitted.append(self._weighed(normal))
        return Admission(admitted, rejected)

    def _normal(self, item: TextItem) -> TextItem:
        title, body = normalise(item.title), normalise(item.body)
        if not title:
            title, body = body, ""
        if (title, body) == (item.title, item.body):
            return item
        changed = msgspec.structs.replace(item, title=title, body=body)
        return msgspec.structs.replace(changed, instruments=self._mentions(changed.content))

    def _reason(self, item: TextItem) -> Rejection | None:
        if not words(item.content):
            return "empty"
        # Counted even where spam is let in: turning the filter on begins with what was seen.
        watched = self._watch.reason(item)
        if not self._section.reject_spam:
            return None
        return spam_reason(item.content, item.kind) or watched

    def _weighed(self, item: TextItem) -> TextItem:
        original = self._near.original_of(item)
        if original:
            self.duplicates[item.source] += 1
            DUPLICATE_TEXTS.labels(item.source).inc()
        credibility = item.credibility
        if self.credibility is not None:
            credibility = self.credibility.credibility_at(
                item.source,
                item.available_at,
                configured=item.credibility,
                engagement=item.engagement,
                author=item.author,
            )
        if (original, credibility) == (item.duplicate_of, item.credibility):
            return item
        return msgspec.structs.replace(item, duplicate_of=original, credibility=credibility)
