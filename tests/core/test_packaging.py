"""What a wheel must hold besides modules: weights, word lists, templates, DDL."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


SOURCES = {ROOT / source for module in SETUPTOOLS["ext-modules"] for source in module["sources"]}


def data_files(package: str) -> set[Path]:
    found = (ROOT / package).rglob("*")
    return {
        path.relative_to(ROOT / package)
        for path in found
        if path.is_file() and path.suffix not in (".py", ".pyc", ".so") and path not in SOURCES
    }


def test_every_compiled_module_has_its_sources_and_may_be_left_out() -> None:
    assert all(source.is_file() for source in SOURCES)
    assert all(module["optional"] for module in SETUPTOOLS["ext-modules"])


@pytest.mark.parametrize("package", ["engine", "jobs", "serve"])
def test_every_data_file_is_in_the_package(package: str) -> None:
    globs = SETUPTOOLS["package-data"].get(package, [])
    left_out = {
        str(path) for path in data_files(package) if not any(path.match(glob) for glob in globs)
    }
    assert left_out == set()


def test_every_pattern_of_data_files_finds_something() -> None:
    for package, globs in SETUPTOOLS["package-data"].items():
        held = data_files(package)
        idle = [glob for glob in globs if not any(path.match(glob) for path in held)]
        assert idle == [], package
