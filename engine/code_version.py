"""Which version of the code runs: its number, and what tells it from others of that number."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Where this code lies: a checkout, or the folder of installed packages."""

_SOURCES = ("engine", "jobs")
_BUILT = tuple(EXTENSION_SUFFIXES)
"""What is compiled of the sources where they lie, and does not travel with them."""
_HEX_DIGITS = 12


def code_version(root: Path = ROOT) -> str:
    """Return the version of the code below a folder.

    Of a checkout it names the commit (``0.1.0+1a2b3c4d5e6f``, and ``-dirty`` where files differ).
    Elsewhere, as of a checkout that travelled to a cluster without its history, it is a hash of the
    sources (``0.1.0+src.1a2b3c4d5e6f``): the same for the same files, wherever they lie.

    Parameters
    ----------
    root
        What holds the packages ``engine`` and ``jobs``.
    """
    return f"{_number(root)}+{_commit(root) or f'src.{_digest(root)}'}"


def _number(root: Path) -> str:
    """Return the number of a release; a checkout's own goes before that of an installed package."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        with suppress(PackageNotFoundError):
            return version("signal-engine")
        return "0"  # files that somebody copied
    return str(project["version"])


def _commit(root: Path) -> str:
    """Return the commit of a checkout; empty where there is none, or no git to ask."""
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", f"--abbrev={_HEX_DIGITS}", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _digest(root: Path) -> str:
    """Return a hash of the names and the content of all source files and what lies beside them."""
    whole = sha256()
    for path in sorted(_files(root)):
        content = sha256((root / path).read_bytes()).hexdigest()
        whole.update(f"{content}  {path}\n".encode())
    return whole.hexdigest()[:_HEX_DIGITS]


def _files(root: Path) -> Iterator[str]:
    for package in _SOURCES:
        for path in (root / package).rglob("*"):
            is_built = "__pycache__" in path.parts or path.name.endswith(_BUILT)
            if path.is_file() and not is_built:
                yield path.relative_to(root).as_posix()
