"""The law of paging: every text that appears in time is given once, whatever the looks."""

import asyncio
import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import NS_PER_S, DataClock
from engine.sources.access import Access
from engine.sources.answer import Answer
from engine.sources.draft import Draft, TextMaker
from engine.sources.paged import Page, PagedSource, Request

OVERLAP_S = 50
PAGE = 3
START_S = 1_000


class Numbers:
    """An API whose rows are ``[number, second]``."""

    per_minute = 1.0
    overlap_ns = OVERLAP_S * NS_PER_S
    most_pages = 1_000
    params = ()

    def access(self):
        return Access()

    def first(self, since_ns):
        return Request("numbers", {"page": "0"})

    def page(self, content, request):
        rows = msgspec.json.decode(content, type=list[msgspec.Raw])
        following = request.also(page=str(int(request.params["page"]) + 1))
        return Page(rows, following if rows else None)

    def draft(self, row):
        number, second = msgspec.json.decode(row, type=tuple[int, int])
        return Draft(own_id=str(number), title=f"text {number}", published_at=second * NS_PER_S)

    def is_end(self, refusal):
        return False


class Server:
    """Serves what has appeared by now, newest first."""

    def __init__(self):
        self.rows = []
        self.asked = 0

    async def get(self, url, params):
        self.asked += 1
        newest_first = sorted(self.rows, key=lambda row: (row[1], row[0]), reverse=True)
        start = int(params["page"]) * PAGE
        return Answer(200, json.dumps(newest_first[start : start + PAGE]).encode(), {})


texts = st.lists(
    st.tuples(st.integers(START_S, START_S + 500), st.integers(0, OVERLAP_S)), max_size=40
)
looks = st.lists(st.integers(START_S, START_S + 600), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(texts, looks)
def test_paging_gives_every_text_once_however_late_it_appears_within_the_overlap(texts, looks):
    """A text appears up to the overlap after its time; looks come at any moments."""
    clock, server = DataClock(), Server()
    maker = TextMaker("s", 0.5, lambda text: (), str)
    source = PagedSource(Numbers(), maker, server, clock)
    source.resume(START_S * NS_PER_S)
    given_out = []
    last = START_S + 600 + OVERLAP_S
    for moment in [*sorted(looks), last]:
        clock.advance(moment * NS_PER_S)
        server.rows = [
            (number, second)
            for number, (second, lateness) in enumerate(texts)
            if second + lateness <= moment
        ]
        found = asyncio.run(source.poll())
        times = [item.published_at for item in found]
        assert times == sorted(times)
        assert {item.available_at for item in found} <= {moment * NS_PER_S}
        given_out += [item.title for item in found]
    assert sorted(given_out) == sorted(f"text {number}" for number in range(len(texts)))


def test_paging_text_far_ahead_of_our_clock_does_not_move_the_place():
    """Else one wrong clock at a publisher would end the source for good."""
    clock, server = DataClock(START_S * NS_PER_S), Server()
    source = PagedSource(Numbers(), TextMaker("s", 0.5, lambda text: (), str), server, clock)
    server.rows = [(1, START_S + 3_000), (2, START_S + 4_000)]
    (early,) = asyncio.run(source.poll())
    assert early.title == "text 1", "up to an hour ahead is a clock, more is an error"
    server.rows.append((3, START_S - OVERLAP_S + 1))
    assert [item.title for item in asyncio.run(source.poll())] == ["text 3"]
    assert source.report.problems[0].startswith("page 1, row 1: it claims to be of ")
