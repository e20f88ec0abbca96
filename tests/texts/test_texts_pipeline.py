"""The pipeline: every text is let in or rejected with its reason, once and for all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from texts_samples import DAY, HOUR, T0, item

from engine.config import SimulatorConfig
from engine.domain.credibility import SourceCredibility
from engine.domain.text import TextItem
from engine.settings.texts import TextsSection
from engine.simulator.news import NewsProcess
from engine.sources.mentions import MentionFinder
from engine.texts.credibility import MeasuredCredibility
from engine.texts.credibility_rules import CredibilityRules
from engine.texts.normalise import normalise
from engine.texts.pipeline import TextPipeline

FINDER = MentionFinder(["BTC-USDT", "ETH-USDT"])
HEADLINE = "Regulator approves the first spot fund after a decade of refusals"
SPAM = "Giveaway! Retweet this and follow me to win 1 BTC"


def pipeline(**settings: object) -> TextPipeline:
    return TextPipeline(TextsSection(**settings), FINDER.find)  # type: ignore[arg-type]


def test_admit_sound_text_in_normal_form_is_let_in_as_it_is() -> None:
    text = item(1, HEADLINE, instruments=("SOL-USDT",))
    admission = pipeline().admit([text])
    assert admission.items == [text]
    assert admission.items[0] is text, "its source's instruments stay"
    assert admission.rejected == []


def test_admit_text_whose_form_changes_is_matched_with_instruments_again() -> None:
    (found,) = (
        pipeline().admit([item(1, "𝗕𝗶𝘁\u200b𝗰𝗼𝗶𝗻 &amp; $ETH\x00 rally", instruments=())]).items
    )
    assert found.title == "Bitcoin & $ETH rally"
    assert found.instruments == ("BTC-USDT", "ETH-USDT")


def test_admit_text_without_words_is_rejected_as_empty() -> None:
    (found,) = pipeline().admit([item(1, "\u200b https://x.io/1 ...")]).rejected
    assert (found.reason, found.row().reason) == ("empty", "empty")


def test_admit_text_with_a_body_alone_has_it_as_its_title() -> None:
    (found,) = pipeline().admit([item(1, "\u200b", body="Bitcoin falls again today")]).items
    assert (found.title, found.body) == ("Bitcoin falls again today", "")


def test_admit_spam_is_rejected_counted_and_can_be_read_in_quarantine() -> None:
    pipe = pipeline()
    admission = pipe.admit([item(1, SPAM, kind="post", source="posts"), item(2, HEADLINE)])
    assert [each.text_id for each in admission.items] == ["text-002"]
    (rejected,) = admission.rejected
    row = rejected.row()
    assert (row.job, row.table_name, row.source, row.reason) == (
        "texts",
        "texts",
        "posts",
        "spam: giveaway",
    )
    assert json.loads(row.row)["title"] == SPAM
    assert json.loads(row.row)["published_at"] == "2026-01-05T00:00:00.000000Z"
    assert {source: dict(why) for source, why in pipe.rejected.items()} == {
        "posts": {"giveaway": 1}
    }


def test_admit_same_spam_read_again_later_makes_an_equal_row() -> None:
    first, again = (
        pipeline().admit([replace(item(1, SPAM, kind="post"), available_at=T0 + age)]).rejected[0]
        for age in (0, HOUR)
    )
    assert first.row().row == again.row().row


def test_admit_spam_is_let_in_where_the_configuration_says_so() -> None:
    pipe = pipeline(reject_spam=False)
    assert pipe.admit([item(1, SPAM, kind="post")]).rejected == []


def test_admit_near_duplicate_is_kept_and_marked() -> None:
    pipe = pipeline()
    pipe.admit([item(1, HEADLINE)])
    (found,) = pipe.admit([item(2, HEADLINE + "!", T0 + HOUR, source="other")]).items
    assert found.duplicate_of == "text-001"
    assert found.credibility == 0.5
    assert dict(pipe.duplicates) == {"other": 1}


@pytest.mark.parametrize(
    ("settings", "age", "original"),
    [
        ({"duplicate_window_h": 1.0}, 2 * HOUR, ""),
        ({"duplicate_window_h": 3.0}, 2 * HOUR, "text-001"),
        ({"duplicate_similarity": 1.0}, 0, ""),
        ({"duplicate_memory": 1}, 0, "text-001"),
    ],
)
def test_admit_near_duplicates_follow_the_settings(
    settings: dict[str, object], age: int, original: str
) -> None:
    pipe = pipeline(**settings)
    pipe.admit([item(1, HEADLINE)])
    (found,) = pipe.admit([item(2, "Update: " + HEADLINE, T0 + age)]).items
    assert found.duplicate_of == original


def test_admit_after_a_restart_goes_on_as_before() -> None:
    texts = [
        item(1, HEADLINE),
        item(2, HEADLINE, T0 + HOUR),
        item(3, "gm gm gm", T0 + HOUR, kind="post", author="a"),
        item(4, "gm gm gm", T0 + 2 * HOUR, kind="post", author="a"),
    ]
    later = [
        item(5, HEADLINE, T0 + 3 * HOUR),
        item(6, "gm gm gm", T0 + 3 * HOUR, kind="post", author="a"),
    ]
    whole, restarted = pipeline(), pipeline()
    stored = whole.admit(texts).items
    restarted.resume(stored)
    expected = whole.admit(later)
    assert restarted.admit(later) == expected
    assert expected.items[0].duplicate_of == "text-001"
    assert [each.reason for each in expected.rejected] == ["repeated"]


def test_admit_credibility_is_what_was_known_when_the_text_came() -> None:
    rules = CredibilityRules("24h of 1h bars", DAY, 1e9, 10.0)
    known = SourceCredibility(
        "wire", "source", "", "m-1", rules.version, T0 + DAY, 10.0, 0.0, 10, 0.5, 0.75
    )
    pipe = pipeline()
    pipe.credibility = MeasuredCredibility([known], rules)
    texts = [item(1, "One thing was said here"), item(2, "Another thing was said there", T0 + DAY)]
    assert [each.credibility for each in pipe.admit(texts).items] == [0.5, pytest.approx(0.75)]


def test_admit_simulated_texts_are_no_spam() -> None:
    config = SimulatorConfig()
    events = NewsProcess(config).texts(config.epoch_ns, config.epoch_ns + 2 * DAY)
    items = [
        TextItem(
            each.text_id, "simulated", each.kind, each.title, each.body, "", each.author,
            each.time_ns, each.time_ns, 0.0, 0.5, FINDER.find(each.title),
        )
        for each in events
    ]  # fmt: skip
    pipe = pipeline()
    admission = pipe.admit(items)
    assert len(items) > 2_000
    assert admission.rejected == []
    assert [each.title for each in admission.items] == [each.title for each in items]
    assert pipe.duplicates["simulated"] < 0.2 * len(items)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=40), st.integers(0, 5), st.booleans()), max_size=20))
def test_admit_law_every_text_is_let_in_or_rejected_once_in_normal_form(
    drawn: list[tuple[str, int, bool]],
) -> None:
    items = [
        item(
            number,
            text,
            T0 + hours * HOUR,
            kind="post" if is_post else "news",
            author="a" if is_post else "",
        )
        for number, (text, hours, is_post) in enumerate(drawn)
    ]
    admission = pipeline().admit(items)
    fates = [each.text_id for each in admission.items]
    fates += [each.item.text_id for each in admission.rejected]
    assert sorted(fates) == [each.text_id for each in items]
    for each in admission.items:
        assert normalise(each.title) == each.title
        assert each.duplicate_of != each.text_id
    for each in admission.rejected:
        each.row().row.encode()
