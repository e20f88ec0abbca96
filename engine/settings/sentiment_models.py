"""What single sentiment models are told; keys of the section ``sentiment``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from engine.settings.section import FilePath, Section

SentimentLabel = Literal["bearish", "neutral", "bullish"]


class HuggingFaceConfig(Section):
    """Models named ``hf:…``: any sequence classifier of the transformers library."""

    labels: dict[str, SentimentLabel] = {}
    """The model's own label (or its number) -> ours; told from the model's names where it is
    empty and they leave no doubt."""
    revision: str = ""
    """Commit, tag or branch of a model on the hub; its main branch where it is empty."""
    device: str = ""
    """``cpu``, ``cuda``, ``cuda:1``; a GPU if there is one where it is empty."""
    max_tokens: PositiveInt = Field(128, ge=8, le=4096)
    """Texts are read up to here; no further than the model itself can."""
    batch_tokens: PositiveInt = Field(16_384, ge=64)
    """Tokens, padding included, that a GPU is given at once. A CPU reads text by text: only so
    does a reading not depend on what else is in the batch."""
    is_offline: bool = False
    """Take models only from this machine, never from the hub."""


class EnsembleConfig(Section):
    """The model ``ensemble``."""

    method: Literal["soft", "weighted", "stacking", "dynamic"] = "stacking"
    """``soft``: mean of the members; ``weighted``: by how well each did; ``stacking``: a model of
    what the members say; ``dynamic``: weights by kind of text (news or post, short or long)."""
    members: tuple[str, ...] = ()
    """Models; those that the parameters were fitted for where it is empty. Others need parameters
    of their own (`calibrate_sentiment`), save for ``soft``. Without members and parameters texts
    about stocks have members of their own."""
    parameters: FilePath = ""
    """File that `calibrate_sentiment` wrote for an ensemble that reads all texts; the shipped ones
    where it is empty."""

    @field_validator("members")
    @classmethod
    def _no_ensemble_in_itself(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if "ensemble" in members:
            raise ValueError("an ensemble cannot be its own member: take it out of `members`")
        if len(set(members)) < len(members):
            raise ValueError("a member is named twice: take one out of `members`")
        return members
