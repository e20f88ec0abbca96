"""Fits an ensemble on texts that none of its members learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from engine.sentiment.calibration.fitting import FITS, applied, best_method, logarithms
from engine.sentiment.calibration.logit import Labels, Matrix, fit_logit
from engine.sentiment.calibration.maps import CalibrationMap, Uncalibrated
from engine.sentiment.ensemble.kinds import KINDS, kind_of
from engine.sentiment.ensemble.parameters import METHODS, EnsembleParameters, Member
from engine.sentiment.ensemble.voting import VOTES, Said
from engine.sentiment.probabilities import Triple

FEWEST_ROWS = 100
"""Texts that all members can read; fewer do not tell how much to trust whom."""

PRIOR_ROWS = 50.0
"""How many texts the prior weighs: equal shares, and the shares of all texts for each kind."""

RIDGE = 5.0
"""Likewise for the stacked model: its prior is the weighted product of the members."""

ROUNDS = 500
CLOSE = 1e-10

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MemberReadings:
    """What one member says of the texts."""

    name: str
    """As the registry knows it."""
    model: str
    """Name and version."""
    said: tuple[Triple | None, ...]
    """One per text; None where it cannot read it."""


def fit_ensemble(
    members: Sequence[MemberReadings],
    texts: Sequence[str],
    labels: Labels,
    sources: Sequence[str] = (),
) -> EnsembleParameters:
    """Fit all ways of putting members together.

    Parameters
    ----------
    members
        At least one.
    texts
        As many as each member's readings; their kinds are told from them.
    labels
        Places in `engine.sentiment.base.LABELS`.
    sources
        Sets that the texts are of, for the record.

    Raises
    ------
    ConfigError
        Where fewer than `FEWEST_ROWS` texts can be read by all.
    """
    complete = np.array(
        [row for row in range(len(texts)) if all(one.said[row] for one in members)], dtype=np.int64
    )
    if len(complete) < FEWEST_ROWS:
        raise ConfigError(
            f"only {len(complete)} of {len(texts)} labelled texts can be read by all members; "
            f"{FEWEST_ROWS} are needed to tell how much each counts: give more texts"
        )
    truth = labels[complete]
    maps = [_own_map(one, labels) for one in members]
    said = [applied(own, _matrix(one, complete)) for own, one in zip(maps, members, strict=True)]
    even = np.full(len(members), 1.0 / len(members))
    weights = vote_weights(said, truth, even)
    of_kind = np.array([KINDS.index(kind_of(texts[row])) for row in complete])
    by_kind = [
        vote_weights([one[of_kind == kind] for one in said], truth[of_kind == kind], weights)
        for kind in range(len(KINDS))
    ]
    slopes, shifts = stack(said, truth, weights)
    fitted = EnsembleParameters(
        tuple(
            Member(
                one.name, one.model, own, float(weights[place]), _triple(slopes[place]),
                {kind: float(by_kind[k][place]) for k, kind in enumerate(KINDS)},
            )
            for place, (one, own) in enumerate(zip(members, maps, strict=True))
        ),
        _triple(shifts),
        dict.fromkeys(METHODS, Uncalibrated()),
        len(complete),
        tuple(sources),
    )  # fmt: skip
    return _calibrated(fitted, said, [texts[row] for row in complete], truth)


def vote_weights(said: Sequence[Matrix], labels: Labels, prior: Matrix) -> Matrix:
    """Return the shares of a vote under which the labels are most probable.

    Each text is taken as said by one member; how probable each is to have said it, given the
    label, and the shares that follow from that are computed in turn (expectation maximisation).

    Parameters
    ----------
    said
        Rows x 3 for each member.
    labels
        One per row.
    prior
        Shares that `PRIOR_ROWS` further texts would give.
    """
    right = np.array([one[np.arange(len(labels)), labels] for one in said]).T
    shares = prior.copy()
    for _ in range(ROUNDS):
        joint = right * shares
        whose = joint / joint.sum(axis=1, keepdims=True)
        found = (whose.sum(axis=0) + PRIOR_ROWS * prior) / (len(labels) + PRIOR_ROWS)
        if np.abs(found - shares).max() < CLOSE:
            break
        shares = found
    return shares


def stack(said: Sequence[Matrix], labels: Labels, weights: Matrix) -> tuple[Matrix, Matrix]:
    """Return slopes (members x 3) and shifts of the stacked model."""
    each = np.eye(3)
    design = np.concatenate(
        [logarithms(one)[:, :, None] * each for one in said]
        + [np.broadcast_to(each, (len(labels), 3, 3))],
        axis=2,
    )
    prior = np.concatenate([np.repeat(weights, 3), np.zeros(3)])
    found = fit_logit(design, labels, prior, RIDGE)
    return found[:-3].reshape(-1, 3), found[-3:]


def _own_map(member: MemberReadings, labels: Labels) -> CalibrationMap:
    rows = np.array([row for row, one in enumerate(member.said) if one], dtype=np.int64)
    said = _matrix(member, rows)
    return FITS[best_method(said, labels[rows])](said, labels[rows])


def _matrix(member: MemberReadings, rows: Rows) -> Matrix:
    return np.array([member.said[row] for row in rows], dtype=np.float64).reshape(-1, 3)


def _calibrated(
    parameters: EnsembleParameters, said: Sequence[Matrix], texts: Sequence[str], labels: Labels
) -> EnsembleParameters:
    """Calibrate what each vote gives; the stacked model is fitted to be calibrated itself."""
    found = dict(parameters.calibrations)
    for method, vote in VOTES.items():
        if method != "stacking":
            rows: list[Said] = [
                [(row[0], row[1], row[2]) for row in each]
                for each in zip(*(one.tolist() for one in said), strict=True)
            ]
            together = np.array(
                [vote(parameters, row, text) for row, text in zip(rows, texts, strict=True)]
            )
            found[method] = FITS[best_method(together, labels)](together, labels)
    return msgspec.structs.replace(parameters, calibrations=found)


def _triple(values: Matrix) -> Triple:
    bearish, neutral, bullish = values.tolist()
    return bearish, neutral, bullish
