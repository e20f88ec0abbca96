import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.clock import NS_PER_S, DataClock
from engine.errors import SourceError
from engine.settings.sources import SourceConfig
from engine.sources import parquet
from engine.sources.base import text_id
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW = 1_700_000_000 * NS_PER_S


def texts(location, columns=None):
    config = SourceConfig(name="s", kind="parquet", location=str(location), columns=columns or {})
    mentions = MentionFinder(["BTC-USDT"])
    return open_source(config, clock=DataClock(NOW), mentions=mentions, author_key=b"k")


def write(path, ids, **columns):
    told = {
        "id": ids,
        "title": [f"BTC {number}" for number in ids],
        "published_at": pa.array([1_600_000_000 + n for n in ids], pa.timestamp("s", tz="UTC")),
    }
    pq.write_table(pa.table({**told, **columns}), path)


async def test_parquet_rows_are_read_in_batches_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 100)
    write(tmp_path / "a.parquet", range(250))
    source = texts(tmp_path / "a.parquet")
    looks = [await source.poll() for _ in range(4)]
    assert [len(look) for look in looks] == [100, 100, 50, 0]
    first = looks[0][0]
    assert (first.text_id, first.title) == (text_id("s", "0"), "BTC 0")
    assert (first.published_at, first.available_at) == (1_600_000_000 * NS_PER_S, NOW)
    assert first.instruments == ("BTC-USDT",)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (pa.timestamp("ns", tz="UTC"), 1_600_000_000_123_456_789, 1_600_000_000_123_456_789),
        (pa.timestamp("ms", tz="Asia/Tokyo"), 1_600_000_000_123, 1_600_000_000_123_000_000),
        (pa.int64(), 1_600_000_000_123_456_789, 1_600_000_000_123_456_789),
        (pa.float64(), 1_600_000_000.5, 1_600_000_000_500_000_000),
        (pa.string(), "2020-09-13T12:26:40.000000001Z", 1_600_000_000_000_000_001),
    ],
)
async def test_parquet_times_of_every_type_keep_their_digits(tmp_path, kind, value, expected):
    array = pa.array([value], pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else [value]
    write(tmp_path / "a.parquet", [1], published_at=pa.array(array, kind))
    (item,) = await texts(tmp_path / "a.parquet").poll()
    assert item.published_at == expected


async def test_parquet_bad_rows_are_named_with_file_and_row(tmp_path):
    day = datetime(2020, 1, 1, tzinfo=UTC)
    write(
        tmp_path / "a.parquet", [1, 2, 3],
        title=["BTC", None, "BTC"],
        published_at=pa.array([None, day, day], pa.timestamp("us", tz="UTC")),
    )  # fmt: skip
    source = texts(tmp_path / "a.parquet")
    assert len(await source.poll()) == 1
    assert list(source.report.problems) == [
        "a.parquet, row 1: column 'published_at' is empty or missing",
        "a.parquet, row 2: column 'title' is empty or missing",
    ]


async def test_parquet_time_without_zone_is_refused(tmp_path):
    naive = pa.array([1_600_000_000], pa.timestamp("s"))
    write(tmp_path / "a.parquet", [1], published_at=naive)
    source = texts(tmp_path / "a.parquet")
    assert await source.poll() == []
    assert "has no zone" in source.report.problems[0]


@pytest.mark.parametrize("location", ["", "*.parquet", "**/*.parquet"])
async def test_parquet_folder_and_pattern_give_old_and_new_files(tmp_path, location):
    write(tmp_path / "b.parquet", [2])
    write(tmp_path / "a.parquet", [1])
    (tmp_path / "c.txt").write_text("no")
    source = texts(tmp_path / location if location else tmp_path)
    assert [(await source.poll())[0].title for _ in range(2)] == ["BTC 1", "BTC 2"]
    write(tmp_path / "0.parquet", [3])
    assert [item.title for item in await source.poll()] == ["BTC 3"]
    assert await source.poll() == []


async def test_parquet_replaced_file_gives_its_new_rows_alone(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, [1])
    source = texts(path)
    await source.poll()
    assert await source.poll() == []
    write(tmp_path / "next", [1, 2])
    os.replace(tmp_path / "next", path)
    assert [item.title for item in await source.poll()] == ["BTC 2"]


async def test_parquet_broken_file_is_named_and_does_not_stop_the_others(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    write(tmp_path / "b.parquet", [1])
    source = texts(tmp_path)
    assert len(await source.poll()) == 1
    with pytest.raises(SourceError, match=r"source s: .*a\.parquet cannot be read"):
        await source.poll()
    os.remove(tmp_path / "a.parquet")
    assert await source.poll() == []
    await source.close()


async def test_parquet_missing_column_names_those_there_are(tmp_path):
    write(tmp_path / "a.parquet", [1])
    source = texts(tmp_path / "a.parquet", {"title": "headline"})
    with pytest.raises(SourceError, match="no column headline; it has id, title, published_at"):
        await source.poll()


async def test_parquet_absent_file_or_empty_folder_raises(tmp_path):
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read"):
        await texts(tmp_path / "a.parquet").poll()
    with pytest.raises(SourceError, match="there is no Parquet file at"):
        await texts(tmp_path).poll()
