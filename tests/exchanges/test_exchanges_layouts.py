"""What compiled code reads is what the readers behind it read, and nothing else is read by it."""

from __future__ import annotations

import gc
import pickle
import re
import shutil
import sys
import sysconfig
import tracemalloc
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
from exchanges_fakes import top_frame, trade_frame
from hypothesis import given
from hypothesis import strategies as st
from test_exchanges_binance import DEPTH
from test_exchanges_binance_perp import AGGREGATE
from test_exchanges_binance_perp import DEPTH as PERP_DEPTH
from test_exchanges_binance_perp import TICKER as PERP_TICKER
from test_exchanges_binance_perp import TRADE as PERP_TRADE
from test_exchanges_mutated import PIECES
from test_exchanges_okx import BOOK as OKX_BOOK
from test_exchanges_okx import TRADE as OKX_TRADE

from engine.domain.market import BookTop, BookUpdate, MarketEvent, Trade
from engine.errors import FrameError, VenueError
from engine.exchanges import binance_frames, binance_perp_frames
from engine.exchanges.layouts import Reader, is_compiled, usual_layout
from engine.exchanges.okx import Okx
from engine.exchanges.okx_wire import usual_book, usual_trade
from engine.exchanges.registry import EXCHANGES
from engine.exchanges.wire import REFUSED

compiled = pytest.mark.skipif(not is_compiled(), reason="installed without a compiler")

OKX = Okx()
OKX_CHANGE = OKX_BOOK.replace('"action":"snapshot"', '"action":"update"')
OKX_SUM = OKX_CHANGE.replace('"checksum":0', '"checksum":-5')
OKX_MERGED = OKX_TRADE.replace('"trades-all"', '"trades"').replace(
    '"source":"0","ts":"1630048897897"', '"ts":"1630048897897","count":"3"'
)
SAMPLES: dict[str, tuple[Reader, str]] = {
    "binance trade": (binance_frames.read_trade, trade_frame(1)),
    "binance top": (binance_frames.read_book_top, top_frame()),
    "binance book": (binance_frames.read_book, DEPTH),
    "binance_perp aggregate": (binance_perp_frames.read_aggregate_trade, AGGREGATE),
    "binance_perp trade": (binance_perp_frames.read_trade, PERP_TRADE),
    "binance_perp top": (binance_perp_frames.read_book_top, PERP_TICKER),
    "binance_perp book": (binance_perp_frames.read_book, PERP_DEPTH),
    "okx trade": (usual_trade(OKX._trades), OKX_TRADE),
    "okx merged trade": (usual_trade(OKX._trades), OKX_MERGED),
    "okx book": (usual_book(OKX._books), OKX_CHANGE),
    "okx book with a checksum": (usual_book(OKX._books), OKX_SUM),
}
PRICE = usual_layout(
    BookTop,
    '{"p":"<bid_price:price>","a":"<bid_amount:remaining>","t":<exchange_time:time>}',
    exchange="venue",
    ask_price=1.0,
    ask_amount=1.0,
    sequence=7,
)


def behind(reader: Reader) -> Reader:
    """Return what reads the frames that compiled code does not."""
    plain: Reader = reader.otherwise  # type: ignore[attr-defined]
    return plain


def outcome(reader: Reader, frame: bytes) -> object:
    """Return the events as text, or the error's type and words."""
    try:
        return repr(list(reader(frame, "BTC-USDT", 11)))  # 1 is not 1.0
    except (FrameError, VenueError, *REFUSED) as error:
        return type(error), str(error)


def handed_on(frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
    raise AssertionError(f"not read by compiled code: {frame!r}")


def nothing(frame: bytes, instrument: str, receive_time: int) -> Sequence[MarketEvent]:
    return ()


def test_package_is_compiled_wherever_a_compiler_is_found() -> None:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    if sys.platform == "linux" and shutil.which(compiler) and header.exists():
        assert is_compiled(), "engine/exchanges/frame_scanner.c was not built: see make setup"


@compiled
@pytest.mark.parametrize("name", SAMPLES)
def test_usual_frame_is_read_by_compiled_code_to_the_same_event(name: str) -> None:
    reader, frame = SAMPLES[name]
    events = reader(frame.encode(), "BTC-USDT", 11)
    assert events
    assert repr(list(events)) == outcome(behind(reader), frame.encode())


@compiled
@pytest.mark.parametrize("name", SAMPLES)
def test_usual_frame_is_not_handed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, frame = SAMPLES[name]
    if name.startswith("okx"):
        layout = usual_trade if "trade" in name else usual_book
        reader = layout(handed_on)
    else:
        module = binance_perp_frames if "perp" in name else binance_frames
        for decoder in ("_TRADE", "_AGGREGATE_TRADE", "_BOOK_TICKER", "_DEPTH"):
            monkeypatch.setattr(module, decoder, None, raising=False)
    assert reader(frame.encode(), "BTC-USDT", 11)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(sorted(SAMPLES)))
    frame = SAMPLES[name][1].encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(frame)))
        end = min(len(frame), start + draw(st.integers(0, 12)))
        frame = frame[:start] + draw(PIECES | st.binary(max_size=4)) + frame[end:]
    return name, frame


