"""The page about adding a job: whoever follows it has one that is known, told and runs."""

from __future__ import annotations

import re

import pytest

from tests.adding_pages import newcomer
from tests.local_ray import end_shared_ray

TOLD = "| `count_candles.least` | `1` | Markets with fewer are left out. |"
REFUSAL = "error: unknown key 'leest' of count_candles; did you mean 'least'?\n"


def test_adding_page_followed_gives_a_job_that_is_known_and_told():
    with newcomer("job") as somebody:
        somebody.follow()
        assert TOLD in somebody.text("docs/configuration.md")
        command = ".venv/bin/python -m jobs.count_candles --set leest=100"
        assert somebody.run(command, exit_code=2) == REFUSAL


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_adding_page_followed_gives_a_job_that_runs():
    end_shared_ray()  # the page's own test starts another
    with newcomer("job") as somebody:
        printed = somebody.follow(with_ray=True)
    assert re.search(r"^1 passed", printed, re.MULTILINE), printed
