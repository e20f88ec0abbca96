"""What clients write in a URL: names of instruments, times, and parameters that do not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Query, Request
from fastapi.routing import APIRoute

from engine.clock import NS_PER_S, parse_iso_utc
from serve.problems import Problem, bad_parameter

MAX_TIME_NS = 9_214_646_400 * NS_PER_S
"""2262-01-01: the last year that 64-bit nanoseconds can hold."""

_EPOCH_UNITS = ((11, NS_PER_S), (14, 1_000_000), (17, 1_000), (19, 1))
"""(most digits, nanoseconds in one): seconds, milliseconds, microseconds, nanoseconds."""
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")

TimeText = Annotated[
    str | None,
    Query(
        description="ISO-8601 with a zone (`2024-08-08T23:54:15Z`), or a whole number since "
        "1970: seconds (up to 11 digits), milliseconds (14), microseconds (17), nanoseconds.",
        examples=["2024-08-08T00:00:00Z"],
    ),
]


def parse_time(name: str, text: str) -> int:
    """Read a time parameter into UTC nanoseconds.

    Parameters
    ----------
    name
        Of the parameter, for the error.
    text
        ISO-8601 with a zone, or a whole number since 1970 whose digits tell its unit.

    Raises
    ------
    Problem
        422 where it is neither, has no zone, or lies outside 1970 to 2261.

    Examples
    --------
    >>> parse_time("start", "1723161255") == parse_time("start", "2024-08-08T23:54:15Z")
    True
    """
    if text.isascii() and text.isdigit() and len(text) <= 19:
        time_ns = next(int(text) * unit for digits, unit in _EPOCH_UNITS if len(text) <= digits)
    else:
        try:
            # An unescaped plus in a URL arrives as a blank.
            time_ns = parse_iso_utc(_LOST_PLUS.sub(r"+\1", text))
        except (ValueError, OverflowError):
            raise bad_parameter(
                name,
                "must be ISO-8601 with a zone (2024-08-08T23:54:15Z) or whole seconds, ms, us or "
                f"ns since 1970 (given {text[:60]!r})",
            ) from None
    if not 0 <= time_ns < MAX_TIME_NS:
        raise bad_parameter(name, f"must lie in 1970 to 2261 (given {text[:60]!r})")
    return time_ns


def parse_range(
    start: str | None, end: str | None, *, now_ns: int, default_span_ns: int
) -> tuple[int, int]:
    """Read ``[start, end)``; `end` defaults to now, `start` to a span before the end.

    Raises
    ------
    Problem
        422 where one cannot be read or `start` is not before `end`.
    """
    # One more than now: what bears this very moment as its time is in.
    end_ns = now_ns + 1 if end is None else parse_time("end", end)
    if start is None:
        return max(0, end_ns - default_span_ns), end_ns
    start_ns = parse_time("start", start)
    if start_ns >= end_ns:
        against = "now, the default end" if end is None else f"end ({end})"
        raise bad_parameter("start", f"must be before {against} (given {start[:60]!r})")
    return start_ns, end_ns


def resolve_instrument(text: str, universe: Iterable[str]) -> str:
    """Return the canonical name that `text` means, whatever its case.

    Raises
    ------
    Problem
        404 with near matches where the universe holds none such.
    """
    names = list(universe)
    wanted = text.upper()
    if wanted in names:
        return wanted
    near = near_instruments(wanted, names)
    hint = f"; did you mean {near[0]}?" if near else "; GET /v1/signals lists the universe"
    raise Problem(
        404, "unknown-instrument", f"instrument {text[:60]!r} is unknown{hint}",
        members={"near": near},
    )  # fmt: skip


def near_instruments(wanted: str, names: list[str]) -> list[str]:
    """Return up to five names that someone who wrote `wanted` may have meant, best first."""
    letters = re.sub(r"[^A-Z0-9]", "", wanted)
    joined = [name for name in names if name.replace("-", "") == letters]
    base = wanted.partition("-")[0]
    of_base = [name for name in names if name.partition("-")[0] == base]
    alike = difflib.get_close_matches(wanted, names, n=5, cutoff=0.6)
    return list(dict.fromkeys([*joined, *of_base, *alike]))[:5]


async def refuse_unknown_parameters(request: Request) -> None:  # else it runs in a thread
    """Refuse query parameters that the route does not have, and those given twice.

    A misspelt filter that is silently ignored answers another question than was asked.

    Raises
    ------
    Problem
        422 naming the parameter, and the nearest one the route knows.
    """
    if not request.query_params:
        return
    route = request.scope.get("route")
    dependant = route.dependant if isinstance(route, APIRoute) else None
    known = [field.alias for field in dependant.query_params] if dependant else []
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
            raise bad_parameter(name, f"unknown parameter; {hint}")
        if name in seen:
            raise bad_parameter(name, "given more than once")
        seen.add(name)
