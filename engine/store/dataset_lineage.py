"""From an exported training set back to the runs that made its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.clock import iso_utc
from engine.domain.dataset import Dataset
from engine.store.client import Store
from engine.store.lineage import Origin, run_origin, stored_rows

MOST_RUNS = 50

_RUNS = """
SELECT run_id, count() AS units FROM
(
    SELECT unit, argMax(run_id, written_at) AS run_id FROM job_blocks FINAL
    WHERE job = {job:String} AND written_at <= fromUnixTimestamp64Nano({until:Int64})
        AND arrayExists(part -> startsWith(unit, concat({timeframe:String}, ' ', part))
            OR position(unit, concat(' ', {timeframe:String}, ' ', part)) > 0,
            {months:Array(String)})
    GROUP BY unit
)
GROUP BY run_id ORDER BY run_id
"""


def dataset_lineage(store: Store, dataset_id: str) -> Origin | None:
    """Return where a data set came from; None where no such data set was exported.

    Of a data set that was exported again the last export is told, and how many there were.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found: list[Dataset] = stored_rows(
        store,
        "datasets",
        "WHERE dataset_id = {id:String} ORDER BY created_at DESC",
        id=dataset_id,
    )
    if not found:
        return None
    dataset = found[0]
    manifest = json.loads(dataset.manifest)
    return Origin(
        f"data set {dataset.dataset_id}",
        {
            "folder": dataset.path,
            "created_at": iso_utc(dataset.created_at),
            "watermark": iso_utc(dataset.watermark),
            "timeframe": dataset.timeframe,
            "rows": dataset.rows,
            "files": dataset.files,
            "sha256": dataset.sha256,
            "feature_version": dataset.feature_version,
            "label_version": dataset.label_version or None,
            "quality": dataset.quality,
            "exports": len(found),
        },
        (
            run_origin(store, dataset.run_id),
            _made_by(store, "features", "build_features", dataset, manifest),
            _made_by(store, "labels", "label_outcomes", dataset, manifest),
            _request(manifest),
        ),
    )


def _made_by(
    store: Store, what: str, job: str, dataset: Dataset, manifest: Mapping[str, Any]
) -> Origin:
    """Return the runs that were the last to write the data set's months before the export."""
    months = [file["name"].removesuffix(".parquet") for file in manifest["files"]]
    runs: Sequence[Mapping[str, Any]] = store.query_arrow(
        _RUNS,
        {
            "job": job,
            "until": dataset.created_at,
            "timeframe": dataset.timeframe,
            "months": months,
        },
    ).to_pylist()
    origins = [run_origin(store, run["run_id"], units=run["units"]) for run in runs[:MOST_RUNS]]
    if len(runs) > MOST_RUNS:
        origins.append(Origin(f"{len(runs) - MOST_RUNS} more runs"))
    facts = {"runs": len(runs)}
    return Origin(what, facts if runs else {"runs": "none: written live"}, tuple(origins))


def _request(manifest: Mapping[str, Any]) -> Origin:
    request: Mapping[str, Any] = manifest["request"]
    facts = {}
    for name, value in request.items():
        facts[name] = _short(value) if isinstance(value, list) else value
    return Origin("what was asked for", facts)


def _short(values: Sequence[str]) -> str:
    told = ", ".join(values[:5])
    return told if len(values) <= 5 else f"{told}, and {len(values) - 5} more"
