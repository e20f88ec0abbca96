"""What a report says, in each of its three forms."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_samples import AS_OF, HOUR, PARTS, RECORD, chart, past, report, signal

from engine.domain.signal import Contribution
from engine.errors import StartError
from engine.reports.charts import HEIGHT, WIDTH, price_line, return_bars, sparkline
from engine.reports.files import write_report
from engine.reports.html import to_html
from engine.reports.json_text import to_json
from engine.reports.markdown import to_markdown
from engine.reports.report import PriceChart, ReportedSignal, TrackRecord, steps
from engine.reports.wording import completeness_told, missing, price, record_told

HOSTILE = 'A|<script>alert("x")</script>**b**_c_`d`&amp;'
VOID = {"meta", "path", "rect"}


class Page(HTMLParser):
    """Checks that tags are balanced, and gathers what is in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())


def test_html_is_one_balanced_file_without_script_or_request() -> None:
    text = to_html(report())
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    attributes = {name for _, given in page.tags for name in given}
    assert not {name for name in attributes if name.startswith("on")} | (
        attributes & {"src", "srcset", "action", "data", "xlink:href"}
    )
    assert {given["href"] for tag, given in page.tags if tag == "a"} == {"#rank-1", "#rank-2"}
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text


def test_html_charts_are_told_to_those_who_do_not_see_them() -> None:
    page = Page(to_html(report()))
    drawings = [given for tag, given in page.tags if tag == "svg"]
    shown = [given for given in drawings if given.get("aria-hidden") != "true"]
    assert all(given["role"] == "img" and given["aria-label"] for given in shown)
    assert shown[0]["aria-label"] == (
        "Price of BTC-USDT over 3 bars from 2026-02-03 12:00 UTC to 2026-02-03 14:00 UTC: from 100 "
        "to 105, low 100, high 110"
    )
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert headings[:2] == ["h1", "h2"]
    assert all(given.get("scope") for tag, given in page.tags if tag == "th")


@pytest.mark.parametrize("field", ["instrument", "rationale", "model", "gap", "factor"])
def test_html_shows_any_text_as_it_is(field: str) -> None:
    one = signal()
    changed = {
        "instrument": {"instrument": HOSTILE},
        "rationale": {"rationale": (HOSTILE,)},
        "factor": {"contributions": (Contribution(HOSTILE, 1.0, 1.0, 0.1, 0.1),)},
    }.get(field, {})
    whole = report(ReportedSignal(signal(**changed), chart(1.0, 2.0), RECORD))
    if field == "model":
        whole = report(model=HOSTILE)
    if field == "gap":
        whole = report(absent=(HOSTILE,))
    page = Page(to_html(whole))
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    wanted = HOSTILE.replace("_", " ") if field == "factor" else HOSTILE
    assert any(wanted in text for text in page.texts)
    assert one.instrument == "BTC-USDT"


def test_markdown_shows_any_text_as_it_is() -> None:
    text = to_markdown(report(ReportedSignal(signal(instrument=HOSTILE), chart(1.0), RECORD)))
    line = next(line for line in text.splitlines() if line.startswith("## 1."))
    assert line.startswith(
        r'## 1. A\|\<script\>alert("x")\</script\>\*\*b\*\*\_c\_\`d\`&amp; ▲ bullish +0.133'
    )
    row = next(line for line in text.splitlines() if line.startswith("| 1 "))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


def test_markdown_tells_all_there_is_to_a_signal() -> None:
    text = to_markdown(report())
    for told in (
        "# Top 2 of 2 on 1h bars",
        "- **as of**: 2026-02-03 14:00 UTC",
        "- **universe**: 2 instruments, 2 ranked: 1 bullish, 0 neutral, 1 bearish",
        "- **from**: stored signals",
        "- **data**: 1 ranked with an incomplete feed; 1 open gap: binance:BTC-USDT",
        "- **market mood**: fear greed 73 (2026-02-03)",
        "| 1 | BTC-USDT | +0.133 | ▲ bullish | 75% | 64,123.46 |",
        "- Lifted by calm.",
        "3 bars to 2026-02-03 14:00 UTC: 100 → 105 (+5.0%), low 100, high 110.",
        "| volatility 168 | calmer trading over the last 7 days than most | 47 bps | -2.0 "
        "| +0.1333 | `········│████████` |",
        "| sentiment | missing: its weight went to the others | – | – | +0.0000 |",
        "| **score** | sum of the contributions | | | **+0.1333** | |",
        "- confidence 75%: agreement 90%, freshness 80%, coverage 80%, liquidity 26%, "
        "stability 100%",
        "- reference price 64,123.46 on binance; good until 2026-02-04 14:00 UTC",
        "- data 1.5 min old; 4 of 5 factors; missing: sentiment (20% of the weight); its feed has "
        "an open gap or is stale",
        "- before: 3 earlier signals over 24h, 2 of them took a side: the price went its way in 1 "
        "(50%), +0.40% each on average after costs.",
        "rank 3, neutral +0.200; the price went -3.00%, took no side",
        "- before: None of its earlier signals has a stored outcome.",
    ):
        assert told in text, told


