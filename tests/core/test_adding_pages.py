"""The pages of docs/adding speak of what is there, or of what they make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.adding_pages import PAGES, ROOT

FOLDERS = ("engine", "jobs", "serve", "tests", "docs", "configs")
THERE = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
EACH = pytest.mark.parametrize("page", sorted(page.stem for page in PAGES.glob("*.md")))
PLACEHOLDER = "NAME"


def words_of(page: str) -> str:
    """A page without its line breaks: what it says may be cut anywhere."""
    return " ".join((PAGES / f"{page}.md").read_text(encoding="utf-8").split())


def files_called(name: str) -> list[Path]:
    return [path for path in THERE if f"/{path.relative_to(ROOT)}".endswith(f"/{name}")]


@EACH
def test_adding_page_names_files_that_are_there_or_that_it_makes(page: str) -> None:
    words = words_of(page)
    made = set(re.findall(r"the new file `([\w./]+)`", words))
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", words))
    assert {
        name for name in named - made if PLACEHOLDER not in name and not files_called(name)
    } == set()


@EACH
def test_adding_page_names_what_its_files_hold(page: str) -> None:
    for name, file in re.findall(r"`(\w+)` (?:of|in) `((?:\w+/)*\w+\.py)`", words_of(page)):
        held = [path.read_text(encoding="utf-8") for path in files_called(file)]
        assert any(re.search(rf"\b{name}\b", text) for text in held), f"{name} in {file}"


@EACH
def test_adding_page_links_to_headings_that_are_there(page: str) -> None:
    for link, anchor in re.findall(r"\]\(([\w./]+\.md)(?:#([\w-]+))?\)", words_of(page)):
        linked = (PAGES / link).read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.+)$", linked, re.MULTILINE)
        assert not anchor or anchor in [head.lower().replace(" ", "-") for head in heads], anchor
