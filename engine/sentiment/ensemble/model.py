"""The ensemble as a sentiment model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from engine.domain.text import Mention
from engine.sentiment.base import BoundedModel, SentimentModel, TextSentiment
from engine.sentiment.ensemble.parameters import EnsembleParameters, Method
from engine.sentiment.ensemble.voting import combined
from engine.sentiment.probabilities import reading_of, triple_of
from engine.sentiment.targets import Named, read_targets


class EnsembleModel:
    """Reads with all its members and puts together what they say.

    A member that cannot read a text does not vote; a text that none can read is None.

    Parameters
    ----------
    members
        The models, in the order of the parameters' members.
    parameters
        What was fitted for them.
    method
        How they are put together.
    """

    def __init__(
        self, members: Sequence[SentimentModel], parameters: EnsembleParameters, method: Method
    ) -> None:
        if len(members) != len(parameters.members):
            raise ValueError("as many members as parameters are needed")
        self._members = tuple(members)
        self._parameters = parameters
        self.method = method
        """How they are put together."""
        self.name = f"ensemble-{method}-{_digest(members, parameters, method)}"

    @property
    def members(self) -> tuple[str, ...]:
        """Names and versions of the members."""
        return tuple(member.name for member in self._members)

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`."""
        said = [member.score(texts) for member in self._members]
        return [
            self._together(readings, text) for text, *readings in zip(texts, *said, strict=True)
        ]

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> Mapping[str, TextSentiment | None]:
        """Read a text once for each asset, each member in its own way."""
        said = [
            read_targets(member, [Named(text, tuple(mentions), member.score([text])[0])])[0]
            for member in self._members
        ]
        names = dict.fromkeys(mention.name for mention in mentions)
        return {name: self._together([one.get(name) for one in said], text) for name in names}

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what some member reads."""
        return any(
            isinstance(member, BoundedModel) and member.truncates(text) for member in self._members
        )

    def _together(
        self, readings: Sequence[TextSentiment | None], text: str
    ) -> TextSentiment | None:
        said = [None if one is None else triple_of(one) for one in readings]
        found = combined(self._parameters, self.method, said, text)
        return None if found is None else reading_of(found)


def _digest(
    members: Sequence[SentimentModel], parameters: EnsembleParameters, method: Method
) -> str:
    """Return eight hexadecimal digits that change with anything that changes a reading."""
    whole = (method, [member.name for member in members], parameters)
    return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:8]
