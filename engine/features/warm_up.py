"""How far back features look. Apart from the catalogue, so that nobody loads TA-Lib for it."""

WARM_UP_BARS = 250
"""Bars of the regular grid before a segment that its values are computed from. Not below the
longest warm-up of the catalogue; what is above it lets recursive averages settle."""
