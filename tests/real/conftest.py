"""The recorded real data, where it lies beside the project."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the recorded data, from ENGINE_REAL_DATA or beside the project."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("ENGINE_REAL_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"real data absent: {folder}")
    return folder
