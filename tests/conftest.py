"""Shared by all tests: the fast ones run first, those that start Ray last."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from tests.local_ray import end_shared_ray, start_shared_ray

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background, as CI may be: the engines that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("ray") is None:
        return 0
    # Side by side, so that the Ray they share is started once.
    return 1 if "shared_ray" in getattr(item, "fixturenames", ()) else 2


def pytest_sessionfinish() -> None:
    end_shared_ray()


@pytest.fixture(scope="module")
def shared_ray() -> None:
    """A Ray of two cores that other tests have used."""
    start_shared_ray()
