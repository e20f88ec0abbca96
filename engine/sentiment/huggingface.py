"""Any sequence classifier of the transformers library, from the hub or a folder: ``hf:…``.

A reading must not depend on what else is in the batch, and the shape of a matrix decides in which
order its products are summed. So on a CPU each text is read by itself, without padding; on a GPU,
in bfloat16, in batches whose shape follows from the text's own length alone
(`engine.sentiment.huggingface_batches`): empty rows fill the last one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from engine.errors import ConfigError
from engine.sentiment.base import TextSentiment
from engine.sentiment.huggingface_batches import padded_batches
from engine.sentiment.huggingface_labels import label_places
from engine.sentiment.probabilities import reading_of, shares
from engine.settings.sentiment_models import HuggingFaceConfig

MAX_CHARACTERS = 4_000
"""Longer texts are read up to here, before they are cut into tokens."""

UNBOUNDED = 100_000
"""A tokenizer without a length of its own says a number beyond this."""

_SILENT = re.compile(r"https?://\S+|www\.\S+|[$@]\w+", re.IGNORECASE)
_SAYS = re.compile(r"[^\W\d_]|[\U0001F000-\U0001FAFF\u2600-\u27BF]")


class HuggingFaceModel:
    """A classifier as a sentiment model.

    Parameters
    ----------
    network
        The model, on its device.
    tokenizer
        Its tokenizer.
    places
        For each output the place of our label, from `label_places`.
    name
        Name and version.
    max_tokens
        Tokens read of a text.
    batch_tokens
        Tokens of a padded batch; 0 reads text by text.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        places: tuple[int, ...],
        name: str,
        max_tokens: int,
        batch_tokens: int = 0,
    ) -> None:
        self.name = name
        self._network = network.eval()
        self._tokenizer = tokenizer
        self._places = places
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        special = {tokenizer.unk_token_id, *tokenizer.all_special_ids}
        self._saying_nothing = frozenset(one for one in special if one is not None)

    @classmethod
    def load(cls, place: str, config: HuggingFaceConfig) -> Self:
        """Load a model.

        Parameters
        ----------
        place
            Repository on the hub (``ProsusAI/finbert``), or a folder.
        config
            The configuration's ``sentiment.hf``.

        Raises
        ------
        ConfigError
            Where it cannot be loaded, or what its labels mean is not known.
        """
        import torch  # noqa: PLC0415  (heavy)

        device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = not device.startswith("cpu")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(
                f"sentiment.hf.device is {device}, but no GPU is found; leave it empty or set cpu"
            )
        network, tokenizer = _loaded(place, config, torch.bfloat16 if on_gpu else torch.float32)
        labels = {int(number): str(name) for number, name in network.config.id2label.items()}
        places = label_places(place, labels, config.labels)
        max_tokens = _token_limit(network, tokenizer, config.max_tokens)
        telling = (_version(place, network), places, max_tokens, "bf16" if on_gpu else "fp32")
        digest = hashlib.sha256(repr(telling).encode()).hexdigest()[:8]
        title = Path(place).name if Path(place).is_dir() else place
        return cls(
            network.to(device),
            tokenizer,
            places,
            f"hf:{title}-{digest}",
            max_tokens,
            config.batch_tokens if on_gpu else 0,
        )

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`.

        A text is unreadable where it has no letter and no emoji once links, handles and cashtags
        are gone, or where the tokenizer knows none of it.
        """
        readings: list[TextSentiment | None] = [None] * len(texts)
        saying = [place for place, text in enumerate(texts) if _SAYS.search(_SILENT.sub("", text))]
        tokens = self._tokens([texts[place] for place in saying])
        known = [
            (place, row)
            for place, row in zip(saying, tokens, strict=True)
            if not self._saying_nothing.issuperset(row)
        ]
        for number, said in self._probabilities([row for _, row in known]):
            sums = [0.0, 0.0, 0.0]
            for label, probability in zip(self._places, said, strict=True):
                sums[label] += probability
            readings[known[number][0]] = reading_of(shares(sums))
        return readings

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what the model reads."""
        if len(text) > MAX_CHARACTERS:
            return True
        return len(self._tokenizer(text, verbose=False)["input_ids"]) > self._max_tokens

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        cut = [text[:MAX_CHARACTERS] for text in texts]
        found = self._tokenizer(cut, truncation=True, max_length=self._max_tokens)
        rows: list[list[int]] = found["input_ids"]
        return rows

    def _probabilities(self, rows: Sequence[list[int]]) -> Iterator[tuple[int, list[float]]]:
        """Yield the place of each row and the probabilities of the model's outputs."""
        import torch  # noqa: PLC0415  (heavy)

        with torch.inference_mode():
            # Fetched at the end: a GPU then works on while the next batch is made.
            done = [
                (places, torch.softmax(logits.float(), dim=-1)[: len(places)])
                for places, logits in self._batches(rows)
            ]
            for places, said in done:
                yield from zip(places, said.tolist(), strict=True)

    def _batches(self, rows: Sequence[list[int]]) -> Iterator[tuple[Sequence[int], Any]]:
        import torch  # noqa: PLC0415  (heavy)

        device = self._network.device
        if not self._batch_tokens:
            for place, row in enumerate(rows):
                numbers = torch.tensor([row], device=device)
                said = self._network(input_ids=numbers, attention_mask=torch.ones_like(numbers))
                yield (place,), said.logits
            return
        padding = self._tokenizer.pad_token_id or 0
        for batch in padded_batches([len(row) for row in rows], self._batch_tokens):
            numbers = torch.full((batch.rows, batch.length), padding)
            mask = torch.zeros((batch.rows, batch.length), dtype=torch.long)
            mask[len(batch.places) :, 0] = 1  # a row that attends to nothing would not be a number
            for line, place in enumerate(batch.places):
                numbers[line, : len(rows[place])] = torch.tensor(rows[place])
                mask[line, : len(rows[place])] = 1
            said = self._network(
                input_ids=numbers.to(device, non_blocking=True),
                attention_mask=mask.to(device, non_blocking=True),
            )
            yield batch.places, said.logits


def _loaded(place: str, config: HuggingFaceConfig, precision: Any) -> tuple[Any, Any]:
    from transformers import (  # noqa: PLC0415  (heavy)
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    is_folder = Path(place).is_dir()
    if not is_folder and (Path(place).is_absolute() or place.startswith((".", "~"))):
        raise ConfigError(f"the model hf:{place} is no folder: name one, or a repository")
    where = {
        "revision": config.revision or None,
        "local_files_only": is_folder or config.is_offline,
    }
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **where)
        network = AutoModelForSequenceClassification.from_pretrained(
            place, dtype=precision, **where
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = " ".join(str(error).split()).split(". ")[0]
        remedy = (
            "the folder must hold what save_pretrained wrote of a model and its tokenizer"
            if is_folder
            else "check the name and the network, or save it to a folder and name that"
        )
        raise ConfigError(f"the model hf:{place} cannot be loaded: {remedy} ({first})") from None
    return network, tokenizer


def _token_limit(network: Any, tokenizer: Any, wanted: int) -> int:
    limits = [wanted]
    if tokenizer.model_max_length < UNBOUNDED:
        limits.append(int(tokenizer.model_max_length))
    positions = getattr(network.config, "max_position_embeddings", None)
    if positions:
        # RoBERTa counts positions from behind the padding's number.
        behind = (
            (network.config.pad_token_id or 0) + 1 if "roberta" in network.config.model_type else 0
        )
        limits.append(int(positions) - behind)
    return min(limits)


def _version(place: str, network: Any) -> str:
    """Return the commit of a repository, or a digest of a folder's files."""
    folder = Path(place)
    if not folder.is_dir():
        return str(getattr(network.config, "_commit_hash", None))
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".bin", ".json", ".txt", ".model"):
            with file.open("rb") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
