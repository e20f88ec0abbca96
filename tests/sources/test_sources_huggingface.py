import pytest
from api_server import ApiServer, DatasetViewer, Fault

from engine.clock import NS_PER_S, DataClock
from engine.errors import ConfigError, SourceError
from engine.settings.sources import SourceConfig
from engine.sources import http, huggingface_dataset
from engine.sources.base import text_id
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW = 1_700_000_000 * NS_PER_S
COLUMNS = {"id": "row", "title": "text", "published_at": "when", "available_at": "when"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)
    monkeypatch.delenv("HF_TOKEN", raising=False)


def row(number, **more):
    return {"row": number, "text": f"BTC {number}", "when": 1_600_000_000 + number, **more}


def dataset(server, columns=COLUMNS, **more):
    config = SourceConfig(
        name="s", kind="huggingface", location=server.url, query="owner/name", columns=columns,
        per_minute=1e9, **more,
    )  # fmt: skip
    mentions = MentionFinder(["BTC-USDT"])
    return open_source(config, clock=DataClock(NOW), mentions=mentions, author_key=b"k")


async def test_dataset_rows_are_read_once_in_slices_and_new_ones_are_found(monkeypatch):
    monkeypatch.setattr(huggingface_dataset, "MOST_PAGES", 2)
    viewer = DatasetViewer(COLUMNS.values(), [row(number) for number in range(250)])
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server)
        looks = [await source.poll() for _ in range(3)]
        viewer.rows.append(row(250))
        looks.append(await source.poll())
        await source.close()
    assert [len(look) for look in looks] == [200, 50, 0, 1]
    assert [query["offset"] for query in server.pages] == ["0", "100", "200", "250", "250"]
    assert server.pages[0] == {
        "dataset": "owner/name", "config": "default", "split": "train", "offset": "0",
        "length": "100",
    }  # fmt: skip
    first = looks[0][0]
    assert (first.text_id, first.title) == (text_id("s", "0"), "BTC 0")
    assert first.available_at == first.published_at == 1_600_000_000 * NS_PER_S
    assert first.instruments == ("BTC-USDT",)


async def test_dataset_resumed_leaves_out_what_is_stored():
    viewer = DatasetViewer(COLUMNS.values(), [row(0), row(1)])
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server)
        source.resume(NOW, [text_id("s", "0")])
        assert [item.title for item in await source.poll()] == ["BTC 1"]
        await source.close()


async def test_dataset_failing_slice_keeps_what_came_and_goes_on_there():
    viewer = DatasetViewer(COLUMNS.values(), [row(number) for number in range(150)])
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server)
        server.faults += [None, *[Fault(500, body=b'{"error": "job crashed"}')] * 2 * http.ATTEMPTS]
        assert len(await source.poll()) == 100
        with pytest.raises(SourceError, match=r"answered 500 \(job crashed\)"):
            await source.poll()
        assert len(await source.poll()) == 50
        await source.close()


async def test_dataset_bad_rows_are_named():
    rows = [row(0), row(1, when=None), row(2, text=""), row(3), row(4, when="2020-01-01T00:00:00")]
    viewer = DatasetViewer(COLUMNS.values(), rows)
    viewer.truncated[3] = ["text"]
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server)
        assert [item.title for item in await source.poll()] == ["BTC 0"]
        await source.close()
    assert [problem.partition(":")[0] for problem in source.report.problems] == [
        f"owner/name, row {number}" for number in (1, 2, 3, 4)
    ]
    said = list(source.report.problems)
    assert said[0].endswith("column 'when' is empty or missing")
    assert said[2].endswith("the viewer cut its text")
    assert "has no zone" in said[3]


async def test_dataset_without_a_column_names_those_there_are():
    viewer = DatasetViewer(["text", "label"], [{"text": "BTC", "label": 1}])
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server, {"title": "text"})
        with pytest.raises(SourceError, match="owner/name has no column published_at; it has text"):
            await source.poll()
        await source.close()


async def test_dataset_that_is_gated_opens_with_the_token(monkeypatch):
    viewer = DatasetViewer(COLUMNS.values(), [row(0)])
    viewer.gated = True
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server)
        with pytest.raises(SourceError, match=r"answered 401 .*without auth.*; check HF_TOKEN"):
            await source.poll()
        await source.close()
        monkeypatch.setenv("HF_TOKEN", "a-hub-token")
        source = dataset(server)
        assert len(await source.poll()) == 1
        await source.close()


async def test_dataset_that_does_not_exist_and_answers_of_another_shape_raise():
    viewer = DatasetViewer(COLUMNS.values(), [])
    async with ApiServer(viewer.routes()) as server:
        source = dataset(server, params={"split": "test"})
        with pytest.raises(SourceError, match=r"answered 404 \(Not found\.\)"):
            await source.poll()
        server.faults.append(Fault(200, body=b'{"rows": []}'))
        with pytest.raises(SourceError, match="sent something else than is documented"):
            await source.poll()
        await source.close()


async def test_dataset_parameter_that_is_unknown_is_refused():
    async with ApiServer({}) as server:
        with pytest.raises(ConfigError, match="no parameter 'splitt'; did you mean 'split'"):
            dataset(server, params={"splitt": "test"})
