"""APIs that give texts in pages, newest first: one loop for all of them.

What an API is like (addresses, parameters, the shape of its pages and rows) is said by an adapter
without I/O, a `PagedApi`; this module asks, turns pages and remembers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from engine.clock import NS_PER_S, Clock, iso_utc
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.access import Access
from engine.sources.answer import Refused
from engine.sources.base import Intake, Memory, SourceReport
from engine.sources.draft import Draft, RowError, TextMaker
from engine.sources.http import SourceClient

AHEAD_NS = 3600 * NS_PER_S
"""A text that claims to be later than our clock by more is set aside."""

MOST_SKIPPED = 10_000
"""Rows that are remembered as unusable."""


@dataclass(frozen=True, slots=True)
class Request:
    """A page to ask for."""

    url: str
    params: Mapping[str, str] = field(default_factory=dict)

    def also(self, **params: str) -> Request:
        """Return it with further parameters, or other values of them."""
        return Request(self.url, {**self.params, **params})


@dataclass(frozen=True, slots=True)
class Page:
    """A page that came."""

    rows: Sequence[msgspec.Raw]
    """Undecoded: a bad one must not take the others with it."""
    following: Request | None
    """The next, older one; None on the last."""


class PagedApi(Protocol):
    """An API of texts, described. It does no I/O and has no clock."""

    @property
    def per_minute(self) -> float:
        """Requests a minute that it allows, or that are polite."""
        ...

    @property
    def overlap_ns(self) -> int:
        """How late a text may appear behind newer ones: so much is asked for again."""
        ...

    @property
    def most_pages(self) -> int:
        """Pages that one look may turn: the API's own limit, or what is enough."""
        ...

    @property
    def params(self) -> tuple[str, ...]:
        """Parameters of its own that the configuration may name."""
        ...

    def access(self) -> Access:
        """Return who asks.

        Raises
        ------
        ConfigError
            Where a key is missing.
        """
        ...

    def first(self, since_ns: int) -> Request:
        """Return the request for the newest page of what was published since a moment."""
        ...

    def page(self, content: bytes, request: Request) -> Page:
        """Read an answer.

        Raises
        ------
        ValueError
            Where it is not of the documented shape.
        """
        ...

    def draft(self, row: msgspec.Raw) -> Draft | None:
        """Read a row; None where the source has withdrawn the text.

        Raises
        ------
        ValueError
            Where it cannot be used.
        """
        ...

    def is_end(self, refusal: Refused) -> bool:
        """Whether a refused page means that there are no more, for this key or at all."""
        ...


class PagedSource:
    """A `Source` over a `PagedApi`.

    A look turns pages until it meets a text older than the newest one given before, less the
    overlap. The place is moved only once all pages were read.

    Parameters
    ----------
    api
        The adapter.
    maker
        What makes texts of drafts.
    client
        Who asks.
    clock
        What time it is.
    """

    def __init__(self, api: PagedApi, maker: TextMaker, client: SourceClient, clock: Clock) -> None:
        self._api = api
        self._maker = maker
        self._client = client
        self._clock = clock
        self._intake = Intake(maker.source)
        self._newest = 0
        self._skipped = Memory(MOST_SKIPPED)

    @property
    def name(self) -> str:
        """Its configured name."""
        return self._maker.source

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._intake.report

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Ask for what came after `since_ns` only; see `engine.sources.base.Source`."""
        self._newest = max(0, since_ns)
        self._intake.remember(seen)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def poll(self) -> list[TextItem]:
        """Return what is new; see `engine.sources.base.Source`."""
        since = max(0, self._newest - self._api.overlap_ns)
        request: Request | None = self._api.first(since)
        found: list[TextItem] = []
        for number in range(self._api.most_pages):
            if request is None:
                break
            page = await self._turn(request, number)
            if page is None:
                break
            texts = list(self._texts(page, number + 1))
            found += [text for text in texts if text.published_at >= since]
            request = page.following
            if any(text.published_at < since for text in texts):
                break
        else:
            if request is not None:
                reach = f"only the newest {self._api.most_pages} pages since {iso_utc(since)}"
                self._intake.skip("page_limit", f"{reach} were read")
        self._newest = max([self._newest, *(text.published_at for text in found)])
        self._newest = min(self._newest, self._clock.now_ns())
        return self._intake.new(found)

    async def _turn(self, request: Request, number: int) -> Page | None:
        """Read a page; None where it is past the last one."""
        try:
            answer = await self._client.get(request.url, request.params)
        except Refused as refusal:
            if number and self._api.is_end(refusal):
                return None
            raise
        try:
            return self._api.page(answer.content, request)
        except ValueError as error:
            raise SourceError(
                f"source {self.name}: {request.url} sent something else than is documented: {error}"
            ) from None

    def _texts(self, page: Page, number: int) -> Iterator[TextItem]:
        now = self._clock.now_ns()
        for place, row in enumerate(page.rows, 1):
            try:
                draft = self._api.draft(row)
                if draft is None:
                    self._skip(row, "withdrawn", f"page {number}, row {place}: withdrawn")
                    continue
                if draft.published_at > now + AHEAD_NS:
                    raise RowError(f"it claims to be of {iso_utc(draft.published_at)}: not yet")
                yield self._maker.text(draft, now)
            except (ValueError, OverflowError) as error:
                self._skip(row, "bad_row", f"page {number}, row {place}: {error}")

    def _skip(self, row: msgspec.Raw, kind: str, reason: str) -> None:
        """Count a row, once, though it is met again at every look."""
        digest = hashlib.blake2b(bytes(row), digest_size=16).hexdigest()
        if digest not in self._skipped:
            self._skipped.add(digest)
            self._intake.skip(kind, reason)
