"""Units of a job: what is done of it, so that a run that is started again does only the rest.

A unit is a piece of work with a name, such as the features of a month. Whoever writes its rows
writes a `JobBlock` for each block after the block itself, so what this table tells of is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.store.client import Store

UNIT = "_unit"
UNIT_ROWS = "_unit_rows"
FINGERPRINT = "_fingerprint"
UNIT_COLUMNS = (UNIT, UNIT_ROWS, FINGERPRINT)
"""Columns that a block for `engine.store.ray_data.ClickHouseSink` may carry beside those of its
table: which unit its rows belong to, how many rows that unit has, and its fingerprint."""

_DONE = """
SELECT unit, fingerprint, sum(rows) AS stored, max(unit_rows) AS wanted, max(run_id) AS run
FROM job_blocks FINAL
WHERE job = {job:String}
GROUP BY unit, fingerprint
HAVING stored >= wanted
"""


def done_units(store: Store, job: str) -> Mapping[str, set[str]]:
    """Return the units of a job that are stored whole: unit -> its fingerprints.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = store.query_arrow(_DONE, {"job": job})
    done: dict[str, set[str]] = {}
    for unit, fingerprint in zip(
        found.column("unit").to_pylist(), found.column("fingerprint").to_pylist(), strict=True
    ):
        done.setdefault(unit, set()).add(fingerprint)
    return done
