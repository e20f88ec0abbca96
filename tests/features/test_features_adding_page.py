"""The page about adding a feature: whoever follows it has one that the tests find and pass."""

from __future__ import annotations

import re

from tests.adding_pages import newcomer


def test_adding_page_followed_gives_a_feature_that_leaks_nothing_and_is_live_as_in_batch():
    with newcomer("feature") as somebody:
        printed = somebody.follow()
        table = somebody.text("docs/features.md")
    assert re.search(r"^\d\d passed", printed, re.MULTILINE), printed
    assert "\n| `williams_r_14` | score | -100 … 0 | 13 |" in table
