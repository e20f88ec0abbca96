"""The ensemble: votes by hand, fits that find planted skill, files and names."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.text import Mention
from engine.errors import ConfigError
from engine.sentiment.base import TargetModel
from engine.sentiment.calibration.files import write_parameters
from engine.sentiment.calibration.fitting import mean_log_loss
from engine.sentiment.calibration.maps import Temperature, Uncalibrated
from engine.sentiment.ensemble.fitting import MemberReadings, fit_ensemble, vote_weights
from engine.sentiment.ensemble.kinds import KINDS, is_post, kind_of
from engine.sentiment.ensemble.model import EnsembleModel
from engine.sentiment.ensemble.parameters import METHODS, EnsembleParameters, Member, equal_members
from engine.sentiment.ensemble.voting import combined
from engine.sentiment.probabilities import reading_of, shares
from engine.sentiment.registry import sentiment_model
from engine.settings.sentiment import SentimentConfig
from engine.settings.sentiment_models import EnsembleConfig

UP, DOWN = (0.1, 0.3, 0.6), (0.7, 0.2, 0.1)
SLOPES = (1.0, 1.0, 1.0)
EQUAL = equal_members(("a", "b"))
NEWS, POST = "Ether slides", "my $ETH bag is cooked"
three = st.tuples(*[st.floats(0.0, 1.0)] * 3).map(shares)


def member(name, weight, kinds=None, calibration=None):
    by_kind = dict.fromkeys(KINDS, weight) | (kinds or {})
    return Member(name, f"{name}-1", calibration or Uncalibrated(), weight, SLOPES, by_kind)


def parameters(*members, shifts=(0.0, 0.0, 0.0), **calibrations):
    maps = dict.fromkeys(METHODS, Uncalibrated()) | calibrations
    return EnsembleParameters(members, shifts, maps, 200, ("own",))


TWO = parameters(member("a", 0.75), member("b", 0.25))


class Fixed:
    """Says what it is told of the texts that it is told of."""

    def __init__(self, name, said):
        self.name = name
        self._said = said

    def score(self, texts):
        found = [self._said.get(text) for text in texts]
        return [None if one is None else reading_of(one) for one in found]


def test_ensemble_soft_vote_is_the_mean():
    assert combined(TWO, "soft", [UP, DOWN], NEWS) == pytest.approx((0.4, 0.25, 0.35))


def test_ensemble_weighted_vote_follows_the_weights():
    assert combined(TWO, "weighted", [UP, DOWN], NEWS) == pytest.approx((0.25, 0.275, 0.475))


def test_ensemble_stacking_multiplies_under_equal_slopes():
    products = [up * down for up, down in zip(UP, DOWN, strict=True)]
    expected = [one / sum(products) for one in products]
    assert combined(TWO, "stacking", [UP, DOWN], NEWS) == pytest.approx(expected)


def test_ensemble_stacking_shifts_move_every_text():
    moved = parameters(member("a", 1.0), shifts=(0.0, 0.0, math.log(2.0)))
    assert combined(moved, "stacking", [UP], NEWS) == pytest.approx((1 / 16, 3 / 16, 12 / 16))


def test_ensemble_dynamic_vote_listens_to_whom_it_trusts_on_this_kind():
    ours = parameters(member("a", 0.5, {"post short": 0.0}), member("b", 0.5, {"news short": 0.0}))
    assert combined(ours, "dynamic", [UP, DOWN], NEWS) == pytest.approx(UP)
    assert combined(ours, "dynamic", [UP, DOWN], POST) == pytest.approx(DOWN)


@pytest.mark.parametrize("method", METHODS)
def test_ensemble_member_that_cannot_read_does_not_vote(method):
    assert combined(TWO, method, [None, DOWN], NEWS) == pytest.approx(DOWN)


@pytest.mark.parametrize("method", METHODS)
def test_ensemble_text_that_none_reads_is_unknown(method):
    assert combined(TWO, method, [None, None], NEWS) is None


def test_ensemble_heard_members_of_weight_zero_count_the_same():
    ours = parameters(member("a", 1.0), member("b", 0.0), member("c", 0.0))
    assert combined(ours, "weighted", [None, UP, DOWN], NEWS) == pytest.approx((0.4, 0.25, 0.35))


def test_ensemble_calibrates_members_first_and_the_vote_last():
    flat, sharp = Temperature(2.0), Temperature(0.5)
    ours = parameters(member("a", 1.0, calibration=flat), weighted=sharp)
    assert combined(ours, "weighted", [UP], NEWS) == pytest.approx(UP)
    assert combined(ours, "soft", [UP], NEWS) == pytest.approx(flat.apply(UP))


@given(said=st.lists(st.none() | three, min_size=2, max_size=2), method=st.sampled_from(METHODS))
def test_ensemble_always_gives_probabilities(said, method):
    found = combined(TWO, method, said, NEWS)
    if found is not None:
        assert math.isclose(sum(found), 1.0, abs_tol=1e-9)
        assert min(found) >= 0.0


def test_ensemble_model_reads_each_text_as_alone():
    texts = ["x", "y", "z", "w"]
    one = Fixed("a-1", {"x": UP, "y": DOWN})
    two = Fixed("b-1", {"x": DOWN, "z": UP})
    model = EnsembleModel([one, two], TWO, "stacking")
    together = model.score(texts)
    assert together[3] is None
    assert [model.score([text])[0] for text in texts] == together


def test_ensemble_name_changes_with_members_method_and_parameters():
    def name(first="a-1", method="soft", held=TWO):
        return EnsembleModel([Fixed(first, {}), Fixed("b-1", {})], held, method).name

    other = parameters(member("a", 0.7), member("b", 0.3))
    names = {name(), name(first="a-2"), name(method="weighted"), name(held=other)}
    assert len(names) == 4
    assert name() == name()
    assert name().startswith("ensemble-soft-")


class Targets(Fixed):
    """Says of each target whether its name is good."""

    def score_targets(self, text, mentions):
        return {one.name: reading_of(UP if one.name == "ETH" else DOWN) for one in mentions}


def test_ensemble_reads_targets_with_each_member_in_its_own_way():
    text = "ETH will flip BTC"
    mentions = (Mention(0, 3, "ETH"), Mention(14, 17, "BTC"))
    plain = Fixed("b-1", {text: (0.2, 0.6, 0.2)})
    model = EnsembleModel([Targets("a-1", {text: UP}), plain], TWO, "weighted")
    assert isinstance(model, TargetModel)
    found = model.score_targets(text, mentions)
    assert found["ETH"].score > 0 > found["BTC"].score


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Bitcoin ETFs see $673M inflow", "news short"),
        ("SEC delays its decision on the spot fund again as the comment period for the public ends",
         "news long"),
        ("gm, still holding", "post short"),
        ("I told you guys this would happen and nobody listened to me last week so enjoy the dip",
         "post long"),
    ],
)  # fmt: skip
def test_kinds_tell_headlines_from_posts_and_short_from_long(text, kind):
    assert kind_of(text) == kind


@pytest.mark.parametrize("text", ["#eth", "🚀", "really?!", "well...", "$BTC", "ser"])
def test_kinds_signs_of_a_person_make_a_post(text):
    assert is_post(f"{text} and more")


def planted(rows=1_200, seed=5):
    """A member that knows long texts, one that guesses, and one that knows short texts."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows)
    texts = [f"Text {n}" if n % 2 else f"Text {n} " + "and more " * 10 for n in range(rows)]

    def knowing(skill):
        logits = random.normal(size=(rows, 3)) + skill[:, None] * np.eye(3)[labels]
        said = np.exp(logits)
        return [tuple(row) for row in (said / said.sum(axis=1, keepdims=True)).tolist()]

    short = np.array([n % 2 for n in range(rows)])
    members = [
        MemberReadings("long", "long-1", tuple(knowing(3.0 - 3.0 * short))),
        MemberReadings("guesses", "guesses-1", tuple(knowing(np.zeros(rows)))),
        MemberReadings("short", "short-1", tuple(knowing(3.0 * short))),
    ]
    return members, texts, labels


