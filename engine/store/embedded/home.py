"""The embedded store as one thing to start and stop."""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import secrets
import threading
from pathlib import Path

from aiohttp import web

from engine.errors import ConfigError, StartError
from engine.store.embedded.engine import ChdbEngine
from engine.store.embedded.execution import Execution
from engine.store.embedded.http import HttpInterface
from engine.store.embedded.lock import HomeLock, Owner
from engine.store.embedded.request import OWNER, VIEWER, Login
from engine.store.endpoint import StoreEndpoint, parse_store_url

GRACE_S = 1.0
"""How long running statements may go on when the store stops, seconds."""
MAX_HEADER_BYTES = 1024 * 1024
"""Longest request line: a ``GET`` holds its whole statement in it."""

_process_path: list[Path] = []
_process_lock = threading.Lock()


class EmbeddedStore:
    """chDB behind ClickHouse's HTTP protocol, in threads of this process.

    Only one process can open a path, and a process only one path at a time.

    Parameters
    ----------
    path
        Folder of the database; made where it is missing.
    host
        Address to listen on; loopback unless told otherwise.
    port
        Port to listen on; 0 takes a free one.
    memory_mb
        Memory that all queries together may take, MiB.
    password, viewer_password
        Of the users ``engine`` (everything) and ``viewer`` (reading only). Without them, the
        folder's last ones are used, or new random ones.

    Examples
    --------
    >>> store = EmbeddedStore(Path("data/store"))          # doctest: +SKIP
    >>> endpoint = store.start()                           # doctest: +SKIP
    >>> store.stop()                                       # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path,
        host: str = "127.0.0.1",
        port: int = 0,
        memory_mb: int = 2048,
        password: str | None = None,
        viewer_password: str | None = None,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        if "?" in str(self.path):
            raise ConfigError(f"the store's folder {self.path} must not contain '?'")
        self._host = host
        self._port = port
        self._passwords = (password, viewer_password)
        self._lock = HomeLock(self.path)
        self._engine = ChdbEngine(self.path, memory_mb)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._endpoints: tuple[StoreEndpoint, StoreEndpoint] | None = None

    @property
    def endpoint(self) -> StoreEndpoint:
        """Where the engine reads and writes.

        Raises
        ------
        StartError
            Where the store is not started.
        """
        return self._started()[0]

    @property
    def viewer(self) -> StoreEndpoint:
        """Where dashboards read: the same store, as a user who cannot change anything."""
        return self._started()[1]

    def _started(self) -> tuple[StoreEndpoint, StoreEndpoint]:
        if self._endpoints is None:
            raise StartError(f"the embedded store {self.path} is not started")
        return self._endpoints

    def start(self) -> StoreEndpoint:
        """Open the folder, listen, and return where.

        Raises
        ------
        StoreLocked
            Where another process owns the folder.
        StartError
            Where the folder cannot be written, the port is taken, the disk is full, or this
            process already has another store open.
        """
        if self._endpoints is not None:
            return self._endpoints[0]
        _make_folder(self.path)
        last = self._lock.acquire()
        try:
            _claim_process(self.path)
            try:
                self._open(last)
            except BaseException:
                _release_process(self.path)
                raise
        except BaseException:
            self._lock.release()
            raise
        # chDB must be closed before the interpreter takes its threads away.
        atexit.register(self.stop)
        return self.endpoint

    def _open(self, last: Owner | None) -> None:
        login = _login(self._passwords, last)
        self._engine.open()
        ready = threading.Event()
        outcome: list[int | OSError] = []

        def serve() -> None:
            asyncio.run(self._serve(login, ready, outcome))

        self._thread = threading.Thread(target=serve, name="store-http", daemon=True)
        self._thread.start()
        ready.wait()
        port = outcome[0] if outcome else OSError(errno.EIO, "the server ended")
        if isinstance(port, OSError):
            self._thread.join()
            self._engine.close()
            raise StartError(_why_not(self._host, self._port, port)) from None
        owner = StoreEndpoint(self._host, port, OWNER, login.owner_password)
        viewer = StoreEndpoint(self._host, port, VIEWER, login.viewer_password)
        self._endpoints = (owner, viewer)
        try:
            self._lock.publish(owner.url, viewer.url)
        except StartError:
            self._shut()
            raise

    async def _serve(
        self, login: Login, ready: threading.Event, outcome: list[int | OSError]
    ) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        execution = Execution(self._engine)
        runner = web.AppRunner(
            HttpInterface(self._engine, execution, login).application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=GRACE_S,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            outcome.append(int(runner.addresses[0][1]))
            ready.set()
            await self._stopping.wait()
        except OSError as error:
            outcome.append(error)
        finally:
            await runner.cleanup()
            await execution.close(GRACE_S)
            ready.set()

    def stop(self) -> None:
        """Let running statements finish for a second, cancel the rest, close. Idempotent."""
        if self._endpoints is None:
            return
        atexit.unregister(self.stop)
        self._shut()
        _release_process(self.path)
        self._lock.release()

    def _shut(self) -> None:
        self._endpoints = None
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._engine.close()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"the store's folder {path} cannot be made: {error.strerror}; "
            "choose another store.url or mend its permissions"
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"the store's folder {path} cannot be written: mend its permissions")


def _claim_process(path: Path) -> None:
    with _process_lock:
        if _process_path:
            raise StartError(
                f"this process already has the store {_process_path[0]} open; "
                "chDB opens one folder per process"
            )
        _process_path.append(path)


def _release_process(path: Path) -> None:
    with _process_lock:
        if path in _process_path:
            _process_path.remove(path)


def _login(passwords: tuple[str | None, str | None], last: Owner | None) -> Login:
    known = (_password(last.url), _password(last.viewer_url)) if last else ("", "")
    owner, viewer = (
        given or kept or secrets.token_urlsafe(24)
        for given, kept in zip(passwords, known, strict=True)
    )
    return Login(owner, viewer)


def _password(url: str) -> str:
    try:
        endpoint = parse_store_url(url)
    except ConfigError:
        return ""
    return endpoint.password if isinstance(endpoint, StoreEndpoint) else ""


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; free it or set store.port to another (0: any)"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} may not be opened by this user; set store.port above 1023"
    return f"the embedded store cannot listen on {host}:{port}: {error.strerror or error}"
