"""Which instruments a text speaks of.

What counts, strongest first:

- a cashtag (``$LINK``) and a pair (``LINK/USDT``, ``LINK-USD``, ``LINKUSDT``): always;
- a name (``Bitcoin``) in any case, and a ticker (``BTC``) in capitals;
- a ticker or a name that is also a common word (``ONE``, ``Near``): only written with a
  capital, and only in context: within twelve words of something that says "crypto" (a crypto
  word, another asset's clear mention), or with a price right behind it.

Longer names win (``Bitcoin Cash`` is not Bitcoin), links and @handles are passed over, and a
pair's quote currency is not what it speaks of.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import msgspec

from engine.domain.instrument import Instrument
from engine.domain.text import Mention

NEARBY = 12
"""Words on either side in which an ambiguous one looks for its context."""

Clarity = Literal["clear", "ambiguous"]

_TOKEN = re.compile(
    r"https?://\S+|www\.\S+|(?P<handle>(?<!\w)@\w+)"
    r"|(?P<pair>(?<![\w$#/])(?P<base>[A-Z0-9]{1,12})[/_-]?"
    r"(?P<quote>USDT|USDC|FDUSD|BUSD|USD|EUR|GBP)(?:-?PERP)?(?![\w/]))"
    r"|(?P<cross>(?<![\w$#/])(?P<left>[A-Z0-9]{2,12})/(?:BTC|ETH|BNB|SOL)(?![\w/]))"
    r"|(?P<price>[$€£]\d[\d,.]*(?:[kKmMbB]|bn)?(?!\w))"
    r"|(?P<tag>[$#](?=[^\W_]))?(?P<word>[^\W_]+)"
)
_CRYPTO_WORDS_TEXT = (
    "crypto cryptos cryptocurrency cryptocurrencies coin coins token tokens tokenomics altcoin "
    "altcoins alts alt blockchain defi nft nfts web3 staking stake staked validator validators "
    "mainnet testnet airdrop airdrops hodl wallet wallets onchain chain dex cex exchange "
    "binance coinbase kraken bybit okx usdt usdc stablecoin stablecoins protocol dapp dapps "
    "tvl layer l1 l2 rollup memecoin memecoins bullish bearish pump dump ath whale whales "
    "rekt satoshi sats trading traders trader long short longs shorts breakout resistance "
    "support chart rally rallies rallied holders bags etf futures perp perps liquidated "
    "liquidations market marketcap bull bear buy sell buying selling price"
)
_CRYPTO_WORDS = frozenset(_CRYPTO_WORDS_TEXT.split())
_MULTIPLIED = re.compile(r"^(?:1000|10000|1000000|1M)(?=[A-Z])")
_VENUE_NAMES = {"XBT": "BTC"}


class Asset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One asset's ticker and names, as in ``assets.json``."""

    base: str
    """Ticker, in capitals."""
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    ambiguous_ticker: bool = False
    """The ticker in capitals is a common word or abbreviation too."""
    ambiguous_names: tuple[str, ...] = ()
    """Those of `names` that are common words too."""
    lower_case_ticker: bool = False
    """The ticker counts in lower case too (``btc``)."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A name or ticker at a place in the text."""

    base: str
    clarity: Clarity
    place: int
    """Index of its first token."""
    tokens: int = 1
    """How many tokens it takes."""


def read_assets() -> tuple[Asset, ...]:
    """Return the assets that the package knows by name."""
    text = files("engine.sources").joinpath("assets.json").read_text(encoding="utf-8")
    return tuple(msgspec.convert(json.loads(text), type=list[Asset]))


