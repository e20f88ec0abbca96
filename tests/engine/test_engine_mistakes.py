"""A person's mistakes: one clear sentence, a non-zero exit, and nothing started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from command import ROOT, Command

LOCAL = str(ROOT / "configs" / "local.yaml")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("up", "--config", "absent.yaml"), 2, "absent.yaml does not exist"),
        (
            ("up", "--config", LOCAL, "--set", "serve.prot=1"),
            2,
            "error: --set: unknown key 'serve.prot'; did",
        ),
        (("up",), 2, "no exchange has instruments"),
        (("up", "--config", LOCAL, "--speed", "2"), 2, "--speed belongs to --replay"),
        (("up", "--replay", "absent.gz"), 2, "absent.gz"),
        (("up", "--config", LOCAL, "--set", "ranking.weights=absent"), 2, "absent"),
        (("status",), 4, "no engine is running"),
        (("signals",), 4, "no engine is running"),
        (("down",), 4, "no engine is running"),
        (("sql", "SELECT 1"), 4, "there is no store at"),
        (("config", "check", "--set", "a=1"), 2, "unknown key 'a'"),
        (("sql", "SELECT 1", "--format", "xml"), 2, "xml"),
        (("frobnicate",), 2, "No such command 'frobnicate'; there are up, down, "),
        (("stauts",), 2, "No such command 'stauts'; did you mean 'status'?"),
        (("submit",), 2, "which job? there are backfill, "),
    ],
)
def test_command_mistake_is_one_sentence(
    command: Command, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = command.run(*arguments)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(command.folder.glob("state/run-*"))


def test_up_busy_port_is_named_with_its_key(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command.run("up", "--config", LOCAL, "--set", f"serve.port={port}")
    assert done.returncode == 3
    assert f"127.0.0.1:{port} is in use" in done.stderr
    assert "--set serve.port=N" in done.stderr


def test_up_data_folder_that_cannot_be_is_named(command: Command) -> None:
    (command.folder / "file").write_text("")
    done = command.run("up", "--config", LOCAL, "--set", "data_dir=file/data")
    assert done.returncode == 3
    assert "cannot be written" in done.stderr


def test_doctor_says_what_is_wrong_and_how_to_mend_it(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command.run("doctor", "--config", LOCAL, "--set", f"metrics.port={port}")
    assert done.returncode == 3
    assert "metrics.port=N" in done.stdout
    for name in (
        *("python", "ray", "gpu", "frames", "disk", "store", "bus"),
        *("ray token", "port serve.port"),
    ):
        assert name in done.stdout


@pytest.mark.parametrize(
    "name", ["up", "down", "status", "signals", "sql", "doctor", "config show", "config check"]
)
def test_every_command_has_help_with_an_example(command: Command, name: str) -> None:
    done = command.run(*name.split(), "--help")
    assert done.returncode == 0
    assert "Example: engine " + name in done.stdout.replace("**", "")


def test_sql_with_no_engine_opens_the_configured_store(command: Command) -> None:
    (command.folder / "data" / "store").mkdir(parents=True)
    done = command.run("sql", "SELECT 1 AS one, 'a,b' AS text", "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'one,text\n1,"a,b"\n'


def test_sql_refused_by_the_database_is_its_own_sentence(command: Command) -> None:
    (command.folder / "data" / "store").mkdir(parents=True)
    done = command.run("sql", "SELECT * FROM absent")
    assert done.returncode == 2
    assert "absent" in done.stderr
    assert "Traceback" not in done.stderr


def test_sql_with_a_syntax_error_is_one_sentence(command: Command) -> None:
    (command.folder / "data" / "store").mkdir(parents=True)
    done = command.run("sql", "SELEC 1")
    assert done.stderr == "error: Syntax error: failed at position 7 (1) (line 1, col 7): 1\n"
