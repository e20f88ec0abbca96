import csv

import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from engine.sentiment.lexicon import LexiconModel

pytestmark = pytest.mark.real


def _auc(scores, truths):
    """Return the chance that a bullish post scores above a bearish one (ties count half)."""
    ups = [score for score, truth in zip(scores, truths, strict=True) if truth]
    downs = [score for score, truth in zip(scores, truths, strict=True) if not truth]
    above = sum((up > down) + 0.5 * (up == down) for up in ups for down in downs)
    return above / (len(ups) * len(downs))


def test_lexicon_stocktwits_posts_ranks_bulls_above_bears_better_than_vader(real_data):
    path = real_data / "text" / "stockemotions" / "val_stockemo.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["original"], row["senti_label"] == "bullish") for row in csv.DictReader(file)]
    assert len(rows) == 1_000
    plain = SentimentIntensityAnalyzer()
    readings = LexiconModel().score([text for text, _ in rows])
    ours = _auc([reading.score if reading else 0.0 for reading in readings], [t for _, t in rows])
    theirs = _auc(
        [plain.polarity_scores(text)["compound"] for text, _ in rows], [truth for _, truth in rows]
    )
    print(f"AUC ours {ours:.3f}, plain VADER {theirs:.3f}")
    assert ours > theirs + 0.02
