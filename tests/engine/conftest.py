"""One engine that the tests of this folder use one after the other, as an operator would."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from command import Command

SCHEDULE = "schedule=[{name: nightly, job: report, every: 1d, set: {timeframe: 1m, top: 2}}]"
FEW_TEXTS = "simulator.texts_per_hour=6"
"""A start reads a week of them: a tenth of the usual number, since the best model is not fast."""


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A detached engine with the best model of this machine."""
    command = Command(tmp_path_factory.mktemp("engine"), model="auto")
    command.up("--set", SCHEDULE, "--set", FEW_TEXTS)
    yield command
    if list((command.folder / "state").glob("run-*.json")):
        family = command.family()
        assert command.run("down").returncode == 0
        _, left = psutil.wait_procs(family, timeout=5)
        assert left == []
