"""``GET /v1/sentiment/events``: filtered, and paged by whole moments."""

from __future__ import annotations

import pytest
from serve_samples import AS_OF, HOUR

from engine.clock import iso_utc
from engine.domain.sentiment import SentimentEvent
from engine.errors import StoreUnavailable
from serve.sentiment_event_routes import SentimentEventsAnswer

US = 1_000


def event(
    number: int, hours: int, kind: str = "sentiment_flip", window: str = "1d"
) -> SentimentEvent:
    is_flip = kind == "sentiment_flip"
    return SentimentEvent(
        event_id=f"event-{number}",
        kind=kind,  # type: ignore[arg-type]  # a parameter of the test
        instrument="BTC-USDT" if number % 2 else "ETH-USDT",
        window=window,
        as_of=AS_OF - hours * HOUR,
        direction="bearish" if is_flip else None,
        score=-0.25 if is_flip else None,
        surprise=None if is_flip else 4.26,
        volume=7,
        weight=2.5,
        model="lexicon-1",
    )


EVENTS = [
    event(1, 200),
    event(2, 5),
    event(3, 4, "mention_spike", "1h"),
    event(4, 4),
    event(5, 4),
    event(6, 1, "mention_spike"),
]


async def ask(http, query: str = "") -> SentimentEventsAnswer:
    answer = await http.get(f"/v1/sentiment/events{query}")
    assert answer.status_code == 200, answer.text
    return SentimentEventsAnswer.model_validate(answer.json())


def numbers(answer: SentimentEventsAnswer) -> list[int]:
    return [int(each.event_id.removeprefix("event-")) for each in answer.events]


async def test_events_of_the_last_week_come_oldest_first_with_words(http, stored) -> None:
    stored.event_rows = EVENTS
    answer = await ask(http)
    assert numbers(answer) == [2, 3, 4, 5, 6]
    assert answer.next_start is None
    flip, spike = answer.events[0], answer.events[1]
    assert (flip.as_of, flip.direction, flip.surprise) == (
        iso_utc(AS_OF - 5 * HOUR),
        "bearish",
        None,
    )
    assert flip.message == "ETH-USDT: sentiment over 1d turned bearish (score -0.25)"
    assert (spike.direction, spike.score, spike.volume) == (None, None, 7)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?instrument=btc-usdt", [3, 5]),
        ("?kind=mention_spike", [3, 6]),
        ("?window=1h", [3]),
        ("?kind=mention_spike&window=1d&instrument=ETH-USDT", [6]),
        (f"?start={iso_utc(AS_OF - 300 * HOUR)}&end={iso_utc(AS_OF - 4 * HOUR)}", [1, 2]),
    ],
)
async def test_events_are_filtered(http, stored, query, expected) -> None:
    stored.event_rows = EVENTS
    assert numbers(await ask(http, query)) == expected


async def test_events_pages_never_part_a_moment(http, stored) -> None:
    stored.event_rows = EVENTS
    first = await ask(http, "?limit=1")
    assert (numbers(first), first.next_start) == ([2], iso_utc(AS_OF - 4 * HOUR))
    second = await ask(http, f"?limit=2&start={first.next_start}")
    assert numbers(second) == [3, 4, 5]
    assert second.next_start == iso_utc(AS_OF - 4 * HOUR + US)
    third = await ask(http, f"?limit=2&start={second.next_start}")
    assert (numbers(third), third.next_start) == ([6], None)


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("?instrument=NOPE-USDT", 404, "unknown-instrument"),
        ("?kind=flip", 422, "bad-parameter"),
        ("?window=2w", 422, "bad-parameter"),
        ("?limit=0", 422, "bad-parameter"),
        ("?instruments=BTC-USDT", 422, "bad-parameter"),
        ("?start=2026-01-06T00:00:00Z", 422, "bad-parameter"),
    ],
)
async def test_events_asked_for_wrongly_are_refused(http, query, status, kind) -> None:
    answer = await http.get(f"/v1/sentiment/events{query}")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, kind)


async def test_events_without_a_store_say_503(http, stored) -> None:
    stored.failure = StoreUnavailable("refused")
    assert (await http.get("/v1/sentiment/events")).status_code == 503
