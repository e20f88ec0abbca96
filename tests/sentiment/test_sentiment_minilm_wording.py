from hypothesis import given
from hypothesis import strategies as st

from engine.domain.text import Mention
from engine.sentiment.encoder.wording import (
    OTHER,
    TARGET,
    is_readable,
    marked,
    plain,
    without_marks,
)


def test_plain_link_handle_and_entity_leave_words_alone() -> None:
    text = "BTC &amp; ETH up, says @ann https://t.co/a1 see www.x.io/y  pic.twitter.com/z9"

    assert plain(text) == "BTC & ETH up, says user see"


def test_plain_emoji_becomes_its_name_twice_at_most() -> None:
    assert plain("🚀") == "rocket"
    assert plain("gm🚀🚀🚀🚀🚀") == "gm rocket rocket"
    assert plain("📉 ouch") == "chart with downwards trend ouch"


def test_plain_selectors_controls_and_joiners_go() -> None:
    assert plain("a❤\ufe0f\u200db\x00c") == "a heavy black heart b c"


def test_plain_letters_of_other_scripts_stay() -> None:
    assert plain("Биткоин растет") == "Биткоин растет"


def test_plain_long_text_is_cut() -> None:
    assert len(plain("x" * 100_000)) == 4_000


@given(st.text(max_size=200))
def test_plain_any_text_gives_single_spaces(text: str) -> None:
    found = plain(text)

    assert "  " not in found
    assert found == found.strip()


def test_is_readable_needs_a_word_or_an_emoji() -> None:
    assert is_readable("gm")
    assert is_readable("🚀")
    assert not is_readable("")
    assert not is_readable("   \n")
    assert not is_readable("https://t.co/abc")
    assert not is_readable("$BTC")
    assert not is_readable("67,000")
    assert not is_readable("Биткоин растет")


def test_marked_replaces_target_and_others() -> None:
    mentions = [Mention(0, 3, "ETH"), Mention(14, 17, "BTC")]

    assert marked("ETH will flip BTC", mentions, "ETH") == f" {TARGET}  will flip  {OTHER} "
    assert marked("ETH will flip BTC", mentions, "BTC") == f" {OTHER}  will flip  {TARGET} "


def test_marked_overlapping_mentions_first_and_longest_count() -> None:
    mentions = [Mention(8, 12, "CASH"), Mention(0, 7, "BTC"), Mention(0, 12, "BCH")]

    assert marked("Bitcoin Cash up", mentions, "BCH") == f" {TARGET}  up"


@given(st.text(alphabet=[TARGET, OTHER, "a", " "], max_size=30))
def test_without_marks_leaves_none(text: str) -> None:
    assert set(without_marks(text)) <= {"a", " "}


@given(st.text(alphabet=[TARGET, OTHER, "a", "b"], min_size=4, max_size=30))
def test_marked_text_cannot_bring_marks_of_its_own(text: str) -> None:
    found = marked(text, [Mention(0, 2, "X")], "X")

    assert found.count(TARGET) == 1
    assert OTHER not in found
