"""Where the store is: a server's address, or a folder to open in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from engine.errors import ConfigError

EMBEDDED_PREFIX = "embedded:"
DEFAULT_DATABASE = "engine"
HTTP_PORTS = {"http": 8123, "https": 8443}
"""ClickHouse's own ports, taken where the URL names none."""


@dataclass(frozen=True, slots=True)
class EmbeddedHome:
    """A folder that one process opens with chDB.

    Parameters
    ----------
    path
        The folder; made where it is missing.
    """

    path: Path


@dataclass(frozen=True, slots=True)
class StoreEndpoint:
    """A database behind ClickHouse's HTTP protocol.

    Parameters
    ----------
    host, port
        Where it listens.
    username, password
        Who asks. Neither is shown by ``repr``'s password field; `url` holds both.
    database
        The database that unqualified table names mean.
    secure
        Whether it speaks HTTPS.
    """

    host: str
    port: int
    username: str
    password: str
    database: str = DEFAULT_DATABASE
    secure: bool = False

    @property
    def url(self) -> str:
        """The endpoint as one URL, password included, as `parse_store_url` reads it."""
        scheme = "https" if self.secure else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, password = quote(self.username, safe=""), quote(self.password, safe="")
        login = f"{user}:{password}" if password else user
        return f"{scheme}://{login}@{host}:{self.port}/{quote(self.database, safe='')}"

    def __repr__(self) -> str:
        scheme = "https" if self.secure else "http"
        return (
            f"StoreEndpoint({scheme}://{self.username}:***@{self.host}:{self.port}/{self.database})"
        )


def parse_store_url(url: str) -> EmbeddedHome | StoreEndpoint:
    """Read ``store.url``.

    Parameters
    ----------
    url
        ``embedded:PATH`` or ``http(s)://user:password@host:port/database``. User, port and
        database may be left out: ``default``, 8123 (8443) and ``engine``.

    Raises
    ------
    ConfigError
        Where it is neither.

    Examples
    --------
    >>> parse_store_url("http://ann:secret@db.example:8123/market").database
    'market'
    >>> parse_store_url("embedded:data/store")
    EmbeddedHome(path=PosixPath('data/store'))
    """
    if url.startswith(EMBEDDED_PREFIX):
        return _embedded(url.removeprefix(EMBEDDED_PREFIX))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"store.url is not a valid URL ({error}); {_EXPECTED}") from None
    if parts.scheme not in HTTP_PORTS or not parts.hostname:
        raise ConfigError(f"store.url {parts.scheme or url!r} is not understood; {_EXPECTED}")
    if parts.query or parts.fragment:
        raise ConfigError(f"store.url takes nothing after the database; {_EXPECTED}")
    database = unquote(parts.path.strip("/")) or DEFAULT_DATABASE
    if "/" in database:
        raise ConfigError(f"store.url names more than one database: {database!r}; {_EXPECTED}")
    return StoreEndpoint(
        host=parts.hostname,
        port=port or HTTP_PORTS[parts.scheme],
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=database,
        secure=parts.scheme == "https",
    )


_EXPECTED = "write embedded:PATH or http(s)://user:password@host:port/database"


def _embedded(path: str) -> EmbeddedHome:
    if not path.strip():
        raise ConfigError("store.url embedded: needs a folder, for example embedded:data/store")
    if "?" in path or "\0" in path:
        raise ConfigError(f"store.url: the folder {path!r} must not contain '?' or a null byte")
    return EmbeddedHome(Path(path))
