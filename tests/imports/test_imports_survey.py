"""Several files together: bars told twice, silences, reused tickers, missing bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imports_samples import HOUR, START, parquet, reading, rows, table

from engine.domain.market import Listing
from engine.domain.timeframe import Timeframe
from engine.exchanges.listings import as_of, current
from engine.exchanges.registry import exchange
from engine.imports.census import DUPLICATES, Census, keys_within, take_census
from engine.imports.generations import Span, name_generations
from engine.imports.look import Look
from engine.imports.problem import Flaw
from engine.imports.runs import holes, overlap, runs_of, union, within
from engine.imports.survey import missing, settle, shared, spans
from engine.imports.verdict import verdict, worst

DAY = 24 * HOUR
WEEK = 7 * DAY

hours = st.sets(st.integers(0, 60), max_size=40)


def covered(runs: np.ndarray) -> set[int]:
    return {hour for low, high in runs.tolist() for hour in range(low, high)}


def runs(numbers: set[int]) -> np.ndarray:
    return runs_of(np.array(sorted(numbers), np.int64), 1)


@given(one=hours, other=hours)
def test_runs_behave_as_sets_of_bars(one: set[int], other: set[int]) -> None:
    assert covered(runs(one)) == one
    assert covered(union([runs(one), runs(other)])) == one | other
    assert covered(overlap(runs(one), runs(other))) == one & other
    both = runs(one)
    inside = set(range(min(one, default=0), max(one, default=0))) - one
    assert covered(holes(both)) == inside
    times = np.arange(-3, 65)
    assert set(times[within(times, both)].tolist()) == one


def looks(folder: Path, *files: object, **changes: object) -> list[Census]:
    how = reading(**changes)
    return [
        take_census(parquet(folder, found, f"{number}.parquet"), how)
        for number, found in enumerate(files)
    ]


def settled(folder: Path, *files: object) -> list[Census]:
    """Look at files and compare what they tell twice, as the job does."""
    found = looks(folder, *files)
    for (name, _), each in shared(found).items():
        keys = {n: keys_within(found[n], reading(), {name: r})[name] for n, r in each.runs.items()}
        settle(found, keys)
    return found


def test_files_that_tell_the_same_bars_keep_the_first(tmp_path: Path) -> None:
    first, second = settled(
        tmp_path, table(rows("BTCUSDT", range(10))), table(rows("BTCUSDT", range(6, 14)))
    )
    assert first.keep.all()
    assert second.keep.tolist() == [False] * 4 + [True] * 4
    assert second.left_out[DUPLICATES] == 4
    assert (first.bad, second.bad) == (0, 0)


def test_files_that_contradict_each_other_lose_the_bar_in_both(tmp_path: Path) -> None:
    first, second = settled(
        tmp_path,
        table(rows("BTCUSDT", range(10))),
        table(rows("BTCUSDT", [8], 500.0), rows("BTCUSDT", [9, 10, 11])),
    )
    assert first.flawed.tolist() == [8]
    assert second.flawed.tolist() == [0]
    assert {*first.flaws.tolist(), *second.flaws.tolist()} == {Flaw.CONTRADICTS}
    assert second.keep.tolist() == [False, False, True, True]


def test_files_side_by_side_are_not_compared(tmp_path: Path) -> None:
    found = looks(
        tmp_path,
        table(rows("BTCUSDT", range(10))),
        table(rows("BTCUSDT", range(10, 20))),
        table(rows("ETHUSDT", range(20))),
    )
    assert shared(found) == {}


def test_missing_bars_are_counted_over_all_files_and_not_over_a_seam(tmp_path: Path) -> None:
    found = looks(
        tmp_path,
        table(rows("BTCUSDT", [0, 1, 2, 5]), rows("ETHUSDT", range(8))),
        table(rows("BTCUSDT", [3, 9, 10]), rows("ETHUSDT", [8, 12])),
    )
    key = ("BTC-USDT", Timeframe.H1)
    assert missing(found, {}) == {key: 1 + 3, ("ETH-USDT", Timeframe.H1): 3}
    seam = {"BTC-USDT": [START + 9 * HOUR], "ETH-USDT": [START + 12 * HOUR]}
    assert missing(found, seam) == {key: 1}
    assert worst(missing(found, {})) == "7: BTC-USDT 4, ETH-USDT 3"
    assert worst({}) == "none"


STEADY = rows("BTCUSDT", range(30 * 24))
BROKEN = [*range(100), *range(500, 720)]


def test_spans_silence_while_others_trade_splits_a_symbol(tmp_path: Path) -> None:
    found = spans(looks(tmp_path, table(STEADY, rows("LUNAUSDT", BROKEN))), WEEK)
    assert found["BTC-USDT"] == [Span(START, START + 30 * DAY, has_ended=False)]
    assert found["LUNA-USDT"] == [
        Span(START, START + 100 * HOUR, has_ended=True),
        Span(START + 500 * HOUR, START + 30 * DAY, has_ended=False),
    ]


def test_spans_hole_in_all_symbols_splits_none(tmp_path: Path) -> None:
    values = table(rows("BTCUSDT", BROKEN), rows("ETHUSDT", BROKEN), rows("LUNAUSDT", BROKEN))
    found = spans(looks(tmp_path, values), WEEK)
    assert {name: len(each) for name, each in found.items()} == {
        "BTC-USDT": 1, "ETH-USDT": 1, "LUNA-USDT": 1,
    }  # fmt: skip


def test_spans_symbol_alone_is_split_by_its_silence(tmp_path: Path) -> None:
    found = spans(looks(tmp_path, table(rows("LUNAUSDT", BROKEN))), WEEK)
    assert [span.start for span in found["LUNA-USDT"]] == [START, START + 500 * HOUR]


def test_spans_bars_without_trades_are_silence(tmp_path: Path) -> None:
    padded = rows("LUNAUSDT", range(720))
    padded["volume"] = [0.0 if 100 <= hour < 500 else 1.0 for hour in range(720)]
    found = spans(looks(tmp_path, table(STEADY, padded)), WEEK)
    assert [span.start for span in found["LUNA-USDT"]] == [START, START + 500 * HOUR]


def test_spans_symbol_that_stops_in_its_file_has_ended_another_files_end_is_none(
    tmp_path: Path,
) -> None:
    together = looks(tmp_path, table(STEADY, rows("LUNAUSDT", range(100))))
    apart = looks(tmp_path, table(STEADY), table(rows("LUNAUSDT", range(100))))
    assert spans(together, WEEK)["LUNA-USDT"][-1].has_ended
    assert not spans(apart, WEEK)["LUNA-USDT"][-1].has_ended


# -- generations -------------------------------------------------------------------------------

LUNA = ("binance", "LUNA-USDT", "LUNAUSDT")
TWICE = [Span(100 * DAY, 500 * DAY, True), Span(518 * DAY, 900 * DAY, False)]


def listing(instrument: str, status: str, valid_from: int, **changes: int) -> Listing:
    dates = {"listed_at": None, "delisted_at": None} | changes
    return Listing(
        "binance", instrument, "LUNAUSDT", status, 0.01, 0.1, 1.0, valid_from=valid_from, **dates
    )


def day_of(moment: int | None) -> int | None:
    return None if moment is None else moment // DAY


def told(rows_: tuple[Listing, ...]) -> list[tuple[str, str, int, int | None]]:
    return [
        (
            row.instrument,
            row.status,
            row.valid_from // DAY,
            row.delisted_at and row.delisted_at // DAY,
        )
        for row in rows_
    ]


def test_generations_silence_gives_two_instruments_with_their_dates() -> None:
    found = name_generations(*LUNA, TWICE, [], WEEK)
    assert found.seams == ((518 * DAY, "LUNA~2-USDT"),)
    assert told(found.listings) == [
        ("LUNA-USDT", "trading", 100, None),
        ("LUNA-USDT", "delisted", 507, 500),
        ("LUNA~2-USDT", "trading", 518, None),
    ]


def test_generations_registry_made_of_them_answers_for_any_day() -> None:
    known = name_generations(*LUNA, TWICE, [], WEEK).listings
    assert as_of(known, 99 * DAY) == {}
    assert as_of(known, 510 * DAY)["LUNA-USDT"].status == "delisted"
    assert current(known)["LUNA-USDT"].instrument == "LUNA~2-USDT"


@pytest.mark.parametrize("cut", [1, 2])
def test_generations_imported_again_or_in_two_goes_are_the_same(cut: int) -> None:
    whole = name_generations(*LUNA, TWICE, [], WEEK)
    first = name_generations(*LUNA, TWICE[:cut], [], WEEK)
    second = name_generations(*LUNA, TWICE[2 - cut :], first.listings, WEEK)
    assert (*first.listings, *second.listings) == whole.listings
    assert second.seams == whole.seams


def test_generations_later_file_of_a_symbol_that_goes_on_adds_nothing() -> None:
    known = [listing("LUNA-USDT", "trading", 50 * DAY)]
    found = name_generations(*LUNA, [Span(100 * DAY, 200 * DAY, False)], known, WEEK)
    assert (found.seams, found.listings, found.doubt) == ((), (), "")


def test_generations_earlier_history_dates_the_listing_back() -> None:
    known = [listing("LUNA-USDT", "trading", 950 * DAY)]
    found = name_generations(*LUNA, [Span(100 * DAY, 200 * DAY, False)], known, WEEK)
    assert told(found.listings) == [("LUNA-USDT", "trading", 100, None)]
    assert current([*known, *found.listings])["LUNA-USDT"] == known[0]


def test_generations_end_that_the_venue_contradicts_is_not_written() -> None:
    known = [listing("LUNA-USDT", "trading", 950 * DAY)]
    found = name_generations(*LUNA, [Span(100 * DAY, 200 * DAY, True)], known, WEEK)
    assert told(found.listings) == [("LUNA-USDT", "trading", 100, None)]


def test_generations_silence_before_what_the_venue_calls_the_first_leaves_the_registry() -> None:
    known = [listing("LUNA-USDT", "trading", 950 * DAY)]
    found = name_generations(*LUNA, TWICE, known, WEEK)
    assert found.seams == ((518 * DAY, "LUNA~2-USDT"),)
    assert found.listings == ()
    assert found.doubt == (
        "the registry calls LUNAUSDT LUNA-USDT at 1972-08-08, the files LUNA~2-USDT before; the "
        "registry stays as it is"
    )


def test_generations_venues_own_relisting_splits_without_a_silence() -> None:
    known = [
        listing("LUNA-USDT", "trading", 50 * DAY),
        listing("LUNA-USDT", "delisted", 301 * DAY, delisted_at=300 * DAY),
        listing("LUNA~2-USDT", "trading", 303 * DAY),
    ]
    found = name_generations(*LUNA, [Span(100 * DAY, 500 * DAY, False)], known, WEEK)
    assert found.seams == ((300 * DAY, "LUNA~2-USDT"),)


def test_generations_symbol_taken_for_delisted_that_trades_on_is_revoked() -> None:
    first = name_generations(*LUNA, [Span(100 * DAY, 200 * DAY, True)], [], WEEK)
    found = name_generations(*LUNA, [Span(200 * DAY, 300 * DAY, False)], first.listings, WEEK)
    assert found.seams == ()
    assert current([*first.listings, *found.listings])["LUNA-USDT"].status == "trading"


def test_generations_file_that_begins_in_the_second_one_names_it_so() -> None:
    known = name_generations(*LUNA, TWICE[:1], [], WEEK).listings
    found = name_generations(*LUNA, TWICE[1:], known, WEEK)
    assert found.seams == ((518 * DAY, "LUNA~2-USDT"),)


# -- in words ----------------------------------------------------------------------------------


def test_look_tells_what_the_files_hold(tmp_path: Path) -> None:
    found = looks(tmp_path, table(STEADY, rows("LUNAUSDT", [*BROKEN, 3])))
    look = Look(found, {})
    look.name("binance", exchange("binance"), [], WEEK)
    assert look.instruments == {"BTC-USDT", "LUNA-USDT", "LUNA~2-USDT"}
    assert look.left_out() == {DUPLICATES: 1}
    assert look.notes() == {
        "files": 1,
        "timeframes": [Timeframe.H1],
        "instruments": 3,
        "from": "2022-01-01T00:00:00.000000Z",
        "to": "2022-01-31T00:00:00.000000Z",
        "missing bars": "none",
        "rows out of order": 1,
        "tickers used again": ["LUNA~2-USDT from 2022-01-21"],
        "ended": ["LUNA-USDT"],
    }


def test_verdict_names_files_rows_and_columns_and_the_remedy(tmp_path: Path) -> None:
    bad = rows("BTCUSDT", range(10))
    bad["close"] = [-1.0, float("nan"), -1.0, *bad["close"][3:]]
    found = looks(tmp_path, table(bad), table(rows("ETHUSDT", range(10))))
    assert verdict(found, {"x.csv": "x.csv holds no rows"}) == (
        "nothing was written: x.csv holds no rows. 0.parquet: row 1: column 'close' (-1.0) is not "
        "a finite number above 0; row 2: column 'close' (nan) is not a finite number above 0; and "
        "1 more. Mend the files, or import what is sound with --skip-bad"
    )
    assert verdict(found[1:], {}) == ""
