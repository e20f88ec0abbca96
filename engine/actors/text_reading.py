"""The reader of texts as the configuration wants it, put together from its parts.

Here and not in `engine.sentiment`: models, the finder of instruments and the text pipeline do not
know one another.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.actors.wiring import markets_of, ranked_markets
from engine.config import Config
from engine.sentiment.readers import TextReaders
from engine.sentiment.reading import TextReader
from engine.sentiment.registry import sentiment_model
from engine.sources.mentions import MentionFinder
from engine.texts.language import sure_language
from engine.texts.normalise import normalise


def open_text_reader(name: str, config: Config) -> TextReader:
    """Load a model, with what finds instruments and tells languages. Blocking.

    Parameters
    ----------
    name
        As in ``sentiment.model``.
    config
        The whole configuration.

    Raises
    ------
    ConfigError
        Where no model has that name, or it lacks what it needs.
    """
    return TextReader(
        sentiment_model(name, config.sentiment),
        normalise,
        sure_language,
        MentionFinder(spoken_of(config)),
        config.sentiment.languages,
    )


def open_text_readers(config: Config) -> TextReaders:
    """Return the models that the configuration serves; they load when first used."""
    return TextReaders(
        lambda name: open_text_reader(name, config),
        config.sentiment.served,
        config.sentiment.batch_texts,
    )


def spoken_of(config: Config) -> Sequence[str]:
    """Return the instruments that stand for their assets: one of each, as in the ranking."""
    return [market.instrument for market in ranked_markets(markets_of(config))]
