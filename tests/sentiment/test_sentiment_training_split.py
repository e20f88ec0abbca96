import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.training.checks import check_parts
from engine.sentiment.training.examples import Example, by_source
from engine.sentiment.training.gather import apart
from engine.sentiment.training.split import Parts, stratified, temporal

EXAMPLES = st.lists(
    st.builds(
        Example,
        text=st.text(alphabet="abc ", min_size=1, max_size=4),
        label=st.sampled_from(LABELS),
        source=st.sampled_from(["one", "two"]),
        time=st.integers(0, 1_000),
    ),
    max_size=80,
)


@given(EXAMPLES, st.integers(0, 5))
def test_stratified_nothing_lost_nothing_twice_and_no_text_parted(
    examples: list[Example], seed: int
) -> None:
    parts = stratified(examples, 0.2, 0.3, seed)

    together = [*parts.training, *parts.validation, *parts.test]
    assert sorted(map(repr, together)) == sorted(map(repr, examples))
    keys = [{one.key for one in part} for part in parts]
    assert len(set().union(*keys)) == sum(map(len, keys))


def test_stratified_each_source_and_label_has_its_share() -> None:
    examples = [
        Example(f"{source} {label} {number}", label, source)
        for source in ("one", "two")
        for label, count in zip(LABELS, (20, 60, 100), strict=True)
        for number in range(count)
    ]

    parts = stratified(examples, 0.1, 0.2)

    for some in by_source(parts.test).values():
        assert [sum(one.label == label for one in some) for label in LABELS] == [4, 12, 20]
    for some in by_source(parts.validation).values():
        assert [sum(one.label == label for one in some) for label in LABELS] == [2, 6, 10]


def test_stratified_same_seed_same_parts_another_seed_others() -> None:
    examples = [Example(f"text {number}", "neutral", "one") for number in range(50)]

    first, again = stratified(examples, 0.2, 0.2, 1), stratified(examples[::-1], 0.2, 0.2, 1)

    assert {one.text for one in first.test} == {one.text for one in again.test}
    assert {one.text for one in first.test} != {
        one.text for one in stratified(examples, 0.2, 0.2, 2).test
    }


def test_example_key_case_link_and_marks_do_not_count() -> None:
    plain = Example("Bitcoin up", "bullish", "one")

    assert Example("BITCOIN  up https://t.co/x", "bullish", "two").key == plain.key
    assert Example("\ue000 up", "bullish", "one", origin="Bitcoin up").key == plain.key
    assert Example("Bitcoin down", "bearish", "one").key != plain.key


@given(EXAMPLES)
def test_temporal_no_part_holds_a_text_of_another_or_a_younger_one(
    examples: list[Example],
) -> None:
    parts = temporal(examples, 0.2, 0.2)

    assert sum(map(len, parts)) == len(examples)
    for source in ("one", "two"):
        keys, newest = [], []
        for part in parts:
            some = [one for one in part if one.source == source]
            keys.append({one.key for one in some})
            newest.append(max((one.time or 0 for one in some), default=None))
        assert len(set().union(*keys)) == sum(map(len, keys))
        if newest[0] is not None and newest[2] is not None:
            assert newest[0] < newest[2]


def test_temporal_newest_are_the_test() -> None:
    examples = [Example(f"t{hour}", "neutral", "one", time=hour) for hour in range(10)]

    parts = temporal(examples[::-1], 0.2, 0.3)

    assert [one.time for one in parts.test] == [9, 8, 7]
    assert [one.time for one in parts.validation] == [6, 5]
    assert len(parts.training) == 5


def test_temporal_text_without_time_is_refused() -> None:
    examples = [Example("a", "neutral", "posts", time=1), Example("b", "neutral", "posts")]

    with pytest.raises(ConfigError, match="posts: 1 texts have no time"):
        temporal(examples, 0.1, 0.1)


def test_apart_text_of_the_test_is_taken_out_of_the_others() -> None:
    shared, own = Example("Bitcoin up", "bullish", "a"), Example("Ether up", "bullish", "a")
    again = Example("bitcoin UP", "bullish", "b")

    parts = apart(Parts([shared, own], [shared, own], [again]))

    assert parts == Parts([], [own], [again])


def _labelled(bearish: int, neutral: int, bullish: int, text: str = "words") -> list[Example]:
    counts = zip(LABELS, (bearish, neutral, bullish), strict=True)
    return [Example(text, label, "one") for label, count in counts for _ in range(count)]


def test_check_parts_sliver_is_refused_with_the_label() -> None:
    with pytest.raises(ConfigError, match="3 of the 43 texts for test are neutral, at least 5"):
        check_parts({"training": _labelled(9, 9, 9), "test": _labelled(20, 3, 20)}, 5)


def test_check_parts_mostly_empty_text_is_refused() -> None:
    examples = _labelled(10, 10, 10, "") + _labelled(5, 5, 5)

    with pytest.raises(ConfigError, match="30 of the 45 texts for training are empty"):
        check_parts({"training": examples}, 5)


def test_check_parts_sound_parts_pass() -> None:
    check_parts({"training": _labelled(5, 5, 5), "test": _labelled(5, 6, 7)}, 5)
