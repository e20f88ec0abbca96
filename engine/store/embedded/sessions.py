"""Sessions of the HTTP interface: the settings that a client ``SET``, remembered.

Every request has a connection of its own; a session is the list of ``SET`` and ``USE``
statements to repeat on it. Temporary tables are not kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.store.embedded.failure import refusal

MAX_STATEMENTS = 100
MAX_SESSIONS = 1_000


@dataclass(slots=True)
class _Session:
    expires_s: float
    statements: list[str] = field(default_factory=list)


class Sessions:
    """All sessions, forgotten after their time-out.

    Parameters
    ----------
    now_s
        A clock that never runs backwards, seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def statements(self, session_id: str, timeout_s: float) -> tuple[str, ...]:
        """Return what to repeat for a session, and keep the session for `timeout_s` more."""
        if not session_id:
            return ()
        with self._lock:
            now = self._now_s()
            session = self._sessions.get(session_id)
            if session is None or session.expires_s < now:
                return ()
            session.expires_s = now + timeout_s
            return tuple(session.statements)

    def remember(self, session_id: str, timeout_s: float, statement: str) -> None:
        """Keep a statement that changed the session.

        Raises
        ------
        DatabaseFailure
            Where there are too many statements or sessions.
        """
        with self._lock:
            now = self._now_s()
            self._sessions = {k: s for k, s in self._sessions.items() if s.expires_s >= now}
            session = self._sessions.setdefault(session_id, _Session(now + timeout_s))
            if len(self._sessions) > MAX_SESSIONS or len(session.statements) >= MAX_STATEMENTS:
                raise refusal(372, "SESSION_NOT_FOUND", "too many sessions or SET statements")
            session.expires_s = now + timeout_s
            session.statements.append(statement)
