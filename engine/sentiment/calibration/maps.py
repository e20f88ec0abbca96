"""Maps from the probabilities that a model gives to calibrated ones.

Each is a small record that JSON holds, and changes one text's three probabilities::

    Uncalibrated    as they are
    Temperature     sharper or flatter, the order of the three kept       (1 parameter)
    VectorScaling   a slope and a shift for each label's logarithm        (6 parameters)
    LinearLogits    logits that are sums of the probabilities; for a model
                    whose probabilities are often 0 exactly               (9 parameters)
    Isotonic        any rising curve for each label, then divided by sum  (many: needs rows)

Notes
-----
Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (temperature and vector scaling);
Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability
Estimates, KDD 2002 (isotonic).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated

import msgspec

from engine.sentiment.probabilities import Triple, logs, shares, softmax


class Uncalibrated(msgspec.Struct, frozen=True, tag="none"):
    """Changes nothing."""

    def apply(self, probabilities: Triple) -> Triple:
        """Return the same."""
        return probabilities


class Temperature(msgspec.Struct, frozen=True, tag="temperature"):
    """Divides the logarithms by one number."""

    temperature: Annotated[float, msgspec.Meta(gt=0.0)]
    """Above 1 makes a model less sure of itself."""

    def apply(self, probabilities: Triple) -> Triple:
        """Return calibrated probabilities; the label stays the same."""
        return softmax([one / self.temperature for one in logs(probabilities)])


class VectorScaling(msgspec.Struct, frozen=True, tag="vector"):
    """A line for each label's logarithm."""

    slopes: Triple
    shifts: Triple

    def apply(self, probabilities: Triple) -> Triple:
        """Return calibrated probabilities."""
        lines = zip(self.slopes, logs(probabilities), self.shifts, strict=True)
        return softmax([slope * log + shift for slope, log, shift in lines])


class LinearLogits(msgspec.Struct, frozen=True, tag="linear"):
    """Logits from the probabilities themselves, not from their logarithms."""

    slopes: tuple[Triple, Triple, Triple]
    """For each label, what each of the three probabilities counts."""

    def apply(self, probabilities: Triple) -> Triple:
        """Return calibrated probabilities."""
        return softmax(
            [
                row[0] * probabilities[0] + row[1] * probabilities[1] + row[2] * probabilities[2]
                for row in self.slopes
            ]
        )


class Curve(msgspec.Struct, frozen=True):
    """Rising line through points; level before the first and behind the last."""

    places: tuple[float, ...]
    """Ascending, in [0, 1]; at least one."""
    heights: tuple[float, ...]
    """Ascending, in [0, 1]; as many."""

    def at(self, place: float) -> float:
        """Return the height at a place."""
        after = bisect_right(self.places, place)
        if after == 0:
            return self.heights[0]
        if after == len(self.places):
            return self.heights[-1]
        left, right = self.places[after - 1], self.places[after]
        share = (place - left) / (right - left)
        return self.heights[after - 1] + share * (self.heights[after] - self.heights[after - 1])


class Isotonic(msgspec.Struct, frozen=True, tag="isotonic"):
    """A rising curve for each label."""

    curves: tuple[Curve, Curve, Curve]

    def apply(self, probabilities: Triple) -> Triple:
        """Return calibrated probabilities."""
        return shares(
            [curve.at(one) for curve, one in zip(self.curves, probabilities, strict=True)]
        )


CalibrationMap = Uncalibrated | Temperature | VectorScaling | LinearLogits | Isotonic
