"""An ensemble for each subject: texts about stocks and texts about coins are read by others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from engine.domain.text import Mention
from engine.sentiment.base import BoundedModel, TextSentiment
from engine.sentiment.ensemble.model import EnsembleModel
from engine.sentiment.ensemble.subject import StockWords
from engine.sentiment.explanation import WordWeight, leave_one_out


class SubjectEnsemble:
    """Gives each text to the ensemble for what it speaks of.

    Parameters
    ----------
    coins, stocks
        The two ensembles; they may share members.
    words
        What tells the subject.
    """

    def __init__(self, coins: EnsembleModel, stocks: EnsembleModel, words: StockWords) -> None:
        self._coins = coins
        self._stocks = stocks
        self._words = words
        whole = " ".join((coins.name, stocks.name, words.digest))
        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        self.name = f"ensemble-{coins.method}-{digest}"

    @property
    def members(self) -> tuple[str, ...]:
        """Names and versions of the members of both."""
        return tuple(dict.fromkeys((*self._coins.members, *self._stocks.members)))

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`."""
        found: list[TextSentiment | None] = [None] * len(texts)
        places: dict[EnsembleModel, list[int]] = {self._coins: [], self._stocks: []}
        for place, text in enumerate(texts):
            places[self._for(text)].append(place)
        for model, mine in places.items():
            readings = model.score([texts[place] for place in mine])
            for place, reading in zip(mine, readings, strict=True):
                found[place] = reading
        return found

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> Mapping[str, TextSentiment | None]:
        """Read a text of several coins once for each: whoever asks so asks about coins."""
        return self._coins.score_targets(text, mentions)

    def explain(self, text: str) -> list[WordWeight]:
        """Return what each word did to the reading of the ensemble that read the whole."""
        return leave_one_out(self._for(text), text)

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what is read."""
        model: BoundedModel = self._for(text)
        return model.truncates(text)

    def _for(self, text: str) -> EnsembleModel:
        return self._stocks if self._words.subject(text) == "stocks" else self._coins
