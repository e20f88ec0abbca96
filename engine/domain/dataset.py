"""A training set that was exported."""

from __future__ import annotations

from typing import Literal

import msgspec

QualityWord = Literal["passed", "forced"]
"""Whether the quality gate passed, or was overruled."""


class Dataset(msgspec.Struct, frozen=True):
    """One export of one data set. A row of ``datasets``."""

    dataset_id: str
    """Made of what the files hold: two exports with the same id hold the same bytes."""
    run_id: str
    """The run that wrote it; its row is in ``job_runs``."""
    path: str
    """Folder it was written to, on the machine that ran the job."""
    created_at: int
    """UTC nanoseconds."""
    watermark: int
    """Nothing that became available after it is in it, UTC nanoseconds."""
    timeframe: str
    """Of its bars."""
    rows: int
    files: int
    """Number of Parquet files."""
    sha256: str
    """Of the files' names and hashes."""
    feature_version: str
    label_version: str
    """Empty where it has no labels."""
    code_version: str
    quality: QualityWord
    manifest: str
    """The manifest beside the files, JSON."""
