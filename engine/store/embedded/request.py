"""One HTTP request, read: who asks, for what, with which settings."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from multidict import MultiMapping

from engine.store.embedded.engine import TAG
from engine.store.embedded.failure import (
    AUTHENTICATION_FAILED,
    NOT_IMPLEMENTED,
    READONLY,
    REQUIRED_PASSWORD,
    refusal,
)

Role = Literal["owner", "viewer"]

OWNER = "engine"
VIEWER = "viewer"
VIEWER_SECONDS = 60
"""Longest a query of the viewer runs, unless it asks for less, seconds."""

_TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "quota_key",
        "compress",
        "decompress",
        "enable_http_compression",
        "wait_end_of_query",
        "buffer_size",
        "role",
        "client_protocol_version",
        "stacktrace",
        "close_session",
        "http_zlib_compression_level",
        "cancel_http_readonly_queries_on_client_close",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "add_http_cors_header",
    ]
)
"""URL parameters that are the protocol's own, not settings."""

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Login:
    """The two users and their passwords.

    Parameters
    ----------
    owner_password
        Of ``engine``, who may do everything.
    viewer_password
        Of ``viewer``, who may only read.
    """

    owner_password: str
    viewer_password: str

    def role(self, headers: Mapping[str, str], query: MultiMapping[str]) -> Role:
        """Say who asks.

        Raises
        ------
        DatabaseFailure
            194 without credentials, 516 with wrong ones.
        """
        user, password = _credentials(headers, query)
        if not user and not password:
            raise refusal(
                REQUIRED_PASSWORD, "REQUIRED_PASSWORD", "default: a user and password are required"
            )
        roles: tuple[tuple[str, str, Role], ...] = (
            (OWNER, self.owner_password, "owner"),
            (VIEWER, self.viewer_password, "viewer"),
        )
        for name, expected, role in roles:
            if user == name and hmac.compare_digest(password.encode(), expected.encode()):
                return role
        raise refusal(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            f"{user}: Authentication failed: password is incorrect, "
            "or there is no user with such name",
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for, apart from its statement.

    Parameters
    ----------
    role
        Who asks.
    query_id
        The client's, or a new one.
    database
        What unqualified names mean.
    default_format
        Format of the answer where the statement names none.
    settings
        Settings and ``param_*`` of this request alone.
    session_id
        Empty where there is none.
    session_timeout_s
        How long an unused session lasts, seconds.
    compress
        Whether the answer may be compressed.
    """

    role: Role
    query_id: str
    database: str
    default_format: str
    settings: dict[str, str]
    session_id: str
    session_timeout_s: float
    compress: bool


def read_ask(
    login: Login, headers: Mapping[str, str], query: MultiMapping[str], default_database: str
) -> Ask:
    """Read everything of a request but its statement and data.

    Raises
    ------
    DatabaseFailure
        Where the credentials are wrong, or something is asked for that is not offered.
    """
    role = login.role(headers, query)
    for name in ("compress", "decompress"):
        if query.get(name, "0") not in ("0", ""):
            raise refusal(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                f"{name}=1 (ClickHouse's own block framing) is not offered by the embedded store; "
                "use Content-Encoding or Accept-Encoding with enable_http_compression=1",
            )
    query_id = query.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
    return Ask(
        role=role,
        query_id=query_id,
        database=query.get("database")
        or headers.get("X-ClickHouse-Database", "")
        or default_database,
        default_format=query.get("default_format")
        or headers.get("X-ClickHouse-Format", "")
        or "TabSeparated",
        settings=_settings(query, role, query_id),
        session_id=query.get("session_id", ""),
        session_timeout_s=float(query.get("session_timeout", "60")),
        compress=query.get("enable_http_compression", "0") not in ("0", ""),
    )


def _settings(query: MultiMapping[str], role: Role, query_id: str) -> dict[str, str]:
    settings = {}
    for name, value in query.items():
        if name in _TRANSPORT or name == TAG:
            continue
        if not _SETTING_NAME.fullmatch(name):
            raise refusal(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
        settings[name] = value
    settings[TAG] = query_id
    if role == "viewer":
        if "readonly" in settings:
            raise refusal(READONLY, "READONLY", "Cannot modify 'readonly' setting in readonly mode")
        settings |= _viewer_limits(settings)
    return settings


def _viewer_limits(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what a viewer cannot change: a time limit, then no more changes at all."""
    try:
        asked = float(settings.get("max_execution_time", VIEWER_SECONDS))
    except ValueError:
        asked = VIEWER_SECONDS
    seconds = min(asked, VIEWER_SECONDS) if asked > 0 else VIEWER_SECONDS
    return {"max_execution_time": str(seconds), "readonly": "1"}


def _credentials(headers: Mapping[str, str], query: MultiMapping[str]) -> tuple[str, str]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded.strip()).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return query.get("user", ""), query.get("password", "")