def test_json_has_the_signals_as_the_api_shows_them() -> None:
    found = json.loads(to_json(report()))
    first = found["signals"][0]
    assert (found["as_of"], first["as_of"], first["expires_at"]) == (
        "2026-02-03T14:00:00.000000Z",
        "2026-02-03T14:00:00.000000Z",
        "2026-02-04T14:00:00.000000Z",
    )
    total = 0.0
    for part in first["contributions"]:
        total += part["contribution"]
    assert total == first["score"]
    assert first["chart"]["closes"] == [100.0, 110.0, 105.0]
    assert first["record"]["hits"] == 1
    assert first["record"]["signals"][0]["as_of"] == "2026-01-31T14:00:00.000000Z"
    assert found["gaps"][0]["to_time"] is None
    assert found["directions"] == {"bullish": 1, "neutral": 0, "bearish": 1}


def test_report_of_the_same_ranking_is_the_same_to_the_byte() -> None:
    for write in (to_html, to_json, to_markdown):
        assert write(report()) == write(report())


_SHARES = st.floats(-0.3, 0.3)


@given(st.lists(_SHARES, min_size=1, max_size=8))
def test_steps_follow_one_another_from_0_to_the_score(shares: list[float]) -> None:
    parts = tuple(
        Contribution(f"f{number}", 1.0, 1.0, 0.1, share) for number, share in enumerate(shares)
    )
    score = 0.0
    for share in shares:
        score += share
    found = steps(signal(contributions=(*parts, PARTS[-1]), score=score))
    assert len(found) == len(parts)
    assert (found[0][1], found[-1][2]) == (0.0, score)
    assert all(before[2] == after[1] for before, after in itertools.pairwise(found))
    sizes = [abs(end - begin) for _, begin, end in found]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(sizes))
    assert sorted(name for name, _, _ in found) == [part.factor for part in parts]


def test_price_line_breaks_where_bars_are_missing() -> None:
    times = (AS_OF - 5 * HOUR, AS_OF - 4 * HOUR, AS_OF - HOUR, AS_OF)
    line, area = price_line(PriceChart(HOUR, times, (1.0, 2.0, 3.0, 2.0)))
    assert line == "M0.0 116.0L120.0 60.0M480.0 4.0L600.0 60.0"
    assert area.count("Z") == 2


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=50))
def test_price_line_stays_in_its_box(closes: list[float]) -> None:
    line, _ = price_line(chart(*closes))
    numbers = [float(each) for each in re.findall(r"\d+\.\d", line)]
    assert all(0 <= x <= WIDTH for x in numbers[::2])
    assert all(0 <= y <= HEIGHT for y in numbers[1::2])
    assert len(sparkline(closes, 20)) == min(20, len(closes))


def test_return_bars_stand_on_the_middle_or_hang_from_it() -> None:
    assert return_bars(RECORD) == [
        (0.1, 2.0, 48.0, True),
        (1.1, 50.0, round(48 * 11 / 19, 2), False),
        (2.1, 50.0, 0.0, False),
    ]


def test_record_of_neutral_signals_alone_says_so() -> None:
    record = TrackRecord((past(1, "neutral", 0.1, None),))
    assert record_told(record, "24h") == "1 earlier signal over 24h, all neutral."
    assert "label_outcomes" in record_told(None, "24h")


@pytest.mark.parametrize(
    ("value", "written"),
    [(64_123.456, "64,123.46"), (999.4, "999.4"), (1.0, "1"), (0.00001234567, "0.000012346")],
)
def test_price_is_written_with_the_digits_that_matter(value: float, written: str) -> None:
    assert price(value) == written


def test_whole_data_is_told_as_whole() -> None:
    assert completeness_told(report(gaps=(), incomplete=0)) == "no gap was open"
    assert missing(signal()).startswith("4 of 5 factors; missing: sentiment")


def test_files_are_named_by_timeframe_and_moment_and_latest_is_the_newest(tmp_path: Path) -> None:
    newer = report()
    older = report(as_of=AS_OF - HOUR)
    written = write_report(newer, tmp_path / "a", ["md", "json"])
    assert [path.name for path in written] == [
        "report-1h-20260203T140000Z.md",
        "latest.md",
        "report-1h-20260203T140000Z.json",
        "latest.json",
    ]
    again = write_report(older, tmp_path / "a", ["md"])
    assert [path.name for path in again] == ["report-1h-20260203T130000Z.md"]
    assert (tmp_path / "a" / "latest.md").read_text() == to_markdown(newer)
    # Nothing is left of what was being written.
    assert len(list((tmp_path / "a").iterdir())) == 5


def test_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"cannot be written .*: --set out=FOLDER"):
        write_report(report(), tmp_path / "file" / "below", ["md"])
