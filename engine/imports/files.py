"""Which files a path means."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.imports.problem import ImportProblem

Form = Literal["parquet", "csv", "feather"]

FORMS: dict[str, Form] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".feather": "feather",
    ".arrow": "feather",
}
"""How a name ends -> what is in the file."""

_PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file of candles.

    Parameters
    ----------
    path
        Where it is, absolute.
    name
        Below the folder or pattern that was asked for: what messages and the record call it.
    form
        What is in it.
    """

    path: str
    name: str
    form: Form


def find_files(path: str) -> list[ImportFile]:
    """Return the files that a path means, in the order of their names.

    Parameters
    ----------
    path
        A file, a folder (all files of a known kind in it and below), or a pattern with ``*``, ``?``
        or ``**``.

    Raises
    ------
    ImportProblem
        Where there is none, or a file that was named is of no known kind.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [_file(place, place.parent)]
    if place.is_dir():
        root = place
        found = [each for each in place.rglob("*") if each.is_file() and form_of(each)]
    else:
        root = _fixed_part(place)
        matches = glob.glob(str(place), recursive=True)
        found = [Path(each) for each in matches if Path(each).is_file()]
    if not found:
        what = "holds no file" if place.is_dir() else "is no file, folder or pattern of files"
        raise ImportProblem(f"path {path} {what} to import; known are {', '.join(FORMS)}")
    return [_file(each, root) for each in sorted(found)]


def form_of(path: Path) -> Form | None:
    """Return what a file's name says of its content, None where it says nothing known."""
    name = path.name.lower()
    return next((form for end, form in FORMS.items() if name.endswith(end)), None)


def content_hash(path: str) -> str:
    """Return a hash of a file's bytes, read piece by piece."""
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _file(path: Path, root: Path) -> ImportFile:
    form = form_of(path)
    if form is None:
        raise ImportProblem(f"file {path} is of no known kind; known are {', '.join(FORMS)}")
    return ImportFile(str(path.absolute()), str(path.relative_to(root)), form)


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above the first part of a pattern that is not a plain name."""
    plain: list[str] = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        plain.append(part)
    else:
        plain = plain[:-1]
    return Path(*plain) if plain else Path()
