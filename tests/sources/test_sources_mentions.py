import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sources.mentions import MentionFinder, read_assets

UNIVERSE = [
    "BTC-USDT", "BTC-USD", "ETH-USDT", "LINK-USDT", "NEAR-USDT", "ONE-USDT", "SOL-USD",
    "1000PEPE-USDT-PERP", "BCH-USDT", "AVAX-USDT", "OP-USDT", "NEWCOIN-USDT",
]  # fmt: skip
FINDER = MentionFinder(UNIVERSE)
BTC = ("BTC-USDT", "BTC-USD")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Bitcoin's price", BTC),
        ("#bitcoin", BTC),
        ("btc", BTC),
        ("ＢＴＣ", BTC),
        ("$btc.", BTC),
        ("Bitcoin Cash forks", ("BCH-USDT",)),
        ("No ONE is near the LINK", ()),
        ("Near the end, optimism fades", ()),
        ("LINK/USDT", ("LINK-USDT",)),
        ("LINKUSDT", ("LINK-USDT",)),
        ("LINK at $18", ("LINK-USDT",)),
        ("$link", ("LINK-USDT",)),
        ("ETH/BTC", ("ETH-USDT",)),
        ("Avalanche kills skiers in the Alps", ()),
        ("Avalanche token rallies", ("AVAX-USDT",)),
        ("NEAR and ETH", ("NEAR-USDT", "ETH-USDT")),
        ("PEPE", ("1000PEPE-USDT-PERP",)),
        ("https://bitcoin.org by @solana", ()),
        ("Ethernet, solana", ("SOL-USD",)),
        ("$NEWCOIN", ("NEWCOIN-USDT",)),
        ("NEWCOIN is a word", ()),
        ("$70k", ()),
        ("", ()),
    ],
)
def test_find_text_gives_its_instruments(text, found):
    assert FINDER.find(text) == found


def test_find_of_a_finder_that_knows_more_finds_that_by_the_rules_of_the_others():
    finder = FINDER.knowing("ZKJ")
    for text in ("$zkj", "ZKJ/USDT", "ZKJ pumps like ETH", "ZKJ at $2"):
        assert "ZKJ" in finder.find_bases(text)
        assert "ZKJ" not in FINDER.find_bases(text)
    assert finder.find_bases("the ZKJ of old, and zkj") == ()
    assert finder.find("$ZKJ and $LINK") == ("LINK-USDT",)
    assert FINDER.knowing("LINK") is FINDER


@given(st.text())
def test_find_any_text_gives_each_instrument_once_from_the_universe(text):
    found = FINDER.find(text)
    assert len(set(found)) == len(found)
    assert set(found) <= set(UNIVERSE)


@pytest.mark.parametrize("asset", read_assets(), ids=lambda asset: asset.base)
def test_find_cashtag_and_pair_of_every_asset_finds_it(asset):
    finder = MentionFinder([f"{asset.base}-EUR"])
    assert finder.find(f"look at ${asset.base.lower()} now") == (f"{asset.base}-EUR",)
    assert finder.find_bases(f"look at {asset.base}/USD now") == (asset.base,)


@pytest.mark.parametrize("asset", read_assets(), ids=lambda asset: asset.base)
def test_find_name_of_every_asset_among_crypto_words_finds_it(asset):
    for name in (*asset.names, *asset.aliases):
        assert FINDER.find_bases(f"the token {name[0].upper()}{name[1:]}") == (asset.base,)