def test_fitting_trusts_those_who_know():
    members, texts, labels = planted()
    found = fit_ensemble(members, texts, labels, ("planted",))
    long, guesses, short = found.members
    assert min(long.weight, short.weight) > 3 * guesses.weight
    assert short.kinds["news short"] > 0.8
    assert long.kinds["news long"] > 0.8
    assert min(*long.slopes, *short.slopes) > 3 * max(map(abs, guesses.slopes))
    assert (found.rows, found.sources) == (1_200, ("planted",))
    for weights in ([m.weight for m in found.members], [m.kinds[KINDS[0]] for m in found.members]):
        assert sum(weights) == pytest.approx(1.0)


def test_fitting_better_than_the_mean_on_texts_it_did_not_see():
    members, texts, labels = planted()
    half = len(texts) // 2
    fitted = fit_ensemble(
        [MemberReadings(m.name, m.model, m.said[:half]) for m in members],
        texts[:half],
        labels[:half],
    )
    loss = {
        method: mean_log_loss(
            np.array([
                combined(fitted, method, [m.said[row] for m in members], texts[row])
                for row in range(half, len(texts))
            ]),
            labels[half:],
        )
        for method in METHODS
    }  # fmt: skip
    assert loss["dynamic"] < min(loss["weighted"], loss["soft"])


