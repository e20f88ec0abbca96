"""Live actors first: what a job runs gives way to them."""

from __future__ import annotations

from engine.actors.priority import lower_priority

NICENESS = 15
"""Of every process of a job. An engine's live actors have less (`serve.run.environment`): a job
that shares the cores with them evenly has been seen to keep a feature worker from reporting for
half a minute."""


def give_way() -> None:
    """Lower this process's priority to a job's; one that is there already stays."""
    lower_priority(NICENESS)
