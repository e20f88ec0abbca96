"""The pages of docs/adding, followed to the letter in a copy of the tree.

A fenced block of Python is told its place by the paragraph before it, in one of these ways:

- "the new file `engine/x.py`": the block is the file;
- "at the end of `tests/x.py`": behind what the file holds;
- "at the end of `NAME` in `engine/x.py`": before the bracket that closes what NAME is given, which
  may be narrowed down: "`NAME` in `function` in `engine/x.py`";
- "below (or above) the line `x: int` in `engine/x.py`": beside that line, which is there once.

The blocks are pasted as they stand, definitions with two blank lines around them. Blocks of ``sh``
are run as they stand, but for those that need an engine or an installation of their own
(``engine …``, ``make …``).
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import ignore_patterns

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "adding"
COPIED = ("engine", "jobs", "serve", "tests", "configs", "docs")

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FILE = r"`([\w.-]+(?:/[\w.-]+)+)`"
_NEW = re.compile(f"the new file {_FILE}")
_AT_THE_END_OF_FILE = re.compile(f"at the end of {_FILE}")
_AT_THE_END_OF_NAME = re.compile(rf"at the end of `(\w+)` in (?:`(\w+)` in )?{_FILE}")
_BESIDE = re.compile(f"(above|below) the line `([^`]+)` in {_FILE}")
_DEFINITION = re.compile("@|class |(async )?def ")
_WITH_RAY = re.compile("tests/jobs|-m jobs")
_NOT_HERE = re.compile(r"^(make|\.venv/bin/engine) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    lead: str
    """The paragraph before it, on one line."""
    language: str
    text: str
    """As one pastes it: without the indentation of the list that it stands in."""


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in its order."""
    found = []
    behind = 0
    for fence in _FENCE.finditer(text):
        indent, language, body = fence.groups()
        before = text[behind : fence.start()].rstrip()
        lead = " ".join(before.rpartition("\n\n")[2].split())
        pasted = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        found.append(Block(lead, language, pasted))
        behind = fence.end()
    return found


@contextmanager
def newcomer(page: str) -> Iterator[Newcomer]:
    """Somebody who is to follow a page in a checkout that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="adding-") as home:
        yield Newcomer(page, Path(home))


class Newcomer:
    """Somebody who follows a page in a checkout of their own.

    Parameters
    ----------
    page
        Name of a page of docs/adding.
    home
        An empty folder for the checkout.
    """

    def __init__(self, page: str, home: Path) -> None:
        self.home = home
        self.blocks = blocks_of((PAGES / f"{page}.md").read_text(encoding="utf-8"))
        self._touched: list[str] = []
        for name in COPIED:
            # Without the tests of these pages: they would follow them again.
            shutil.copytree(ROOT / name, home / name, ignore=ignore_patterns("*_adding_page.py"))
        shutil.copy2(ROOT / "pyproject.toml", home)
        (home / ".venv").symlink_to(sys.prefix)

    def follow(self, *, with_ray: bool = False) -> str:
        """Paste every block, run the commands, and see that the linter has nothing to say.

        Parameters
        ----------
        with_ray
            Whether to run what starts Ray, and that alone; or all the rest.

        Returns
        -------
        str
            What the commands printed.
        """
        for block in self.blocks:
            if block.language == "python":
                self.paste(block)
        files = " ".join(sorted(set(self._touched)))
        self.run(f".venv/bin/ruff check {files} && .venv/bin/ruff format --check {files}")
        commands = [
            block.text
            for block in self.blocks
            if block.language == "sh" and not _NOT_HERE.search(block.text)
        ]
        wanted = [each for each in commands if bool(_WITH_RAY.search(each)) is with_ray]
        assert wanted, "the page has no such command"
        return "".join(map(self.run, wanted))

    def paste(self, block: Block) -> None:
        """Put a block where its page says."""
        if told := _NEW.search(block.lead):
            file, old, at = self.home / told[1], "", 0
            assert not file.exists(), f"{told[1]} is there already"
        elif told := _AT_THE_END_OF_NAME.search(block.lead):
            file, old = self._read(told[3])
            at = _line_that_closes(old, told[1], told[2])
        elif told := _BESIDE.search(block.lead):
            file, old = self._read(told[3])
            at = _line_of(old, told[2]) + (told[1] == "below")
        else:
            told = _AT_THE_END_OF_FILE.search(block.lead)
            assert told is not None, f"it does not say where this goes: {block.lead}"
            file, old = self._read(told[1])
            at = len(old.splitlines())
        lines = old.splitlines(keepends=True)
        above, below = "".join(lines[:at]), "".join(lines[at:])
        if above and _DEFINITION.match(block.text):
            above = above.rstrip() + "\n\n\n"
            below = below and "\n\n" + below
        file.write_text(above + block.text + below, encoding="utf-8")
        self._touched.append(str(file.relative_to(self.home)))

    def run(self, command: str, *, exit_code: int = 0) -> str:
        """Run a command in the checkout, and return what it printed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        here = {
            "PYTHONPATH": str(self.home),
            "PYTEST_ADDOPTS": "-q -p no:cacheprovider",
            "PYTEST_DEBUG_TEMPROOT": str(self.home),
        }
        started = subprocess.Popen(
            ["bash", "-euc", command],
            cwd=self.home,
            env={**kept, **here},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = started.communicate()
        except BaseException:  # the time is up, or Ctrl-C: nothing it started is to outlive it
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        assert started.returncode == exit_code, f"{command}\n{printed[-10_000:]}"
        return printed

    def text(self, path: str) -> str:
        """Return what a file of the checkout holds."""
        return (self.home / path).read_text(encoding="utf-8")

    def _read(self, path: str) -> tuple[Path, str]:
        assert (self.home / path).is_file(), f"there is no {path}"
        return self.home / path, self.text(path)


def _line_of(text: str, wanted: str) -> int:
    found = [place for place, line in enumerate(text.splitlines()) if line.strip() == wanted]
    assert len(found) == 1, f"the line is there {len(found)} times: {wanted}"
    return found[0]


def _line_that_closes(text: str, name: str, inside: str | None) -> int:
    """Return the place of the line with the bracket that ends what a name is given."""
    scope: ast.AST = ast.parse(text)
    if inside:
        scope = next(node for node in ast.walk(scope) if getattr(node, "name", None) == inside)
    found = []
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                found.append((node.value.end_lineno or 0) - 1)
    assert len(found) == 1, f"{name} is given something {len(found)} times"
    line = text.splitlines()[found[0]]
    assert line.lstrip()[0] in ")]}", f"{name} does not end on a line of its own: {line}"
    return found[0]