def test_fitting_stacking_adds_up_what_independent_members_know():
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, 1_000)
    texts = [f"Text {n}" for n in range(1_000)]
    logits = random.normal(size=(2, 1_000, 3)) + 1.5 * np.eye(3)[labels]
    said = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    members = [
        MemberReadings(name, f"{name}-1", tuple(map(tuple, rows.tolist())))
        for name, rows in zip("ab", said, strict=True)
    ]
    fitted = fit_ensemble(members, texts, labels)
    loss = {
        method: mean_log_loss(
            np.array([
                combined(fitted, method, [one.said[row] for one in members], texts[row])
                for row in range(1_000)
            ]),
            labels,
        )
        for method in ("stacking", "soft")
    }  # fmt: skip
    assert loss["stacking"] < loss["soft"]


def test_fitting_texts_that_one_cannot_read_count_for_the_others_alone():
    members, texts, labels = planted()
    silent = MemberReadings("short", "short-1", (None, *members[2].said[1:]))
    assert fit_ensemble([*members[:2], silent], texts, labels).rows == 1_199


def test_fitting_too_few_common_texts_is_refused():
    members, texts, labels = planted(90)
    with pytest.raises(ConfigError, match="only 90 of 90 labelled texts"):
        fit_ensemble(members, texts, labels)


def test_fitting_vote_without_rows_keeps_the_prior():
    prior = np.array([0.2, 0.8])
    empty = np.empty((0, 3))
    found = vote_weights([empty, empty], np.empty(0, dtype=np.int64), prior)
    assert found == pytest.approx(prior)


def test_parameters_come_back_from_their_file(tmp_path: Path):
    members, texts, labels = planted(300)
    fitted = fit_ensemble(members, texts, labels)
    write_parameters(tmp_path / "e.json", fitted)
    assert EnsembleParameters.load(tmp_path / "e.json") == fitted


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (parameters(), "names no member"),
        (parameters(member("a", -0.1), member("b", 1.1)), "weight of the members is"),
        (parameters(member("a", 0.0)), "weight of the members is"),
        (
            msgspec.structs.replace(
                TWO, members=(msgspec.structs.replace(TWO.members[0], kinds={}),)
            ),
            "kinds.news short of the members is",
        ),
    ],
)
def test_parameters_that_cannot_work_are_refused(tmp_path: Path, held, told):
    write_parameters(tmp_path / "e.json", held)
    with pytest.raises(ConfigError, match=told):
        EnsembleParameters.load(tmp_path / "e.json")


def configured(**ensemble):
    return SentimentConfig(ensemble=EnsembleConfig(**ensemble))


def test_ensemble_of_own_members_votes_softly_without_parameters():
    config = configured(members=("lexicon", "tfidf"), method="soft")
    model = sentiment_model("ensemble", config)
    assert isinstance(model, EnsembleModel)
    assert model.members == (
        sentiment_model("lexicon").name, sentiment_model("tfidf").name
    )  # fmt: skip
    reading, unread = model.score(["Bitcoin soars to a record", "https://t.co/x"])
    assert reading is not None
    assert reading.label == "bullish"
    assert unread is None


def test_ensemble_file_decides_the_members(tmp_path: Path):
    held = parameters(member("tfidf", 0.5), member("lexicon", 0.5))
    write_parameters(tmp_path / "e.json", held)
    config = configured(parameters=str(tmp_path / "e.json"), method="weighted")
    model = sentiment_model("ensemble", config)
    assert isinstance(model, EnsembleModel)
    assert [name.split("-")[0] for name in model.members] == ["tfidf", "lexicon"]
    turned = configured(
        parameters=str(tmp_path / "e.json"), method="weighted", members=("lexicon", "tfidf")
    )
    assert sentiment_model("ensemble", turned).members[0] == "lexicon-1"


def test_ensemble_members_that_were_not_fitted_are_refused(tmp_path: Path):
    write_parameters(tmp_path / "e.json", parameters(member("lexicon", 1.0)))
    config = configured(parameters=str(tmp_path / "e.json"), members=("lexicon", "tfidf"))
    with pytest.raises(ConfigError, match="are for lexicon, its members are lexicon, tfidf"):
        sentiment_model("ensemble", config)


def test_ensemble_calibration_of_the_configuration_is_not_a_members(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text("{}")
    config = SentimentConfig(
        model="lexicon",
        calibration=str(path),
        ensemble=EnsembleConfig(members=("lexicon", "tfidf"), method="soft"),
    )
    model = sentiment_model("ensemble", config)
    assert isinstance(model, EnsembleModel)
    assert model.members[0] == "lexicon-1"


@pytest.mark.parametrize(
    ("members", "told"),
    [(("ensemble",), "its own member"), (("lexicon", "lexicon"), "named twice")],
)
def test_ensemble_configuration_that_cannot_be_is_refused(members, told):
    with pytest.raises(ValueError, match=told):
        EnsembleConfig(members=members)


def test_ensemble_shipped_parameters_hold_together():
    shipped = EnsembleParameters.shipped()
    assert [one.name for one in shipped.members] == ["lexicon", "tfidf", "minilm"]
    assert shipped.rows > 1_000
    assert sum(one.weight for one in shipped.members) == pytest.approx(1.0)
