"""Faults of the simulated venues: each by itself, counted, and the same for the same seed."""

from collections import Counter

import pytest

from engine.clock import DataClock
from engine.config import FaultsConfig
from engine.simulator.faults import GARBAGE, LATE_NS, FaultInjector
from engine.simulator.refusals import PATIENCE, RestFaults, Verdict

SECOND = 1_000_000_000
START = 1_770_000_000 * SECOND


def injector(venue="binance", number=1, seed=7, **faults):
    counts = Counter()
    return FaultInjector(FaultsConfig(**faults), seed, venue, number, START, counts), counts


def deliver(faults, count=2000, step_ns=SECOND // 100, **kind):
    """Send numbered frames and return what arrives, with the moments."""
    arrived = []
    for n in range(count):
        now = START + n * step_ns
        arrived += [(now, frame) for frame in faults.due(now)]
        arrived += [(now, frame) for frame in faults.deliver(f"frame {n:05}", now, **kind)]
    end = START + count * step_ns + LATE_NS
    return arrived + [(end, frame) for frame in faults.due(end)]


def frames_of(arrived):
    return [frame for _, frame in arrived]


SENT = [f"frame {n:05}" for n in range(2000)]


# -- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{"is_trade": True}, {"is_book": True}, {}])
def test_faults_off_deliver_every_frame_as_it_is(kind):
    faults, counts = injector()
    assert frames_of(deliver(faults, **kind)) == SENT
    assert not counts
    assert faults.ending(START + 10**18) is None
    assert not faults.stalled(START + 10**18)


@pytest.mark.parametrize("kind", [{"is_trade": True}, {"is_book": True}])
def test_lost_frames_never_arrive_and_are_counted(kind):
    faults, counts = injector(lost_share=0.1)
    arrived = frames_of(deliver(faults, **kind))
    assert counts == {("binance", "lost"): 2000 - len(arrived)}
    assert 120 < counts["binance", "lost"] < 280
    assert arrived == [frame for frame in SENT if frame in set(arrived)]


def test_duplicates_follow_their_original_and_are_counted():
    faults, counts = injector(duplicate_share=0.1)
    arrived = frames_of(deliver(faults, is_trade=True))
    times = Counter(arrived)
    assert sorted(times) == SENT
    assert set(times.values()) == {1, 2}
    assert counts == {("binance", "duplicate"): sum(n == 2 for n in times.values())}
    assert all(arrived[arrived.index(frame) + 1] == frame for frame, n in times.items() if n == 2)


def test_late_frames_arrive_once_within_two_seconds():
    faults, counts = injector(late_share=0.1)
    arrived = deliver(faults, is_trade=True)
    late = [
        now - START - int(frame.split()[1]) * SECOND // 100
        for now, frame in arrived
        if now != START + int(frame.split()[1]) * SECOND // 100
    ]
    assert sorted(frames_of(arrived)) == SENT
    assert frames_of(arrived) != SENT
    assert counts == {("binance", "late"): len(late)}
    assert all(SECOND // 5 <= delay <= LATE_NS + SECOND // 100 for delay in late[:-20])


@pytest.mark.parametrize("kind", [{"is_trade": True}, {"is_book": True}])
def test_swapped_frames_change_places_with_the_next(kind):
    faults, counts = injector(swapped_share=0.1)
    arrived = frames_of(deliver(faults, **kind))
    assert sorted(arrived) == SENT
    places = {frame: place - int(frame.split()[1]) for place, frame in enumerate(arrived)}
    moved = Counter(places.values())
    assert set(moved) == {-1, 0, 1}
    assert counts == {("binance", "swapped"): moved[1]}
    assert moved[1] == moved[-1] > 100


def test_swapped_frame_without_a_next_one_goes_out_by_itself():
    faults, counts = injector(swapped_share=1.0)
    assert faults.deliver("alone", START, is_trade=True) == []
    assert faults.due(START + SECOND - 1) == []
    assert faults.due(START + SECOND) == ["alone"]
    assert not counts


def test_garbage_and_truncated_frames_come_before_the_whole_one():
    faults, counts = injector(garbage_per_minute=120, truncated_per_minute=120)
    arrived = frames_of(deliver(faults))
    assert [frame for frame in arrived if frame in SENT] == SENT
    rest = Counter(frame for frame in arrived if frame not in SENT)
    garbage = sum(n for frame, n in rest.items() if frame in GARBAGE)
    assert counts["binance", "garbage"] == garbage > 20
    assert counts["binance", "truncated"] == rest.total() - garbage > 20
    cut = [frame for frame in rest if frame not in GARBAGE]
    assert all("frame 01999".startswith(frame[:6]) for frame in cut)


def test_control_frames_are_neither_lost_nor_moved():
    faults, counts = injector(lost_share=1.0, late_share=1.0, swapped_share=1.0)
    assert frames_of(deliver(faults)) == SENT
    assert not counts


# -- connections -------------------------------------------------------------------------------


def test_cut_comes_at_the_age_asked_for():
    faults, _ = injector(cut_after_s=86_400)
    assert faults.ending(START + 86_400 * SECOND - 1) is None
    assert faults.ending(START + 86_400 * SECOND) == ("cut", False)
    abrupt, _ = injector(cut_after_s=86_400, cut_abruptly=True)
    assert abrupt.ending(START + 86_400 * SECOND) == ("cut", True)


def test_disconnects_have_the_mean_asked_for():
    lengths = []
    for number in range(1, 401):
        faults, _ = injector(number=number, disconnect_every_s=50)
        seconds = range(0, 1000)
        lengths.append(next(s for s in seconds if faults.ending(START + s * SECOND)))
    assert 42 < sum(lengths) / len(lengths) < 58


def test_stalls_last_about_as_long_as_asked_for():
    faults, counts = injector(stall_every_s=60, stall_s=30)
    tenths = [faults.stalled(START + n * SECOND // 10) for n in range(40_000)]
    starts = [n for n in range(1, 40_000) if tenths[n] and not tenths[n - 1]]
    lengths = [tenths[start:].index(False) / 10 for start in starts[:-1]]
    assert counts == {("binance", "stall"): len(starts)}
    assert len(starts) > 20
    assert 20 <= min(lengths) < max(lengths) <= 40.1


def test_stall_asked_for_begins_at_once_and_ends():
    faults, counts = injector()
    faults.stall(START, 2.5)
    assert [faults.stalled(START + half * SECOND // 2) for half in range(7)] == [
        True, True, True, True, True, False, False,
    ]  # fmt: skip
    assert counts == {("binance", "stall"): 1}


def test_deafness_has_the_mean_asked_for_and_spares_no_subscription():
    faults, counts = injector(deaf_every_s=20)
    moments = range(START, START + 8_000 * SECOND, SECOND)
    places = [place for now in moments if (place := faults.deafened(now, 3)) is not None]
    assert counts == {("binance", "deaf"): len(places)}
    assert 340 < len(places) < 460
    assert set(places) == {0, 1, 2}
    assert faults.deafened(START + 10**15, 0) is None, "nobody listens"


def test_calm_ends_every_fault_and_lets_held_frames_out():
    faults, _ = injector(
        lost_share=0.5, late_share=0.5, swapped_share=0.5, garbage_per_minute=1e6,
        disconnect_every_s=1, stall_every_s=1, cut_after_s=1,
    )  # fmt: skip
    held = sum(len(faults.deliver(f"{n}", START, is_trade=True)) for n in range(100))
    faults.calm()
    far = START + 10**15
    assert len(faults.due(START)) > 5
    assert held < 100
    assert faults.ending(far) is None
    assert not faults.stalled(far)
    assert [faults.deliver("x", far, is_trade=True) for _ in range(50)] == [["x"]] * 50


ALL = {
    "garbage_per_minute": 60, "truncated_per_minute": 60, "duplicate_share": 0.1,
    "late_share": 0.1, "swapped_share": 0.1, "lost_share": 0.1, "disconnect_every_s": 30,
    "stall_every_s": 30,
}  # fmt: skip


def _fate(**which):
    faults, _ = injector(**ALL, **which)
    arrived = deliver(faults, is_trade=True)
    moments = range(START, START + 100 * SECOND, SECOND // 4)
    states = [(faults.ending(now), faults.stalled(now)) for now in moments]
    return arrived, states


def test_faults_same_seed_venue_and_number_are_the_same():
    assert _fate(venue="okx", number=3, seed=5) == _fate(venue="okx", number=3, seed=5)


@pytest.mark.parametrize("other", [{"venue": "kraken"}, {"number": 4}, {"seed": 6}])
def test_faults_other_seed_venue_or_number_are_others(other):
    which = {"venue": "okx", "number": 3, "seed": 5}
    arrived, states = _fate(**which)
    other_arrived, other_states = _fate(**(which | other))
    assert arrived != other_arrived
    assert states != other_states


def test_faults_of_one_kind_do_not_move_another_kinds():
    alone, _ = injector(lost_share=0.1)
    beside, _ = injector(lost_share=0.1, duplicate_share=0.4, garbage_per_minute=300)
    kept = [frame for frame in frames_of(deliver(beside, is_trade=True)) if frame in SENT]
    assert list(dict.fromkeys(kept)) == frames_of(deliver(alone, is_trade=True))


# -- REST --------------------------------------------------------------------------------------


def rest(venue="binance", seed=7, **faults):
    counts = Counter()
    return RestFaults(venue, FaultsConfig(**faults), seed, DataClock(START), counts), counts


def test_rest_off_lets_every_request_through():
    faults, counts = rest()
    assert {faults.judge(START + n) for n in range(100)} == {Verdict()}
    assert not counts


def test_rest_busy_refuses_until_retry_after_has_passed():
    faults, counts = rest("coinbase", rest_busy_share=1.0, rest_retry_after_s=3)
    assert faults.judge(START) == Verdict(429, 3)
    assert [faults.judge(START + SECOND + n) for n in range(10)] == [Verdict(429, 2)] * 10
    assert counts == {("coinbase", "rest_busy"): 11}


def test_rest_busy_share_is_the_share_of_requests_that_wait():
    faults, counts = rest(rest_busy_share=0.2)
    verdicts = [faults.judge(START + n * 2 * SECOND).status for n in range(2000)]
    assert Counter(verdicts) == {200: 2000 - counts["binance", "rest_busy"],
                                 429: counts["binance", "rest_busy"]}  # fmt: skip
    assert 320 < counts["binance", "rest_busy"] < 480


def test_rest_ban_meets_who_does_not_heed_retry_after():
    faults, counts = rest(rest_busy_share=1.0, rest_retry_after_s=5, rest_ban_s=10)
    statuses = [faults.judge(START + n).status for n in range(PATIENCE + 3)]
    assert statuses == [429] * (PATIENCE + 1) + [418] * 2
    assert faults.judge(START + 9 * SECOND) == Verdict(418, 2)
    assert counts == {("binance", "rest_busy"): PATIENCE + 1, ("binance", "rest_banned"): 3}
    faults.calm()
    assert faults.judge(START + 9 * SECOND) == Verdict()


def test_rest_errors_are_server_errors():
    faults, counts = rest(rest_error_share=1.0)
    verdicts = [faults.judge(START + n) for n in range(200)]
    assert {verdict.status for verdict in verdicts} == {500, 502, 503, 504}
    assert counts == {("binance", "rest_error"): 200}


def test_rest_slow_delays_by_up_to_so_much():
    faults, counts = rest(rest_slow_ms=250)
    delays = [faults.judge(START + n).delay_s for n in range(200)]
    assert 0 <= min(delays) < 0.05 < 0.2 < max(delays) <= 0.25
    assert counts == {("binance", "rest_slow"): 200}


def test_rest_same_seed_fares_alike():
    settings = {"rest_busy_share": 0.2, "rest_error_share": 0.2, "rest_slow_ms": 10}
    one, other = rest(**settings)[0], rest(**settings)[0]
    moments = range(START, START + 400 * SECOND, 2 * SECOND)
    fates = [one.judge(now) for now in moments]
    assert fates == [other.judge(now) for now in moments]
    assert fates != [rest(seed=8, **settings)[0].judge(now) for now in moments]