@compiled
@given(mutated())
def test_damaged_frame_has_the_outcome_of_the_reader_behind(damaged: tuple[str, bytes]) -> None:
    name, frame = damaged
    reader = SAMPLES[name][0]
    assert outcome(reader, frame) == outcome(behind(reader), frame)


@compiled
@pytest.mark.parametrize("name", SAMPLES)
def test_frame_cut_anywhere_is_handed_on_as_it_came(name: str) -> None:
    reader, frame = SAMPLES[name][0], SAMPLES[name][1].encode()
    for length in range(len(frame)):
        assert outcome(reader, frame[:length]) == outcome(behind(reader), frame[:length])
        # The same bytes with another one changed at the cut.
        damaged = frame[:length] + b"\x00" + frame[length + 1 :]
        assert outcome(reader, damaged) == outcome(behind(reader), damaged)


@compiled
@given(
    st.integers(0, 10**21).map(str) | st.from_regex(r"[0-9]{1,22}", fullmatch=True),
    st.from_regex(r"(\.[0-9]{0,24})?", fullmatch=True),
)
def test_number_is_the_nearest_float_or_is_handed_on(whole: str, fraction: str) -> None:
    text = whole + fraction
    frame = f'{{"p":"{text}","a":"{text}","t":1723161255342}}'.encode()
    events = PRICE(nothing)(frame, "BTC-USDT", 11)
    is_json = (whole == "0" or not whole.startswith("0")) and fraction != "."
    short = len(whole) + len(fraction.removeprefix(".")) <= 15
    if short and is_json and float(text) > 0:
        assert events, text  # as any venue writes prices
    for event in events:
        assert isinstance(event, BookTop)
        assert is_json
        assert event.bid_price == event.bid_amount == float(text)


@compiled
@pytest.mark.parametrize(
    ("price", "amount", "time"),
    [
        ("0", "1", "1"),
        ("0.000", "1", "1"),
        ("-1", "1", "1"),
        ("+1", "1", "1"),
        ("1e5", "1", "1"),
        ("1.", "1", "1"),
        (".5", "1", "1"),
        ("01", "1", "1"),
        ("NaN", "1", "1"),
        ("", "1", "1"),
        ("1000000000000000000", "1", "1"),
        ("1", "-1", "1"),
        ("1", "1", "0"),
        ("1", "1", "4102444800000"),
        ("1", "1", "01"),
        ("1", "1", "9999999999999999999999"),
        ("1", "1", "1.0"),
        ("1", "1", "-1"),
    ],
)
def test_number_that_no_market_has_is_handed_on(price: str, amount: str, time: str) -> None:
    usual = b'{"p":"1","a":"0","t":4102444799999}'
    assert PRICE(handed_on)(usual, "BTC-USDT", 11) == (
        BookTop("venue", "BTC-USDT", 1.0, 0.0, 1.0, 1.0, 7, 4102444799999 * 10**6, 11),
    )
    frame = f'{{"p":"{price}","a":"{amount}","t":{time}}}'.encode()
    assert PRICE(nothing)(frame, "BTC-USDT", 11) == ()


@compiled
def test_each_of_several_layouts_is_read_whichever_came_before() -> None:
    reader = usual_book(handed_on)
    numbers, turned = '"prevSeqId":123456,"seqId":123457', '"seqId":123457,"prevSeqId":123456'
    frames = [
        *(OKX_CHANGE, OKX_CHANGE.replace(numbers, turned)),
        *(OKX_SUM, OKX_SUM.replace("," + numbers, "")),
    ]
    assert len(set(frames)) == 4
    for frame in [*frames, *reversed(frames), *frames[::2]]:
        assert outcome(reader, frame.encode()) == outcome(OKX._books, frame.encode())


NUMBERS = st.integers(0, 2**64).map(str) | st.decimals(
    0, 10**20, allow_nan=False, allow_infinity=False, places=8
).map(lambda number: f"{number:f}")
WHOLE = st.integers(-2, 2**64).map(str) | st.sampled_from(["0", "00", "1e3", "1.0", "null", '"7"'])


