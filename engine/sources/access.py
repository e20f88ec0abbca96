"""How a source's requests say who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from engine.sources.answer import Answer


class Post(Protocol):
    """Sends a form; what an `Authorizer` is given."""

    async def __call__(self, url: str, form: Mapping[str, str], auth: tuple[str, str]) -> Answer:
        """Send it with basic authentication; raises as `SourceClient.get` does."""
        ...


class Authorizer(Protocol):
    """Gets tokens that expire."""

    async def headers(self, post: Post) -> Mapping[str, str]:
        """Return the headers that go with a request, from a new token where none is valid."""
        ...

    def expire(self) -> None:
        """Forget the token: the server does not accept it."""
        ...


class Access(NamedTuple):
    """How requests say who asks."""

    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    """Goes with every request; never shown."""
    secrets: tuple[str, ...] = ()
    """Texts that no message may hold."""
    variables: tuple[str, ...] = ()
    """Environment variables to look at where access is denied."""
    authorizer: Authorizer | None = None


ANYBODY = Access()
"""No key."""
