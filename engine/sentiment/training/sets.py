"""Sets of labelled texts: files of the user's, and the corpus that comes with the package.

A text may be labelled as a whole or once for each asset it names. In the second case it is
given with marks (`engine.sentiment.encoder.wording`), once for each.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from engine.domain.sentiment import Label
from engine.domain.text import Mention
from engine.errors import ConfigError
from engine.sentiment.encoder.wording import marked
from engine.sentiment.evaluation.labelled import label_map
from engine.sentiment.training.examples import Example

OWN: Mapping[str, Label] = {"-1": "bearish", "0": "neutral", "1": "bullish"}
"""Labels as the corpus writes them."""

CORPUS_WEIGHT = 2.5
"""What a text of the corpus counts beside one of a set: they are few, and about crypto."""

_NAMED = re.compile(r"\[(?P<words>[^\]=]+)=(?P<name>[^\]=]+)\]")
_DECISION = re.compile(r"""['"](?P<name>.+?)['"]\s*:\s*['"](?P<label>[^'":]*)['"]\s*(?=[,}])""")
_MOST_FIELD = 10_000_000


def corpus(weight: float = CORPUS_WEIGHT) -> list[Example]:
    """Return the texts that come with the package, written for it.

    Parameters
    ----------
    weight
        Of each text.
    """
    found = [
        Example(text, OWN[label], f"corpus {name}", weight)
        for name in ("posts", "headlines")
        for label, _, text in _lines(f"{name}.tsv", 3)
    ]
    for labels, text in _lines("targets.tsv", 2):
        given = dict(one.split("=") for one in labels.split())
        found += by_target(text, {name: OWN[label] for name, label in given.items()}, weight)
    return found


def by_target(text: str, labels: Mapping[str, Label], weight: float) -> list[Example]:
    """Return a text once for each asset that is labelled.

    Parameters
    ----------
    text
        With its assets in brackets: ``[Ether=ETH] outpaces [Bitcoin=BTC]``.
    labels
        By the names in the brackets.
    weight
        Of each example.
    """
    origin, mentions = unbracketed(text)
    return [
        Example(marked(origin, mentions, name), label, "corpus targets", weight, origin=origin)
        for name, label in labels.items()
    ]


def unbracketed(text: str) -> tuple[str, list[Mention]]:
    """Return a text without its brackets, and what they held.

    Examples
    --------
    >>> unbracketed("[Ether=ETH] up")
    ('Ether up', [Mention(start=0, end=5, name='ETH')])
    """
    parts: list[str] = []
    mentions: list[Mention] = []
    read = 0
    for match in _NAMED.finditer(text):
        parts.append(text[read : match.start()])
        start = sum(map(len, parts))
        parts.append(match["words"])
        mentions.append(Mention(start, start + len(match["words"]), match["name"]))
        read = match.end()
    return "".join([*parts, text[read:]]), mentions


def known_headlines(
    path: Path, column: str, delimiter: str, weight: float, names: str = "headline_labels.tsv"
) -> list[Example]:
    """Return those texts of a file that the package has a label for.

    The headlines belong to others and are not shipped; their labels are ours, kept by a hash of
    the text (`Example.key`).

    Parameters
    ----------
    path
        A CSV file.
    column
        With the texts.
    delimiter
        Between its columns.
    weight
        Of each example.
    names
        File of the corpus with the labels.

    Raises
    ------
    ConfigError
        Where the file cannot be read, or none of its texts is known.
    """
    labels = {key: OWN[label] for key, label in _lines(names, 2)}
    seen: dict[str, Example] = {}
    for row in _rows(path, delimiter, column):
        example = Example(row[column], "neutral", path.stem, weight)
        label = labels.get(example.key)
        if label is not None:
            seen[example.key] = Example(row[column], label, path.stem, weight)
    if not seen:
        raise ConfigError(
            f"{path}: of none of its texts in column {column!r} is a label known; take out "
            "labelled_by, and name the column of its own labels"
        )
    return list(seen.values())


def labelled_by_entity(
    path: Path, text: str, entities: str, labels: Mapping[str, Label], weight: float
) -> list[Example]:
    """Return texts labelled for each of their entities, as SEntFiN writes them.

    A text whose labels agree is given as a whole as well.

    Parameters
    ----------
    path
        A CSV file.
    text, entities
        Its columns; a cell of the second is ``{'Gold': 'positive', 'Silver': 'negative'}``.
    labels
        The file's label -> ours, where it is not one of the usual words.
    weight
        Of each example.

    Raises
    ------
    ConfigError
        Where the file, a column, or what a label means is not known.
    """
    found: list[Example] = []
    cells = [
        (row[text], _decisions(row[entities], f"{path}, line {number}"))
        for number, row in enumerate(_rows(path, ",", text, entities), 2)
    ]
    written = [label for _, given in cells for label in given.values()]
    known = label_map(path, entities, written, labels)
    for content, given in cells:
        named = {name: known[label] for name, label in given.items()}
        kinds = list(dict.fromkeys(named.values()))
        if len(kinds) == 1:
            found.append(Example(content, kinds[0], path.stem, weight))
        if len(named) > 1:
            found += _marked_entities(content, named, f"{path.stem} targets", weight)
    return found


def _marked_entities(
    text: str, labels: Mapping[str, Label], source: str, weight: float
) -> Iterator[Example]:
    mentions = [
        Mention(match.start(), match.end(), name)
        for name in labels
        for match in re.finditer(re.escape(name), text, re.IGNORECASE)
    ]
    named = {mention.name for mention in mentions}
    for name, label in labels.items():
        if name in named:
            yield Example(marked(text, mentions, name), label, source, weight, origin=text)


def _decisions(cell: str, where: str) -> dict[str, str]:
    # No literal of Python: SEntFiN's names hold apostrophes, and some labels a blank too many.
    found = {one["name"]: one["label"].strip().lower() for one in _DECISION.finditer(cell)}
    if not found:
        raise ConfigError(
            f"{where}: expected {{'name': 'label', …}}, found {cell[:60]!r}; correct the line or "
            "take it out"
        )
    return found


def _rows(path: Path, delimiter: str, *columns: str) -> Iterator[dict[str, str]]:
    csv.field_size_limit(_MOST_FIELD)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            for column in columns:
                if column not in (rows.fieldnames or ()):
                    there = ", ".join(rows.fieldnames or ())
                    raise ConfigError(f"{path} has no column {column!r}; it has {there}")
            yield from ({name: row[name] or "" for name in columns} for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}") from None


def _lines(name: str, cells: int) -> Iterator[list[str]]:
    text = files("engine.sentiment").joinpath("corpus", name).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if line and not line.startswith("#"):
            found = line.split("\t", cells - 1)
            if len(found) != cells:
                raise ConfigError(f"corpus {name}, line {number}: expected {cells} cells: {line!r}")
            yield found