class MentionFinder:
    """Finds the instruments of a universe in texts.

    Parameters
    ----------
    universe
        Canonical instruments. A text that speaks of a base currency speaks of all the
        universe's instruments with that base, in the universe's order. A base that
        ``assets.json`` does not know is found as a cashtag, in pairs, and as an ambiguous
        ticker.

    Examples
    --------
    >>> finder = MentionFinder(["BTC-USDT", "NEAR-USDT"])
    >>> finder.find("Is bitcoin near its bottom?")
    ('BTC-USDT',)
    >>> finder.find("$near looks ready")
    ('NEAR-USDT',)
    """

    def __init__(self, universe: Iterable[str]) -> None:
        self._instruments: dict[str, list[str]] = {}
        for name in dict.fromkeys(universe):
            self._instruments.setdefault(self.base_of(name), []).append(name)
        known = {asset.base: asset for asset in read_assets()}
        extra = [_unheard_of(base) for base in self._instruments if base not in known]
        self._assets = {asset.base: asset for asset in (*known.values(), *extra)}
        self._names: dict[str, list[tuple[tuple[str, ...], str, Clarity]]] = {}
        for asset in self._assets.values():
            self._enter_names(asset)
        for entries in self._names.values():
            entries.sort(key=lambda entry: -len(entry[0]))

    def find(self, text: str) -> tuple[str, ...]:
        """Return the instruments `text` speaks of, in order of first mention, each once."""
        return tuple(
            instrument
            for base in self.find_bases(text)
            for instrument in self._instruments.get(base, ())
        )

    def find_bases(self, text: str) -> tuple[str, ...]:
        """Return the base currencies `text` speaks of, inside the universe or not."""
        return tuple(dict.fromkeys(mention.name for mention in self.mentions(text)))

    @staticmethod
    def base_of(instrument: str) -> str:
        """Return the base currency that texts call an instrument by.

        Raises
        ------
        InstrumentError
            Where it is no canonical name.

        Examples
        --------
        >>> MentionFinder.base_of("1000PEPE-USDT-PERP")
        'PEPE'
        """
        base = Instrument.parse(instrument).base
        return _VENUE_NAMES.get(base, _MULTIPLIED.sub("", base))

    def instruments_of(self, base: str) -> tuple[str, ...]:
        """Return the universe's instruments with a base currency, in the universe's order."""
        return tuple(self._instruments.get(base, ()))

    def knowing(self, base: str) -> MentionFinder:
        """Return a finder that finds an asset besides, as one of the universe's would be found.

        Examples
        --------
        >>> finder = MentionFinder([])
        >>> finder.find_bases("$ZKJ soars"), finder.knowing("ZKJ").find_bases("$ZKJ soars")
        ((), ('ZKJ',))
        """
        if base in self._assets:
            return self
        other = copy(self)
        other._assets = {**self._assets, base: _unheard_of(base)}
        return other

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return every place where `text` names an asset, in order.

        Positions are those of ``unicodedata.normalize("NFKC", text)``: give the text in that
        form where they matter.

        Examples
        --------
        >>> MentionFinder([]).mentions("$ETH will flip BTC")
        (Mention(start=0, end=4, name='ETH'), Mention(start=15, end=18, name='BTC'))
        """
        tokens = list(_TOKEN.finditer(unicodedata.normalize("NFKC", text)))
        found = list(self._words(tokens))
        clear = [word.place for word in found if word.clarity == "clear"]
        signs = sorted(clear + [i for i, token in enumerate(tokens) if _says_crypto(token)])
        return tuple(
            Mention(
                tokens[word.place].start(), tokens[word.place + word.tokens - 1].end(), word.base
            )
            for word in found
            if word.clarity == "clear"
            or any(0 < abs(sign - word.place) <= NEARBY for sign in signs)
            or _is_priced(tokens, word.place)
        )

    def _enter_names(self, asset: Asset) -> None:
        for name in (*asset.names, *asset.aliases):
            words = tuple(match["word"] for match in re.finditer(r"(?P<word>[^\W_]+)", name))
            first, *rest = (word.lower() for word in words)
            clarity: Clarity = "ambiguous" if name in asset.ambiguous_names else "clear"
            self._names.setdefault(first, []).append((tuple(rest), asset.base, clarity))

    def _words(self, tokens: list[re.Match[str]]) -> Iterator[_Word]:
        place = 0
        while place < len(tokens):
            word = self._at(tokens, place)
            if word is not None:
                yield word
            place += word.tokens if word else 1

    def _at(self, tokens: list[re.Match[str]], place: int) -> _Word | None:
        """Read the mention that begins at a token, if one does."""
        token = tokens[place]
        pair_base = token["base"] or token["left"]
        if pair_base:
            plain = _VENUE_NAMES.get(pair_base, _MULTIPLIED.sub("", pair_base))
            return _Word(plain, "clear", place) if plain in self._assets else None
        if not token["word"]:
            return None
        if token["tag"] == "$":
            base = token["word"].upper()
            return _Word(base, "clear", place) if base in self._assets else None
        named = self._name(tokens, place)
        ticker = self._ticker(token, place)
        if named is None or (named.clarity == "ambiguous" and ticker is not None):
            return ticker
        return named

    def _name(self, tokens: list[re.Match[str]], place: int) -> _Word | None:
        written = tokens[place]["word"]
        for rest, base, clarity in self._names.get(written.lower(), ()):
            after = tokens[place + 1 : place + 1 + len(rest)]
            if [(token["word"] or "").lower() for token in after] != list(rest):
                continue
            if clarity == "ambiguous" and not written[0].isupper():
                continue
            return _Word(base, clarity, place, 1 + len(rest))
        return None

    def _ticker(self, token: re.Match[str], place: int) -> _Word | None:
        written = token["word"]
        asset = self._assets.get(written.upper())
        if asset is None:
            return None
        tagged = token["tag"] == "#" and not asset.ambiguous_ticker
        if not (written.isupper() or asset.lower_case_ticker or tagged):
            return None
        return _Word(asset.base, "ambiguous" if asset.ambiguous_ticker else "clear", place)


def _unheard_of(base: str) -> Asset:
    """Return an asset that ``assets.json`` does not know."""
    return Asset(base, (), ambiguous_ticker=True)


def _says_crypto(token: re.Match[str]) -> bool:
    return bool(token["word"]) and token["word"].lower() in _CRYPTO_WORDS


def _is_priced(tokens: list[re.Match[str]], place: int) -> bool:
    """Whether a price stands within two words behind (``LINK at $18``)."""
    return any(token["price"] for token in tokens[place + 1 : place + 3])
