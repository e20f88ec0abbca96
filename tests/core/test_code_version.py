"""The version of the code: the commit of a checkout, elsewhere a hash of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path

import pytest

from engine.code_version import ROOT, code_version


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with code such as ours, without history."""
    root = tmp_path / "code"
    for name, content in (
        ("pyproject.toml", '[project]\nname = "signal-engine"\nversion = "7.8.9"\n'),
        ("engine/store/client.py", "a = 1\n"),
        ("engine/terms.tsv", "moon\t1\n"),
        ("jobs/report.py", "b = 2\n"),
        ("docs/jobs.md", "# Jobs\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.test", "-c", "commit.gpgsign=false")
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.stdout.strip()


def test_code_version_of_a_checkout_names_its_commit_and_whether_files_differ(code: Path) -> None:
    git(code, "init", "-q")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "first")
    commit = git(code, "rev-parse", "--short=12", "HEAD")
    assert code_version(code) == f"7.8.9+{commit}"
    (code / "jobs" / "report.py").write_text("b = 3\n")
    assert code_version(code) == f"7.8.9+{commit}-dirty"


def test_code_version_without_history_is_a_hash_that_only_the_sources_change(
    code: Path, tmp_path: Path
) -> None:
    first = code_version(code)
    assert first == "7.8.9+src.37589878c609"
    other = tmp_path / "elsewhere"
    shutil.copytree(code, other)
    (other / "engine" / "__pycache__").mkdir()
    (other / "engine" / "__pycache__" / "client.pyc").write_bytes(b"\0")
    (other / "engine" / f"scanner{EXTENSION_SUFFIXES[0]}").write_bytes(b"\0")
    (other / "docs" / "jobs.md").unlink()
    os.utime(other / "jobs" / "report.py", (0, 0))
    assert code_version(other) == first
    (other / "engine" / "terms.tsv").write_text("moon\t2\n")
    changed = code_version(other)
    shutil.copy(code / "engine" / "terms.tsv", other / "engine" / "terms.tsv")
    (other / "jobs" / "report.py").rename(other / "jobs" / "reports.py")
    assert len({first, changed, code_version(other)}) == 3


def test_code_version_where_git_knows_no_commit_is_the_hash(code: Path) -> None:
    without = code_version(code)
    (code / ".git").write_text("gitdir: /nowhere\n")  # of a worktree that was copied
    assert code_version(code) == without


def test_code_version_of_an_installed_package_has_its_number(code: Path) -> None:
    (code / "pyproject.toml").unlink()
    assert code_version(code).split("+")[0] == version("signal-engine")


def test_code_version_of_this_code_has_its_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\+(src\.)?[0-9a-f]{12}(-dirty)?", code_version(ROOT))
