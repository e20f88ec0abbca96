"""docs/features.md shows the catalogue as it is."""

from pathlib import Path

from engine.features.catalogue import FEATURES
from engine.features.page import catalogue_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_page_ends_with_the_table_of_the_catalogue():
    page = PAGE.read_text(encoding="utf-8").rstrip("\n")
    assert page.endswith(catalogue_table()), "run: python -m engine.features.page"


def test_table_has_a_line_per_feature_with_its_declarations():
    lines = catalogue_table().splitlines()
    assert len(lines) == len(FEATURES) + 2
    assert (
        "| `rsi_14` | score | 0 … 100 | 14 | close | Relative strength index over 14 bars "
        "(Wilder): below 30 is called oversold. |"
    ) in lines
