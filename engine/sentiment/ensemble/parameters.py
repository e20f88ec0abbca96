"""What is fitted of an ensemble, for all ways of putting its members together."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, Self

import msgspec

from engine.errors import ConfigError
from engine.sentiment.calibration.files import read_parameters
from engine.sentiment.calibration.maps import CalibrationMap, Uncalibrated
from engine.sentiment.ensemble.kinds import KINDS
from engine.sentiment.probabilities import Triple

Method = Literal["soft", "weighted", "stacking", "dynamic"]
METHODS: tuple[Method, ...] = ("soft", "weighted", "stacking", "dynamic")

SHIPPED, STOCKS = "ensemble.json", "ensemble_stocks.json"
"""Files that come with the package, for texts about coins and about stocks."""
REMEDY = "fit it with the job calibrate_sentiment, or leave sentiment.ensemble.parameters empty"


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a member."""

    name: str
    """As `engine.sentiment.registry` knows it."""
    model: str
    """Name and version of the model that was fitted; another version is taken as well."""
    calibration: CalibrationMap
    """Its own: members are put together as calibrated ones."""
    weight: float
    """Its share of the weighted vote; those of all members sum to 1."""
    slopes: Triple
    """What the logarithms of its calibrated probabilities count in the stacked model."""
    kinds: dict[str, float]
    """Its share of the vote on each kind of text."""


class EnsembleParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `calibrate_sentiment` finds."""

    members: tuple[Member, ...]
    shifts: Triple
    """Of the stacked model."""
    calibrations: dict[Method, CalibrationMap]
    """Of what each method gives."""
    rows: int
    """How many labelled texts it was fitted on."""
    sources: tuple[str, ...]
    """Sets that they were of."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        ConfigError
            Where it is missing, or does not hold together.
        """
        found = read_parameters(path, cls, REMEDY)
        found.check(path)
        return found

    @classmethod
    def shipped(cls, name: str = SHIPPED) -> Self:
        """Read a file that comes with the package."""
        with as_file(files("engine.sentiment").joinpath("artifacts", name)) as path:
            return cls.load(path)

    def check(self, where: Path) -> None:
        """Refuse what no ensemble can work with.

        Raises
        ------
        ConfigError
            Where a weight is negative, all of a kind are 0, or a kind is missing.
        """
        if not self.members:
            raise ConfigError(f"{where} names no member: {REMEDY}")
        votes = {"weight": [member.weight for member in self.members]}
        for kind in KINDS:
            votes[f"kinds.{kind}"] = [member.kinds.get(kind, -1.0) for member in self.members]
        for key, weights in votes.items():
            if min(weights) < 0.0 or sum(weights) <= 0.0:
                raise ConfigError(
                    f"{where}: {key} of the members is {weights}: none may be missing or below 0, "
                    f"and not all 0; {REMEDY}"
                )

    def chosen(self, names: tuple[str, ...]) -> tuple[Member, ...]:
        """Return the members in this order.

        Raises
        ------
        ConfigError
            Where they are not those that were fitted.
        """
        by_name = {member.name: member for member in self.members}
        if set(names) != set(by_name):
            raise ConfigError(
                f"the ensemble's parameters are for {', '.join(by_name)}, its members are "
                f"{', '.join(names)}: fit them with the job calibrate_sentiment and name the file "
                "in sentiment.ensemble.parameters, or set sentiment.ensemble.method to soft"
            )
        return tuple(by_name[name] for name in names)


def equal_members(names: tuple[str, ...]) -> EnsembleParameters:
    """Return parameters of members that nothing is known of: all count the same."""
    share = 1.0 / len(names)
    members = tuple(
        Member(name, "", Uncalibrated(), share, (share,) * 3, dict.fromkeys(KINDS, share))
        for name in names
    )
    return EnsembleParameters(
        members, (0.0, 0.0, 0.0), dict.fromkeys(METHODS, Uncalibrated()), 0, ()
    )
