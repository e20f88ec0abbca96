"""Rows that a job did not let in."""

from __future__ import annotations

import msgspec


class QuarantinedRow(msgspec.Struct, frozen=True):
    """A row set aside, and why. A row of ``quarantine``.

    The same row of the same source with the same reason counts once, however often it is set
    aside.
    """

    job: str
    run_id: str
    table_name: str
    """The table that it is not fit for."""
    source: str
    """Where it comes from: a file, a text source, a venue."""
    row_number: int
    """Its place in the file, from 1; 0 where it has none, or the whole file is meant."""
    reason: str
    """What is wrong with it, in a few words that are the same for all such rows."""
    row: str
    """The row as it was found, JSON."""
    quarantined_at: int
    """UTC nanoseconds."""
