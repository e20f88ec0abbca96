"""A row of features: one bar of one market, described."""

from __future__ import annotations

import msgspec


class FeatureRow(msgspec.Struct, frozen=True):
    """Features of the bar ``[open_time, close_time)`` of a market.

    `values` follows the catalogue's order (`engine.features.catalogue`); NaN where a value is
    missing (not yet warm, or its input is). `version` names that catalogue.
    """

    exchange: str
    instrument: str
    timeframe: str
    open_time: int
    close_time: int
    available_at: int
    """When it could first be known: not before close_time for a closed bar."""
    close: float
    """Close of the bar: the reference price of signals made from it."""
    values: tuple[float, ...]
    version: str
    is_closed: bool
    """False for a preview of the bar that still forms; previews are never stored."""
    last_receive_time: int
    """When the newest event in it reached us: freshness is measured from here."""
