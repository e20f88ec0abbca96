"""Topics and emotions on texts that others wrote: a sanity check, with sober floors."""

import csv
import hashlib
from pathlib import Path

import pytest

from engine.sentiment.emotions import emotions
from engine.sentiment.topics import topics

pytestmark = pytest.mark.real

LABELS = Path(__file__).with_name("topic_labels.tsv")


def test_topics_of_crypto_headlines_labelled_by_reading(real_data):
    lines = LABELS.read_text(encoding="utf-8").splitlines()
    labels = dict(line.split("\t") for line in lines if not line.startswith("#"))
    path = real_data / "news" / "nyu_crypto_team4" / "cryptonews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        titles = {row["title"] for row in csv.DictReader(file, delimiter=";")}
    pairs = []
    for title in titles:
        label = labels.get(hashlib.sha256(title.encode()).hexdigest()[:16])
        if label is not None:
            pairs.append((set(topics(title)), set(label.split()) - {"-"}))
    assert len(pairs) == 60
    hits = sum(len(found & wanted) for found, wanted in pairs)
    precision = hits / sum(len(found) for found, _ in pairs)
    recall = hits / sum(len(wanted) for _, wanted in pairs)
    print(f"topics: precision {precision:.2f}, recall {recall:.2f}")
    assert precision > 0.7
    assert recall > 0.7


@pytest.mark.parametrize(
    ("emotion", "labels", "floor"),
    [
        ("fear", {"panic", "anxiety"}, 0.6),
        ("greed", {"optimism", "belief", "excitement"}, 0.55),
        ("excitement", {"excitement"}, 0.65),
    ],
)
def test_emotions_of_stock_posts_rank_those_labelled_so_above_the_rest(
    real_data, emotion, labels, floor
):
    path = real_data / "text" / "stockemotions" / "val_stockemo.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["original"], row["emo_label"] in labels) for row in csv.DictReader(file)]
    read = [(emotions(text), is_labelled) for text, is_labelled in rows]
    felt = [(getattr(each, emotion), truth) for each, truth in read if each is not None]
    assert len(felt) > 0.99 * len(rows)
    above = [value for value, truth in felt if truth]
    below = [value for value, truth in felt if not truth]
    wins = sum((high > low) + 0.5 * (high == low) for high in above for low in below)
    auc = wins / (len(above) * len(below))
    print(f"{emotion} against {', '.join(sorted(labels))}: AUC {auc:.3f}")
    assert auc > floor
