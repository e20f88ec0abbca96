"""Spam: lures, heaps of tags, accounts that post by rote; never news of such things."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts_samples import DAY, HOUR, MINUTE, T0, item

from engine.clock import NS_PER_S
from engine.texts import spam
from engine.texts.spam import PostingWatch, spam_reason

LURES = [
    ("giveaway", "🎁 GIVEAWAY 🎁 $500 in BTC! Like and retweet, follow @luckycoin to enter"),
    ("giveaway", "Free airdrop is live, connect your wallet before midnight"),
    ("giveaway", "Giving away 3 SOL, drop your address below, first 100 followers only"),
    ("doubling", "Send 0.5 BTC to this address and receive 1 BTC back instantly"),
    ("doubling", "Guaranteed daily profits with our bot, DM me to start earning today"),
    ("doubling", "I turned $500 into $12,000 in 3 days, ask me how"),
    ("referral", "Sign up with my referral link and get a $50 bonus"),
    ("referral", "Use my code MOON20 on the exchange, earn 20% back"),
    ("pump group", "Next pump in 2 hours! Join our Telegram for the coin"),
    ("pump group", "VIP signals with 95% accuracy, only 10 spots left, join now"),
    ("pump group", "100x gems every day, join t.me/fastgems"),
    ("recovery", "He recovered all my stolen crypto, contact him on Instagram @hackfix"),
    ("recovery", "Thanks to Mrs Smith, expert trader, I made $9,000. Message her on WhatsApp"),
    ("tags", "$BTC $ETH $SOL $ADA $XRP $DOGE #crypto 🚀"),
    ("tags", "check https://a.io/1 https://a.io/2 #a1 #b #c #d now"),
]

SOUND = [
    "Bitcoin to the moon 🚀🚀 never selling",
    "How to claim the airdrop of the new network, explained",
    "I got the airdrop and sold it all at the top",
    "That giveaway by the fake Saylor account is a scam, report it",
    "Telegram's coin rallies after the exchange lists it",
    "This pump is insane, shorts are getting destroyed",
    "Next pump will be huge imo",
    "$BTC and $ETH look strong, $SOL and $ADA weak, $XRP flat, $DOGE dead",
    "Coinbase pays a bonus to new customers",
    "Long signals on the daily for $ETH",
    "Funds stolen in the bridge hack were recovered by the team",
    "I doubled my bag of $SOL today",
    "Join the discussion: is the bottom in?",
    "",
    "🚀🚀🚀",
]

HEADLINES = [
    "Exchange announces giveaway: users who retweet this may win, says regulator",
    "Police warn of Telegram pump groups that ask members to join now",
    "Scammers double: send 1 BTC and get two back, the fake stream said",
    "Exchange launches referral code program with bonus for new users",
    "Upgrades 4/7: $AMT $BHP",
]


@pytest.mark.parametrize(("reason", "text"), LURES)
def test_spam_reason_of_a_lure_is_its_kind(reason: str, text: str) -> None:
    assert spam_reason(text, "post") == reason


@pytest.mark.parametrize("text", SOUND)
def test_spam_reason_of_an_opinion_is_none(text: str) -> None:
    assert spam_reason(text, "post") is None


@pytest.mark.parametrize("text", HEADLINES[:3])
def test_spam_reason_of_a_headline_about_a_lure_is_none(text: str) -> None:
    assert spam_reason(text, "news") is None


def test_spam_reason_of_a_headline_that_lures_with_two_calls_is_its_kind() -> None:
    text = "Free airdrop: connect your wallet and claim now before it ends"
    assert spam_reason(text, "news") == "giveaway"
    assert spam_reason("Free airdrop for holders, connect your wallet", "news") is None


def test_spam_reason_of_sentences_that_it_was_not_tuned_on() -> None:
    """Spam of 18 in 25 and no sound post of 25: what the first run gave."""
    table = (Path(__file__).parent / "spam_sentences.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line[0] != "#"]
    found = {kind: [spam_reason(text, "post") for is_, text in rows if is_ == kind]
             for kind in ("spam", "sound")}  # fmt: skip
    assert {kind: len(each) for kind, each in found.items()} == {"spam": 25, "sound": 25}
    assert found["sound"] == [None] * 25
    assert sum(reason is not None for reason in found["spam"]) >= 18


@given(st.text(max_size=300), st.sampled_from(["news", "post"]))
def test_spam_reason_of_any_text_is_a_known_one_or_none(text: str, kind: str) -> None:
    known = (*msgspec.inspect.type_info(spam.SpamReason).values, None)
    assert spam_reason(text, kind) in known  # type: ignore[arg-type]  # one of the two


def test_lures_table_is_well_formed_and_every_phrase_is_a_pattern() -> None:
    reasons = msgspec.inspect.type_info(spam.SpamReason).values
    table = spam.files("engine.texts").joinpath("lures.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and line[0] != "#"]
    assert len({tuple(row) for row in rows}) == len(rows), "a phrase is listed twice"
    for reason, part, phrase in rows:
        assert reason in reasons
        assert part in ("theme", "call")
        re.compile(phrase.replace("{coin}", "btc"))
        assert phrase == phrase.casefold() or "\\" in phrase, "it is looked for in folded case"


def post(number: int, text: str, at: int, author: str = "a") -> spam.TextItem:
    return item(number, text, at, kind="post", author=author, source="posts")


def test_watch_account_that_says_the_same_a_third_time_is_repeated() -> None:
    watch = PostingWatch()
    said = [watch.reason(post(n, "$ADA will fly, buy now!", T0 + n * HOUR)) for n in range(4)]
    assert said == [None, None, "repeated", "repeated"]
    assert watch.reason(post(9, "$ADA will fly, buy now!", T0 + 4 * DAY)) is None


def test_watch_account_that_writes_more_than_a_person_floods() -> None:
    watch = PostingWatch(hourly=3)
    posts = [post(n, f"number {n} of many things to say", T0 + n * MINUTE) for n in range(5)]
    assert [watch.reason(each) for each in posts] == [None, None, None, "flood", "flood"]
    assert watch.reason(post(9, "and another hour comes", T0 + 3 * HOUR)) is None


def test_watch_many_accounts_that_say_the_same_at_once_burst() -> None:
    watch = PostingWatch()
    text = "Everybody is buying this new coin today"
    found = [watch.reason(post(n, text, T0 + n * NS_PER_S, f"bot{n}")) for n in range(6)]
    assert found == [None, None, None, None, "burst", "burst"]
    assert watch.reason(post(9, text, T0 + HOUR, "late")) is None
    short = [watch.reason(post(n, "to the moon", T0 + n, f"who{n}")) for n in range(8)]
    assert short == [None] * 8, "many say so without copying"


def test_watch_news_and_posts_without_an_author_are_not_watched() -> None:
    watch = PostingWatch()
    for number in range(6):
        assert watch.reason(item(number, "The same headline of an agency", author="desk")) is None
        assert watch.reason(post(number, "The same words of nobody", T0, author="")) is None


def test_watch_forgets_the_accounts_that_were_silent_longest() -> None:
    watch = PostingWatch(repeats=1, capacity=2)
    for author in "abc":
        assert watch.reason(post(1, "hi there", T0, author)) is None
    assert watch.reason(post(2, "hi there", T0, "c")) == "repeated"
    assert watch.reason(post(3, "hi there", T0, "a")) is None, "forgotten"