@compiled
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_any_number_in_any_place_has_the_outcome_of_the_reader_behind(
    name: str, data: st.DataObject
) -> None:
    reader, sample = SAMPLES[name]
    frame = re.sub(
        r'(?<=")\d[\d.]*(?=")|(?<=:)-?\d+',
        lambda found: (
            found.group()
            if data.draw(st.integers(0, 2))
            else data.draw(NUMBERS if found.string[found.start() - 1] == '"' else WHOLE)
        ),
        sample,
    ).encode()
    assert outcome(reader, frame) == outcome(behind(reader), frame)


@compiled
def test_anything_but_bytes_is_handed_on() -> None:
    frame = bytearray(OKX_TRADE.encode())
    assert usual_trade(nothing)(frame, "BTC-USDT", 11) == ()  # type: ignore[arg-type]


@compiled
def test_nothing_is_kept_of_what_was_read() -> None:
    reader, frame = usual_book(nothing), OKX_SUM.encode()
    late = frame[:-3] + b"?}]}"

    def read_many() -> None:
        for _ in range(2_000):
            reader(frame, "BTC-USDT", 11)
            reader(late, "BTC-USDT", 11)

    read_many()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        read_many()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4_000, "bytes kept of 4,000 frames"


@pytest.mark.parametrize("name", sorted(EXCHANGES))
def test_adapter_that_has_read_frames_is_sent_to_another_process(name: str) -> None:
    adapter = EXCHANGES[name](guess_symbols=True)
    frames = [frame for kind, (_, frame) in SAMPLES.items() if kind.split()[0] == name]
    read = [repr(list(adapter.parse(frame.encode(), 11))) for frame in frames]
    sent = pickle.loads(pickle.dumps(adapter))
    assert [repr(list(sent.parse(frame.encode(), 11))) for frame in frames] == read


def test_okx_amount_of_whatever_has_a_size_is_turned_into_coins() -> None:
    adapter = Okx()
    adapter.track(["BTC-USDT"])
    adapter.contract_sizes["BTC-USDT"] = 0.01
    for _ in range(2):  # the second time by its route
        (trade,) = adapter.parse(OKX_TRADE.encode(), 11)
        assert isinstance(trade, Trade)
        assert trade.amount == float(OKX_TRADE.partition('"sz":"')[2].partition('"')[0]) * 0.01


@compiled
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ((99, -1, -1, False, None), ValueError),
        ((5, 99, -1, False, None), ValueError),
        ((0, -1, -1, False, "text"), ValueError),
        ((1, -1, -1, False, (("text", 1),)), ValueError),
        ((10, -1, -1, False, None), ValueError),
        ((5, -1), TypeError),
        (None, ValueError),
    ],
)
def test_steps_that_do_not_exist_are_refused(step: object, kind: type[Exception]) -> None:
    from engine.exchanges.frame_scanner import Layout

    with pytest.raises(kind):
        Layout(nothing, Trade, 1, 8, (None,) * 9, ((9, (step,)),))  # type: ignore[arg-type]


@compiled
def test_adapter_is_collected_with_its_layouts() -> None:
    adapter = weakref.ref(Okx())
    gc.collect()
    assert adapter() is None


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("<price:number>", "'number' is no kind of hole"),
        ("<price:price+>", "'price\\+' is no kind of hole"),
        ("<sequence:digits>", "'digits' is never kept"),
        ("<:levels>", "'levels' is always kept"),
        ("<price=amount:price>", "'price' has no digits of its own"),
        ("<side=trade_id:buy|sell>", "'buy\\|sell' has no digits of its own"),
        ("<side:choice>", "'choice' is no kind of hole"),
        ("<cost:price>", "no such field of Trade, or twice: \\['cost'\\]"),
        ("<price:price><price:price>", "no such field of Trade, or twice: \\['price'\\]"),
        ("<price:price><amount:amount><side:buy|sell>", "Trade needs sequence, trade_id"),
    ],
)
def test_layout_that_makes_no_event_is_refused(template: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        usual_layout(Trade, template, exchange="venue", exchange_time=0)


def test_optional_fields_of_an_event_may_be_left_out() -> None:
    usual_layout(
        BookUpdate,
        "<bids:levels><asks:levels>",
        exchange="venue",
        is_snapshot=False,
        first_sequence=None,
        last_sequence=None,
        previous_sequence=None,
        exchange_time=None,
    )
