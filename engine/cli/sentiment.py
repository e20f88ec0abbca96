"""``engine sentiment``: what texts feel, by the running engine, else by a model loaded here."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.cli.read import JsonOption, fetch
from engine.cli.runfile import running_here
from engine.cli.tables import sentiment_view
from engine.config import Config
from engine.errors import ConfigError

MOST_TEXTS, MOST_EXPLAINED = 256, 16
"""Texts of one request, and of one that asks for words: what the API takes."""

MOST_CHARACTERS = 10_000
"""Sent of one text: more is never read."""

MOST_BYTES = 900_000
"""Of the texts of one request; the API takes bodies of 1 MiB."""

STANDARD_INPUT = "-"


def sentiment(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]…")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="A text a line; - reads what is piped."),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Whose sentiment is wanted, such as BTC-USDT.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Another model than the configuration's, such as lexicon.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the words that drove each reading.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Say what texts feel: label, probabilities, language, and a score for each instrument.

    The running engine reads them; where none runs, the model is loaded here. What cannot be read
    (another language, a bare link) is unknown, never 0.

    Example: **engine sentiment "ETH will flip BTC" --explain**
    """
    wanted = list(_given(texts or [], file))
    if running_here() is not None:
        if config is not None or override:
            raise ConfigError(
                "--config and --set are for a model that is loaded here, but an engine runs and "
                "reads the texts with its own; leave them out, or stop it: engine down"
            )
        found = _asked(wanted, instrument, model, explain)
    else:
        found = _read_here(read_config(config, override), wanted, instrument, model, explain)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        Console().print(sentiment_view(wanted, found))


def _given(texts: Sequence[str], file: str | None) -> Iterator[str]:
    """Return the texts of the command line and of the file.

    Raises
    ------
    ConfigError
        Where there is none, one is blank, or the file cannot be read.
    """
    found = [*texts, *(_lines(file) if file is not None else ())]
    if not found:
        raise ConfigError('no text is given: write engine sentiment "a text", or --file FILE')
    for number, text in enumerate(found, 1):
        if not text.strip():
            raise ConfigError(f"text {number} is blank; give a text with words")
        # A shell hands on bytes that are no UTF-8 as half surrogates, which JSON cannot hold.
        yield text[:MOST_CHARACTERS].encode(errors="surrogateescape").decode(errors="replace")


def _lines(file: str) -> list[str]:
    try:
        data = (
            sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        ).split(b"\n")
    except OSError as error:
        raise ConfigError(f"--file {file} cannot be read: {error.strerror}") from None
    lines = []
    for number, line in enumerate(data, 1):
        try:
            lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError:
            raise ConfigError(f"--file {file}, line {number} is not UTF-8 text") from None
    return [line for line in lines if line]


def _asked(
    texts: Sequence[str], instrument: str | None, model: str | None, explain: bool
) -> dict[str, Any]:
    """Have the running engine read texts, in requests of a size that it takes."""
    asked = {"instrument": instrument, "model": model}
    results: list[dict[str, Any]] = []
    version = ""
    for part in _parts(texts, MOST_EXPLAINED if explain else MOST_TEXTS):
        body = {"texts": part, "explain": explain, **asked}
        found = fetch("/v1/sentiment", body=body)
        version = found["model"]
        results += found["results"]
    return {"model": version, "results": results}


def _parts(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for text in texts:
        length = len(json.dumps(text))
        if part and (len(part) == most or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(text)
        size += length
    yield part


def _read_here(
    config: Config, texts: Sequence[str], instrument: str | None, model: str | None, explain: bool
) -> dict[str, Any]:
    """Load the model in this process and read texts with it."""
    from engine.actors.text_reading import open_text_readers
    from engine.domain.instrument import Instrument
    from engine.sentiment.choice import settled
    from engine.sentiment.reading import TextQuery

    about = str(Instrument.parse(instrument.upper())) if instrument else None
    config = settled(config)
    wanted = model or config.sentiment.model
    readers = open_text_readers(
        config.model_copy(
            update={"sentiment": config.sentiment.model_copy(update={"models": (wanted,)})}
        )
        if wanted != config.sentiment.model
        else config
    )
    queries = [TextQuery(text, about, explain) for text in texts]
    return asyncio.run(readers.read(wanted, queries)).body()
