"""The manifest of a training set: what is in it, how it was made, and how to tell it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.clock import iso_utc
from engine.datasets.columns import dataset_columns
from engine.datasets.folder import DatasetFile, digest_of
from engine.datasets.request import DatasetRequest
from engine.domain.dataset import Dataset

FORM = 1
"""Counts the forms of the manifest."""

HOW_IT_IS_JOINED = (
    "Every value of a row was available at or before the row's available_at, and the row's "
    "available_at and every label's known_at are at or before the watermark. Labels were known at "
    "known_at: a model that is fitted as of a moment may use those known by then."
)


def dataset_id(request: DatasetRequest, digest: str) -> str:
    """Return the name of a data set: exports with the same name hold the same bytes.

    Parameters
    ----------
    request
        What it holds.
    digest
        Of `engine.datasets.folder.digest_of`.
    """
    return f"dataset-{request.timeframe}-{digest[:16]}"


def manifest_of(
    request: DatasetRequest,
    files: Sequence[DatasetFile],
    *,
    run_id: str,
    code_version: str,
    created_at: int,
    quality: Mapping[str, Any],
    queries: Mapping[str, str],
    parameters: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the manifest of a data set, as plain values.

    Parameters
    ----------
    request, files
        What was asked for, and the files that hold it.
    run_id, code_version, created_at
        Who made it, and when (UTC nanoseconds).
    quality
        What the quality gate said, and whether it was overruled.
    queries
        What was asked of the store, by name.
    parameters
        The queries' parameters that hold for the whole data set, by the query's name.
    """
    digest = digest_of(list(files))
    return {
        "form": FORM,
        "dataset_id": dataset_id(request, digest),
        "sha256": digest,
        "rows": sum(file.rows for file in files),
        "created_at": iso_utc(created_at),
        "run_id": run_id,
        "code_version": code_version,
        "watermark": iso_utc(request.watermark),
        "point_in_time": HOW_IT_IS_JOINED,
        "request": _in_words(request),
        "quality": dict(quality),
        "files": [asdict(file) for file in files],
        "columns": [
            {"name": one.name, "type": str(one.type), "role": one.role, "description": one.doc}
            for one in dataset_columns(request)
        ],
        "queries": dict(queries),
        "parameters": {name: dict(values) for name, values in parameters.items()},
    }


def dataset_row(
    request: DatasetRequest, manifest: Mapping[str, Any], text: str, path: str, created_at: int
) -> Dataset:
    """Return the row of ``datasets`` of an export.

    Parameters
    ----------
    request, manifest
        What was asked for, and what came of it.
    text
        The manifest as it was written.
    path
        The folder.
    created_at
        UTC nanoseconds.
    """
    return Dataset(
        dataset_id=manifest["dataset_id"],
        run_id=manifest["run_id"],
        path=path,
        created_at=created_at,
        watermark=request.watermark,
        timeframe=request.timeframe,
        rows=manifest["rows"],
        files=len(manifest["files"]),
        sha256=manifest["sha256"],
        feature_version=request.feature_version,
        label_version=request.label_version,
        code_version=manifest["code_version"],
        quality="passed" if manifest["quality"]["passed"] else "forced",
        manifest=text,
    )


def _in_words(request: DatasetRequest) -> dict[str, Any]:
    return {
        "timeframe": request.timeframe,
        "exchange": request.exchange or "all",
        "instruments": list(request.instruments) or "all",
        "begin": iso_utc(request.begin),
        "end": iso_utc(request.end),
        "features": list(request.features),
        "feature_version": request.feature_version,
        "horizons": list(request.horizons),
        "label_version": request.label_version,
        "sentiment_window": request.sentiment_window,
        "sentiment_model": request.sentiment_model,
        "mood_series": list(request.mood_series),
    }
