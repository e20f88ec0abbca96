"""A small LSTM that reads word by word: ``lstm``."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from engine.sentiment.base import SentimentModel, TextSentiment
from engine.sentiment.probabilities import reading_of, softmax
from engine.sentiment.registry import register_configured
from engine.sentiment.tfidf_features import MAX_CHARACTERS, tokens
from engine.settings.sentiment import SentimentConfig

SHIPPED = "lstm.npz"
FORMAT = 1
MAX_WORDS = 128
"""Words read of a text."""

TRAIN = "train it with the job train_sentiment, model lstm, and name the file in sentiment.lstm"


@dataclass(frozen=True)
class LstmWeights:
    """What training found.

    Parameters
    ----------
    words
        The vocabulary; the first one has the number `engine.sentiment.lstm_network.FIRST_WORD`.
    arrays
        The network's, by name.
    temperature
        By which the logits are divided.
    """

    words: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[np.float32]]
    temperature: float

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with anything in it."""
        sum_of = hashlib.sha256("\n".join((repr(self.temperature), *self.words)).encode())
        for name in sorted(self.arrays):
            sum_of.update(name.encode() + np.ascontiguousarray(self.arrays[name]).tobytes())
        return sum_of.hexdigest()[:8]

    def save(self, file: Path | BinaryIO) -> None:
        """Write it: plain arrays in half precision, names as text; no pickle."""
        named: dict[str, Any] = {
            f"array:{name}": array.astype(np.float16) for name, array in self.arrays.items()
        }
        named["format"] = np.array(FORMAT)
        named["words"] = np.frombuffer("\n".join(self.words).encode(), dtype=np.uint8)
        named["temperature"] = np.array(self.temperature)
        np.savez_compressed(file, **named)

    @classmethod
    def load(cls, file: Path) -> LstmWeights:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError
            Where the file is missing or is something else.
        """
        try:
            with np.load(file, allow_pickle=False) as held:
                if int(held["format"]) != FORMAT:
                    raise ConfigError(f"the weights {file} are of another format: {TRAIN}")
                return cls(
                    tuple(bytes(held["words"]).decode().split("\n")),
                    {
                        name.removeprefix("array:"): held[name].astype(np.float32)
                        for name in held.files
                        if name.startswith("array:")
                    },
                    float(held["temperature"]),
                )
        except FileNotFoundError:
            raise ConfigError(f"the weights {file} do not exist: {TRAIN}") from None
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
            raise ConfigError(f"{file} holds no weights of the model lstm: {TRAIN}") from None


class LstmModel:
    """The LSTM, ready to read.

    Parameters
    ----------
    weights
        Its weights.

    Raises
    ------
    ConfigError
        Where the arrays are not those of the network.
    """

    def __init__(self, weights: LstmWeights) -> None:
        import torch  # noqa: PLC0415  (heavy)

        from engine.sentiment.lstm_network import FIRST_WORD, LstmNetwork, Sizes  # noqa: PLC0415

        self.name = f"lstm-{FORMAT}-{weights.digest}"
        self._numbers = {word: place for place, word in enumerate(weights.words, FIRST_WORD)}
        self._temperature = weights.temperature
        try:
            vectors, output = weights.arrays["vectors.weight"], weights.arrays["head.weight"]
            sizes = Sizes(vectors.shape[0], vectors.shape[1], output.shape[1] // 4)
            self._network = LstmNetwork(sizes)
            self._network.load_state_dict(
                {name: torch.from_numpy(array.copy()) for name, array in weights.arrays.items()}
            )
        except (KeyError, IndexError, RuntimeError):
            raise ConfigError(f"the weights of the model lstm are damaged: {TRAIN}") from None
        self._network.eval()

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        """Read texts; see `engine.sentiment.base.SentimentModel`.

        Each by itself, so that no bit depends on the batch. A text of which no word was learnt
        is unreadable.
        """
        return [self._read(text) for text in texts]

    def truncates(self, text: str) -> bool:
        """Whether the text goes on behind what the model reads."""
        return len(text) > MAX_CHARACTERS or len(tokens(text)) > MAX_WORDS

    def _read(self, text: str) -> TextSentiment | None:
        import torch  # noqa: PLC0415  (heavy)

        from engine.sentiment.lstm_network import UNKNOWN  # noqa: PLC0415

        words = [token.word for token in tokens(text)[:MAX_WORDS]]
        if not any(
            word in self._numbers for word in words if word[0].isalpha() or ord(word[0]) > 127
        ):
            return None
        numbers = torch.tensor([[self._numbers.get(word, UNKNOWN) for word in words]])
        with torch.inference_mode():
            logits = self._network(numbers, torch.tensor([len(words)]))[0]
        return reading_of(softmax([one / self._temperature for one in logits.tolist()]))


def shipped_weights() -> LstmWeights:
    """Return the weights that come with the package."""
    with as_file(files("engine.sentiment").joinpath("artifacts", SHIPPED)) as path:
        return LstmWeights.load(path)


@register_configured("lstm")
def _from_config(config: SentimentConfig) -> SentimentModel:
    return LstmModel(LstmWeights.load(Path(config.lstm)) if config.lstm else shipped_weights())
