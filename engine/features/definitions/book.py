"""What the L2 book says at the end of the bar. They look at one moment: no warm-up, no window."""

from __future__ import annotations

from engine.features.feature import Feature

FEATURES = (
    Feature("book_spread_bps", "book", None,
            "Distance of best bid and best ask over their middle, in the last book of the bar;"
            " missing where it has none.", "bps", 0.0, measure="spread_bps"),
    Feature("book_imbalance", "book", None,
            "Bid amount less ask amount over their sum, of the levels kept of the last book of"
            " the bar.", "fraction", -1.0, 1.0, measure="imbalance"),
    Feature("book_microprice_gap_bps", "book", None,
            "How far the microprice (best prices, each weighted with the other side's amount) is"
            " above the middle, in the last book of the bar.", "bps",
            measure="microprice_gap_bps"),
)  # fmt: skip
