"""Named weights: measured by `jobs.estimate_weights`, shipped as JSON with their origin."""

from __future__ import annotations

from math import fsum, isfinite
from pathlib import Path

import msgspec

from engine.errors import ConfigError
from engine.signals.factors import FACTORS_BY_NAME

FOLDER = Path(__file__).with_name("weights")


class FactorWeight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One factor's weight and what it was measured from."""

    factor: str
    weight: float
    """Signed; the absolute weights of a file sum to 1."""
    ic: float
    """Mean rank IC over the estimation period, in [-1, 1]."""
    t: float
    """Its t statistic (Newey-West)."""
    out_of_sample_ic: float
    """Mean rank IC over the later period that took no part in the weight."""


class WeightsData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The candles that weights were measured on."""

    file: str
    sha256: str
    start: str
    """First and last moment, ISO-8601 UTC."""
    end: str
    split: str
    """Where the out-of-sample part begins."""
    instruments: int
    rows: int
    cross_sections: int
    """In the estimation part."""
    out_of_sample_cross_sections: int


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights of the factors other than sentiment, and where they come from."""

    name: str
    timeframe: str
    """Of the bars they were measured on."""
    horizon_bars: int
    """The forward return they were measured against."""
    method: str
    feature_version: str
    data: WeightsData
    out_of_sample_ic: float
    """Mean rank IC of the weighted sum over the later period."""
    out_of_sample_t: float
    factors: tuple[FactorWeight, ...]
    unestimated: dict[str, str]
    """Factor -> why the data could not give it a weight; it takes no part."""

    def __post_init__(self) -> None:
        names = [entry.factor for entry in self.factors]
        unknown = [name for name in names if name not in FACTORS_BY_NAME]
        if unknown:
            raise ValueError(f"unknown factor {unknown[0]!r}")
        if len(set(names)) != len(names):
            raise ValueError("a factor is listed twice")
        if not all(isfinite(entry.weight) for entry in self.factors):
            raise ValueError("a weight is not finite")
        total = fsum(abs(entry.weight) for entry in self.factors)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the absolute weights sum to {total!r}, not to 1")


def load_weights(name: str, folder: Path = FOLDER) -> Weights:
    """Read named weights.

    Parameters
    ----------
    name
        Of a file ``NAME.json`` in `folder`.
    folder
        The shipped ones by default.

    Raises
    ------
    ConfigError
        Where there is no such file, or what it holds is not weights.
    """
    path = folder / f"{name}.json"
    try:
        content = path.read_bytes()
    except OSError:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.json"))) or "none"
        raise ConfigError(
            f"ranking.weights: there are no weights {name!r}; known: {known}"
        ) from None
    try:
        return msgspec.json.decode(content, type=Weights)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"weights {path.name} cannot be used: {error}") from None
