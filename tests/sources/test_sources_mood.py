"""Indices of mood: first prints, when each was available, and documents as they are."""

from datetime import date

import pytest
from api_server import ApiServer, Fault, MoodDocuments

from engine.clock import NS_PER_S, DataClock, parse_iso_utc
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.settings.sources import MoodConfig
from engine.sources import http, put_call
from engine.sources.cboe import day_ns, published_ns
from engine.sources.fear_greed import read_fear_greed
from engine.sources.http import SourceClient
from engine.sources.mood import FirstPrints, Reading
from engine.sources.mood_registry import open_mood
from engine.sources.put_call import PutCall, read_put_call
from engine.sources.vix import read_vix

HOUR = 3600 * NS_PER_S
VIX = "DATE,OPEN,HIGH,LOW,CLOSE\n01/02/2024,13.2,14.2,13.1,13.2\n01/03/2024,13.4,14.2,13.3,14.04\n"
ARCHIVE = """Disclaimer, with a comma
PRODUCT: Total,,,
DATE,CALL,PUT,TOTAL,P/C Ratio
10/3/2019,2097645,2882751,4980396,1.37
10/04/2019, 2175006, 2289715, 4464721, 1.05
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)


@pytest.fixture
def skipped():
    return []


def test_vix_table_gives_closes_and_when_they_are_out(skipped):
    assert read_vix(VIX.encode(), skipped.append) == [
        Reading(parse_iso_utc("2024-01-02T00:00:00Z"), 13.2, parse_iso_utc("2024-01-03T05:00:00Z")),
        Reading(
            parse_iso_utc("2024-01-03T00:00:00Z"), 14.04, parse_iso_utc("2024-01-04T05:00:00Z")
        ),
    ]
    assert skipped == []


def test_vix_bad_rows_are_named_by_line(skipped):
    table = b"\xef\xbb\xbfnote\nDATE,OPEN,HIGH,LOW,CLOSE\n2024-13-01,1,2,1,2\n,,,,\n\n" + (
        b"2024-01-02,1,2,1,x\n2024-01-03,1,2,1,3\n2024-01-04,1,2,1,-1\n2024-01-05,1\n"
        b"2024-01-08,1,2,1,1.5\n"
    )
    assert [reading.value for reading in read_vix(table, skipped.append)] == [1.5]
    assert skipped == [
        "line 3: month must be in 1..12",
        "line 6: column CLOSE is 'x', not a number above 0",
        "line 7: the close 3.0 is outside 1.0 to 2.0",
        "line 8: column CLOSE is '-1', not a number above 0",
        "line 9: column HIGH is '', not a number above 0",
    ]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_vix, b"<html>no</html>", "no header that begins with DATE"),
        (read_vix, b"", "no header that begins with DATE"),
        (read_vix, b"DATE,OPEN\n", "no column HIGH, LOW, CLOSE; it has DATE, OPEN"),
        (read_put_call, b"DATE,CALL\n1/1/2019,1\n", "no column P/C Ratio; it has DATE, CALL"),
        (read_fear_greed, b"{}", "missing required field `data`"),
        (read_fear_greed, b"<html>", "no column timestamp, value"),
        (read_fear_greed, b"\xff", "invalid start byte"),
    ],
)
def test_mood_document_of_another_kind_raises(read, content, message, skipped):
    with pytest.raises(ValueError, match=message):
        read(content, skipped.append)


def test_put_call_table_with_preamble_gives_ratios(skipped):
    assert [reading.value for reading in read_put_call(ARCHIVE.encode(), skipped.append)] == [
        1.37,
        1.05,
    ]
    assert skipped == []


def test_put_call_ratio_that_is_not_puts_by_calls_is_named(skipped):
    table = b"DATE,CALLS,PUTS,TOTAL,Ratio\n10/3/2019,100,50,150,2.0\n10/4/2019,100,50,150,0.5\n"
    assert [reading.value for reading in read_put_call(table, skipped.append)] == [0.5]
    assert skipped == ["line 2: the ratio 2.0 is not 50 / 100"]


def test_fear_greed_json_and_table_give_the_same(skipped):
    answer = b'{"data":[{"value":"40","timestamp":"86400"},{"value":"9","timestamp":"0"}]}'
    table = b"timestamp,value,classification,date\n0,9,Fear,x\n86400,40,Fear,y\n"
    expected = [Reading(0, 9.0, HOUR), Reading(24 * HOUR, 40.0, 25 * HOUR)]
    assert sorted(read_fear_greed(answer, skipped.append)) == expected
    assert read_fear_greed(table, skipped.append) == expected
    assert skipped == []


def test_fear_greed_bad_values_are_named(skipped):
    answer = (
        b'{"data":[{"value":"140","timestamp":"1"},{"value":"x","timestamp":"1"},'
        b'{"value":"nan","timestamp":"1"},{"value":5,"timestamp":"1"},7,'
        b'{"value":"5","timestamp":"86400"}]}'
    )
    assert [reading.value for reading in read_fear_greed(answer, skipped.append)] == [5.0]
    assert [reason.partition(":")[0] for reason in skipped] == [f"row {n}" for n in range(1, 6)]
    assert skipped[0] == "row 1: value 140 is outside 0 to 100"


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2024, 3, 8), "2024-03-09T05:00:00Z"),
        (date(2024, 3, 9), "2024-03-10T05:00:00Z"),
        (date(2024, 3, 10), "2024-03-11T04:00:00Z"),
        (date(2024, 7, 4), "2024-07-05T04:00:00Z"),
    ],
)
def test_published_is_midnight_in_new_york_in_summer_and_winter(day, expected):
    assert published_ns(day) == parse_iso_utc(expected)


def test_first_prints_history_is_available_when_published_and_what_appears_live_now():
    clock = DataClock(10 * HOUR)
    prints = FirstPrints("x", clock)
    early, late = Reading(0, 1.0, 3 * HOUR), Reading(5 * HOUR, 2.0, 20 * HOUR)
    assert prints.new([late, early]) == [
        MarketMood("x", 0, 1.0, 3 * HOUR),
        MarketMood("x", 5 * HOUR, 2.0, 10 * HOUR),
    ], "what we have read is available, however late its publisher may be"
    prints.is_live = True
    clock.advance(12 * HOUR)
    assert prints.new([Reading(6 * HOUR, 3.0, 7 * HOUR)]) == [
        MarketMood("x", 6 * HOUR, 3.0, 12 * HOUR)
    ]
    assert prints.newest == 6 * HOUR


def test_first_prints_stay_and_revisions_are_named_once():
    prints = FirstPrints("x", DataClock(10 * HOUR))
    prints.resume([MarketMood("x", 0, 1.0, HOUR)])
    for _ in range(2):
        assert prints.new([Reading(0, 1.5, HOUR)]) == []
    assert list(prints.intake.report.problems) == [
        "1970-01-01: 1.5 now, 1.0 at first, which is kept"
    ]


def test_first_prints_day_that_has_not_begun_is_named():
    prints = FirstPrints("x", DataClock(10 * HOUR))
    assert prints.new([Reading(11 * HOUR, 1.0, 12 * HOUR)]) == []
    assert prints.intake.report.skipped == 1


async def test_vix_is_read_whole_then_only_when_it_changed():
    documents = MoodDocuments()
    documents.vix = VIX
    clock = DataClock(parse_iso_utc("2024-01-03T23:00:00Z"))
    async with ApiServer(documents.routes()) as server:
        source = open_mood(MoodConfig(kind="vix", location=f"{server.url}/VIX_History.csv"), clock)
        first = await source.poll()
        assert await source.poll() == []
        assert server.seen[1].headers["If-None-Match"] == f'"{len(VIX)}"'
        documents.vix += "01/04/2024,14.1,14.2,13.6,14.13\n"
        clock.advance(parse_iso_utc("2024-01-04T22:15:00Z"))
        (newest,) = await source.poll()
        await source.close()
    assert [(mood.value, mood.available_at) for mood in first] == [
        (13.2, parse_iso_utc("2024-01-03T05:00:00Z")),
        (14.04, parse_iso_utc("2024-01-03T23:00:00Z")),
    ]
    assert newest == MarketMood("vix", day_ns(date(2024, 1, 4)), 14.13, clock.now_ns())


async def test_fear_greed_reads_all_history_once_then_the_latest():
    documents = MoodDocuments()
    day_s = 86_400
    documents.fear_greed = [(day * day_s, str(day % 100)) for day in range(1, 60)]
    clock = DataClock(60 * day_s * NS_PER_S)
    async with ApiServer(documents.routes()) as server:
        config = MoodConfig(kind="fear_greed", location=f"{server.url}/fng/")
        source = open_mood(config, clock)
        stored = MarketMood("fear_greed", day_s * NS_PER_S, 1.0, 5)
        source.resume([stored])
        first = await source.poll()
        documents.fear_greed.append((60 * day_s, "61"))
        (newest,) = await source.poll()
        await source.close()
    assert [query["limit"] for query in server.pages] == ["0", "30"]
    assert len(first) == 58, "the first is stored"
    assert first[0].available_at == (2 * day_s + 3600) * NS_PER_S
    assert (newest.value, newest.available_at) == (61.0, clock.now_ns())


async def test_mood_file_is_read_and_absent_or_broken_says_so(tmp_path):
    path = tmp_path / "vix.csv"
    source = open_mood(MoodConfig(kind="vix", location=str(path)), DataClock(10**18 * 2))
    with pytest.raises(SourceError, match=r"source vix: .*vix\.csv cannot be read: No such file"):
        await source.poll()
    path.write_text("nothing")
    with pytest.raises(SourceError, match=r"vix\.csv is not the expected document: it has no head"):
        await source.poll()
    path.write_text(VIX)
    assert [mood.value for mood in await source.poll()] == [13.2, 14.04]
    assert await source.poll() == []


@pytest.mark.parametrize("kind", ["vix", "fear_greed", "put_call"])
async def test_mood_source_that_fails_says_so_and_misses_nothing(kind, monkeypatch):
    documents = MoodDocuments()
    documents.vix, documents.archive = VIX, ARCHIVE
    documents.fear_greed = [(86_400, "9"), (172_800, "10")]
    paths = {"vix": "VIX_History.csv", "fear_greed": "fng/", "put_call": "totalpc.csv"}
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    async with ApiServer(documents.routes()) as server:
        config = MoodConfig(kind=kind, location=f"{server.url}/{paths[kind]}")
        source = open_mood(config, DataClock(10**18 * 2))
        server.faults.append(Fault(500))
        with pytest.raises(SourceError, match=f"source {kind}: .* answered 500"):
            await source.poll()
        server.faults.append(Fault(200, body=b"<html></html>"))
        with pytest.raises(SourceError, match="is not the expected document"):
            await source.poll()
        assert len(await source.poll()) == 2
        await source.close()
    with pytest.raises(SourceError, match="cannot be read"):
        await open_mood(config, DataClock(0)).poll()


class DailyRatios:
    """The put/call ratio of a server of ours."""

    def __init__(self, server, clock):
        client = SourceClient("put_call", clock=clock)
        archive, daily = f"{server.url}/totalpc.csv", f"{server.url}/daily"
        self.source = PutCall(client, clock, archive, daily)

    async def values(self):
        return [(day_of(mood), mood.value) for mood in await self.source.poll()]


def day_of(mood):
    return date(1970, 1, 1).fromordinal(date(1970, 1, 1).toordinal() + mood.time // (24 * HOUR))


async def test_put_call_archive_comes_first_then_day_by_day_until_today(monkeypatch):
    monkeypatch.setattr(put_call, "MOST_DAYS", 3)
    documents = MoodDocuments()
    documents.archive = ARCHIVE
    documents.days = {"2019-10-07": "0.9", "2019-10-08": "1.1", "2019-10-10": "1.0"}
    clock = DataClock(parse_iso_utc("2019-10-11T21:00:00Z"))
    async with ApiServer(documents.routes()) as server:
        ratios = DailyRatios(server, clock)
        assert [value for _, value in await ratios.values()] == [1.37, 1.05]
        assert ratios.source.has_more
        assert await ratios.values() == [(date(2019, 10, 7), 0.9), (date(2019, 10, 8), 1.1)]
        assert ratios.source.has_more
        assert await ratios.values() == [(date(2019, 10, 10), 1.0)], "the 9th was no trading day"
        assert not ratios.source.has_more
        clock.advance(parse_iso_utc("2019-10-11T22:00:00Z"))
        documents.days["2019-10-11"] = "1.2"
        (live,) = await ratios.source.poll()
        await ratios.source.close()
    assert live == MarketMood("put_call", day_ns(date(2019, 10, 11)), 1.2, clock.now_ns())
    asked = [seen.path for seen in server.seen if seen.path.startswith("/daily")]
    assert not [path for path in asked if "10-12" in path or "10-05" in path], "no weekends"


async def test_put_call_resumed_asks_for_the_days_after_the_newest():
    documents = MoodDocuments()
    documents.days = {"2024-01-05": "0.8"}
    clock = DataClock(parse_iso_utc("2024-01-06T12:00:00Z"))
    async with ApiServer(documents.routes()) as server:
        ratios = DailyRatios(server, clock)
        ratios.source.resume([MarketMood("put_call", day_ns(date(2024, 1, 3)), 1.0, 1)])
        (mood,) = await ratios.source.poll()
        await ratios.source.close()
    assert [seen.path for seen in server.seen] == [
        "/daily/2024-01-04_daily_options",
        "/daily/2024-01-05_daily_options",
    ]
    assert mood.available_at == parse_iso_utc("2024-01-06T05:00:00Z")


async def test_put_call_failing_day_keeps_what_came_and_goes_on_there(monkeypatch):
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    documents = MoodDocuments()
    documents.days = {"2024-01-04": "0.8", "2024-01-05": "0.9"}
    clock = DataClock(parse_iso_utc("2024-01-05T23:00:00Z"))
    async with ApiServer(documents.routes()) as server:
        ratios = DailyRatios(server, clock)
        ratios.source.resume([MarketMood("put_call", day_ns(date(2024, 1, 3)), 1.0, 1)])
        server.faults += [None, Fault(500), Fault(500)]
        assert await ratios.values() == [(date(2024, 1, 4), 0.8)]
        assert ratios.source.has_more
        with pytest.raises(SourceError, match="answered 500"):
            await ratios.values()
        assert await ratios.values() == [(date(2024, 1, 5), 0.9)]
        await ratios.source.close()


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"ratios": []}', b'{"ratios": [{"name": "TOTAL PUT/CALL RATIO"}]}']
)
async def test_put_call_document_of_another_shape_is_named(body):
    documents = MoodDocuments()
    documents.days = {"2024-01-04": body, "2024-01-05": "0.9"}
    clock = DataClock(parse_iso_utc("2024-01-05T23:00:00Z"))
    async with ApiServer(documents.routes()) as server:
        ratios = DailyRatios(server, clock)
        ratios.source.resume([MarketMood("put_call", day_ns(date(2024, 1, 3)), 1.0, 1)])
        assert await ratios.values() == [(date(2024, 1, 5), 0.9)]
        await ratios.source.close()
    assert ratios.source.report.problems[0].startswith("2024-01-04: ")


async def test_put_call_address_that_has_nothing_at_all_is_reported():
    async with ApiServer(MoodDocuments().routes()) as server:
        ratios = DailyRatios(server, DataClock(parse_iso_utc("2024-06-01T00:00:00Z")))
        ratios.source.resume([MarketMood("put_call", day_ns(date(2024, 1, 3)), 1.0, 1)])
        with pytest.raises(SourceError, match="has nothing for 11 weekdays up to 2024-01-18"):
            await ratios.values()
        await ratios.source.close()
