"""The folder of a data set: whole or not there, and one data set alone."""

from __future__ import annotations

import itertools
import json
from hashlib import sha256
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.datasets.folder import GROUP_ROWS, DatasetFile, DatasetFolder, MonthFile, digest_of
from engine.datasets.manifest import dataset_id, manifest_of
from engine.datasets.request import DatasetRequest
from engine.errors import ConfigError

REQUEST = DatasetRequest(
    timeframe="1h", exchange="", instruments=(), begin=0, end=9, watermark=9, features=("rsi_14",),
    feature_version="f", horizons=(), label_version="", sentiment_window="1d", sentiment_model="",
    mood_series=(),
)  # fmt: skip
SCHEMA = pa.schema([("bar", pa.int64())])


def bars(first: int, count: int) -> pa.Table:
    return pa.table({"bar": range(first, first + count)})


def written(folder: DatasetFolder, month: str, *parts: pa.Table) -> bytes:
    with folder.month(month, SCHEMA) as file:
        _put(file, *parts)
    return (folder.path / f"{month}.parquet").read_bytes()


def _put(file: MonthFile, *parts: pa.Table) -> None:
    for part in parts:
        file.put(part)


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    found = DatasetFolder(tmp_path / "dataset")
    found.claim(REQUEST)
    return found


def test_folder_remembers_what_it_is_to_hold(folder: DatasetFolder) -> None:
    assert folder.request() == REQUEST
    folder.claim(REQUEST)
    assert not folder.is_complete


def test_folder_refuses_another_data_set(folder: DatasetFolder) -> None:
    other = msgspec.structs.replace(REQUEST, horizons=("1h",))
    with pytest.raises(ConfigError, match=r"holds another data set .* name another folder"):
        folder.claim(other)


def test_folder_refuses_files_that_no_export_wrote(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(ConfigError, match="holds files that no export wrote"):
        DatasetFolder(tmp_path).claim(REQUEST)


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        DatasetFolder(tmp_path / "out").request()


def test_folder_whose_note_cannot_be_read_is_refused(folder: DatasetFolder) -> None:
    (folder.path / "request.json").write_text("{")
    with pytest.raises(ConfigError, match=r"request\.json cannot be read"):
        folder.request()


def test_file_has_the_same_bytes_however_its_rows_arrive(folder: DatasetFolder) -> None:
    count = GROUP_ROWS * 2 + 77
    at_once = written(folder, "2022-05", bars(0, count))
    cuts = [0, 1, 30_000, GROUP_ROWS, GROUP_ROWS + 9, count]
    parts = [bars(low, high - low) for low, high in itertools.pairwise(cuts)]
    assert written(folder, "2022-06", *parts) == at_once
    read = pq.read_table(folder.path / "2022-06.parquet")
    assert read.column("bar").to_pylist() == list(range(count))


def test_file_that_is_interrupted_is_not_there(folder: DatasetFolder) -> None:
    with pytest.raises(pa.ArrowInvalid), folder.month("2022-05", SCHEMA) as file:
        _put(file, bars(0, GROUP_ROWS), pa.table({"bar": ["no number"]}))
    assert folder.months() == set()
    assert [path.name for path in folder.path.iterdir()] == ["request.json"]


def test_what_a_killed_process_left_half_written_goes_when_the_folder_is_claimed(
    folder: DatasetFolder,
) -> None:
    (folder.path / "2022-05.parquet.part").touch()
    folder.claim(REQUEST)
    assert [path.name for path in folder.path.iterdir()] == ["request.json"]


def test_files_are_told_with_the_hashes_of_their_bytes(folder: DatasetFolder) -> None:
    content = {month: written(folder, month, bars(0, 5)) for month in ("2022-06", "2022-05")}
    assert list(folder.files()) == [
        DatasetFile(f"{month}.parquet", 5, len(content[month]), sha256(content[month]).hexdigest())
        for month in ("2022-05", "2022-06")
    ]


def test_digest_changes_with_any_name_or_hash() -> None:
    one, other = DatasetFile("a", 1, 1, "x"), DatasetFile("b", 1, 1, "y")
    plain = digest_of([one, other])
    assert plain == digest_of([other, one])
    assert plain == sha256(b"x  a\ny  b\n").hexdigest()
    assert len({plain, digest_of([one]), digest_of([DatasetFile("a", 1, 1, "y"), other])}) == 3


def test_manifest_makes_the_folder_complete_and_discard_undoes_it(folder: DatasetFolder) -> None:
    written(folder, "2022-05", bars(0, 5))
    told = manifest_of(
        REQUEST, list(folder.files()), run_id="r", code_version="1", created_at=0,
        quality={"passed": True}, queries={"mood": "SELECT 1"},
        parameters={"mood": {"until": 1}},
    )  # fmt: skip
    assert folder.finish(told) == (folder.path / "manifest.json").read_text()
    assert folder.is_complete
    assert json.loads((folder.path / "manifest.json").read_text()) == told
    assert told["rows"] == 5
    assert (told["queries"], told["parameters"]) == ({"mood": "SELECT 1"}, {"mood": {"until": 1}})
    assert told["dataset_id"] == dataset_id(REQUEST, told["sha256"])
    assert [one["name"] for one in told["columns"]][:3] == ["exchange", "instrument", "open_time"]
    folder.discard()
    assert (folder.is_complete, folder.months(), folder.request()) == (False, set(), REQUEST)
