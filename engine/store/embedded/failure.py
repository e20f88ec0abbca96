"""Database errors as ClickHouse's HTTP interface words them."""

from __future__ import annotations

import re

_CODE = re.compile(r"Code: (\d+)\. ")

SYNTAX_ERROR = 62
NOT_IMPLEMENTED = 48
READONLY = 164
UNKNOWN_EXCEPTION = 1002
AUTHENTICATION_FAILED = 516
REQUIRED_PASSWORD = 194
INCORRECT_DATA = 117
SUPPORT_IS_DISABLED = 344
QUERY_WAS_CANCELLED = 394

_STATUS = {
    REQUIRED_PASSWORD: 401,
    **dict.fromkeys((192, 193, AUTHENTICATION_FAILED, 497), 403),
    # what was written cannot be understood
    **dict.fromkeys(
        (6, 25, 26, 27, 33, 36, 38, 41, 43, 53, 62, 69, 72, 117, 130, 427, 456, 457), 400
    ),
    # what was named is not there
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 83, 115, 366), 404),
    159: 408,
    223: 413,
    NOT_IMPLEMENTED: 501,
    **dict.fromkeys((76, 209, 1000), 503),
}


class DatabaseFailure(Exception):
    """The database, or this interface in its stead, refuses a statement.

    Parameters
    ----------
    code
        ClickHouse's error code.
    message
        The text as ClickHouse would send it: ``Code: N. DB::Exception: …``.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse gives this code."""
        return _STATUS.get(self.code, 500)

    @property
    def body(self) -> bytes:
        """The answer's body."""
        return f"{self}\n".encode()


def refusal(code: int, name: str, message: str) -> DatabaseFailure:
    """Make a failure of this interface's own, in ClickHouse's words."""
    return DatabaseFailure(code, f"Code: {code}. DB::Exception: {message} ({name})")


def failure_of(error: Exception) -> DatabaseFailure:
    """Read what chDB raised; an error without a code keeps its text under code 1002."""
    if isinstance(error, DatabaseFailure):
        return error
    text = str(error)
    found = _CODE.search(text)
    if found is None:
        return refusal(UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text)
    return DatabaseFailure(int(found[1]), text[found.start() :].strip())
