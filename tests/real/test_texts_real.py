"""The text pipeline over real headlines and posts."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.clock import NS_PER_S
from engine.domain.text import TextItem, TextKind
from engine.sentiment.lexicon import LexiconModel
from engine.settings.texts import TextsSection
from engine.sources.mentions import MentionFinder
from engine.texts.credibility import MeasuredCredibility, Opinion, measure
from engine.texts.credibility_rules import CredibilityRules
from engine.texts.normalise import normalise
from engine.texts.pipeline import Admission, TextPipeline
from engine.texts.spam import spam_reason

pytestmark = pytest.mark.real

UNIVERSE = [f"{base}-USDT" for base in ("BTC", "ETH", "SOL", "ADA", "XRP", "DOGE")]
FINDER = MentionFinder(UNIVERSE)
HOUR = 3_600 * NS_PER_S


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def headlines(real_data: Path) -> list[TextItem]:
    """Headlines of three outlets over nine months, oldest first."""
    found = []
    path = real_data / "news" / "nyu_crypto_team4" / "cryptonews.csv"
    for number, row in enumerate(rows(path, ";")):
        at = datetime.strptime(row["date"], "%d-%m-%Y %H:%M").replace(tzinfo=UTC)
        time = int(at.timestamp()) * NS_PER_S
        found.append(
            TextItem(
                f"{number:05}", row["source"], "news", row["title"], row["text"], row["url"], "",
                time, time, 0.0, 0.5, FINDER.find(row["title"]),
            )
        )  # fmt: skip
    return sorted(found, key=lambda item: item.available_at)


def admitted(items: list[TextItem], window_h: float) -> Admission:
    section = TextsSection(duplicate_window_h=window_h)
    return TextPipeline(section, FINDER.find).admit(items)


def test_pipeline_of_crypto_headlines_rejects_none_and_finds_the_copies(real_data: Path) -> None:
    items = headlines(real_data)
    assert len(items) == 7_524
    admission = admitted(items, 24.0)
    assert admission.rejected == []
    by_id = {item.text_id: item for item in admission.items}
    copies = [item for item in admission.items if item.duplicate_of]
    pairs = [(by_id[item.duplicate_of], item) for item in copies]
    assert len(copies) == 5
    assert sum(first.title.casefold() == then.title.casefold() for first, then in pairs) == 3
    assert sum(first.source != then.source for first, then in pairs) == 1
    print(*((first.title, then.title) for first, then in pairs), sep="\n")


def test_pipeline_of_crypto_headlines_a_longer_window_finds_few_more(real_data: Path) -> None:
    copies = [
        item for item in admitted(headlines(real_data), 24.0 * 365).items if item.duplicate_of
    ]
    assert len(copies) == 8


@pytest.mark.parametrize(
    ("path", "column", "kind", "expected"),
    [
        ("news/nyu_crypto_team4/ethereum_tweets.csv", "Tweet", "post", {}),
        ("text/stockemotions/val_stockemo.csv", "original", "post", {}),
        ("text/twitter_financial_news/sent_train.csv", "text", "post", {"tags": 23}),
    ],
)
def test_spam_filter_leaves_real_posts_alone(
    real_data: Path, path: str, column: str, kind: TextKind, expected: dict[str, int]
) -> None:
    found: dict[str, int] = {}
    for row in rows(real_data / path):
        reason = spam_reason(normalise(row[column]), kind)
        if reason:
            found[reason] = found.get(reason, 0) + 1
    assert found == expected


def test_normalise_of_real_texts_is_idempotent(real_data: Path) -> None:
    texts = [row["original"] for row in rows(real_data / "text/stockemotions/val_stockemo.csv")]
    texts += [f"{item.title}\n{item.body}" for item in headlines(real_data)]
    for text in texts:
        once = normalise(text)
        assert normalise(once) == once


def closes(real_data: Path) -> dict[str, dict[int, float]]:
    """Instrument -> when a bar closed (UTC nanoseconds) -> its close."""
    path = real_data / "candles" / "binance_spot_1h_60sym_2021_2023.parquet"
    found: dict[str, dict[int, float]] = {}
    for instrument in UNIVERSE:
        symbol = instrument.replace("-", "")
        bars = pq.read_table(path, columns=["ts", "close"], filters=[("symbol", "=", symbol)])
        opened = bars.column("ts").cast(pa.timestamp("ns")).cast(pa.int64()).to_pylist()
        prices = bars.column("close").to_pylist()
        found[instrument] = {at + HOUR: close for at, close in zip(opened, prices, strict=True)}
    return found


def opinions_of(items: list[TextItem], prices: dict[str, dict[int, float]]) -> list[Opinion]:
    """Return what the lexicon reads in headlines, and whether the next 24 hours proved it right."""
    found = []
    for item, read in zip(items, LexiconModel().score([i.content for i in items]), strict=True):
        if read is None or read.label == "neutral" or item.duplicate_of:
            continue
        entry = -(-item.available_at // HOUR) * HOUR
        for instrument in item.instruments:
            before, after = (prices[instrument].get(entry + age) for age in (0, 24 * HOUR))
            if before and after and before != after:
                is_right = (after > before) == (read.label == "bullish")
                found.append(
                    Opinion(
                        item.source, "", 0.0, instrument, item.text_id, item.available_at,
                        entry + 24 * HOUR, is_right,
                    )
                )  # fmt: skip
    return found


def test_credibility_of_real_outlets_by_the_lexicon_is_near_a_coin_s(real_data: Path) -> None:
    items = admitted(headlines(real_data), 24.0).items
    opinions = opinions_of(items, closes(real_data))
    rules = CredibilityRules("24h of 1h bars", 24 * HOUR)
    rows = list(
        measure(
            opinions, rules, every_ns=24 * HOUR, end=2**63 - 1, model="lexicon-1",
            configured=lambda _: 0.5,
        )
    )  # fmt: skip
    last = {row.source: row for row in rows if row.level == "source"}
    print(len(opinions), *((s, r.opinions, round(r.credibility, 3)) for s, r in last.items()))
    assert set(last) == {"CoinTelegraph", "CryptoNews", "CryptoPotato"}
    assert all(0.4 < row.credibility < 0.6 for row in last.values())
    known = MeasuredCredibility(rows, rules)
    for row in rows:
        if row.level == "source":
            at = known.credibility_at(row.source, row.as_of, engagement=5.0)
            assert at == pytest.approx(row.credibility)
