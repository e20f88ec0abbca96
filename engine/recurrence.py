"""When something is due, again and again: every so often from midnight UTC, or cron in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from cronsim import CronSim, CronSimError

from engine.clock import NS_PER_S
from engine.errors import ConfigError
from engine.moments import in_ns, parse_duration_s

_MINUTE_NS = 60 * NS_PER_S
_DAY_NS = 24 * 60 * _MINUTE_NS
_CRON_FIELDS = 5


class Due(NamedTuple):
    """The moments of a stretch of time at which something was due."""

    moments: tuple[int, ...]
    """The newest of them, ascending, UTC nanoseconds."""
    passed_over: int
    """How many there were before these."""


class Recurrence(Protocol):
    """A rule that gives moments, UTC nanoseconds."""

    def after(self, moment: int) -> int:
        """Return the first one later than `moment`."""
        ...

    def due(self, after: int, upto: int, newest: int) -> Due:
        """Return the `newest` ones in ``(after, upto]``, and count those before them."""
        ...


class Period:
    """Every so many nanoseconds, counted from 1970-01-01 00:00 UTC.

    Parameters
    ----------
    period_ns
        A day's divisor or multiple, so that it falls on midnight UTC.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns

    def after(self, moment: int) -> int:
        """Return the first one later than `moment`."""
        return (moment // self._period_ns + 1) * self._period_ns

    def due(self, after: int, upto: int, newest: int) -> Due:
        """Return the `newest` ones in ``(after, upto]``, and count those before them."""
        first, last = after // self._period_ns + 1, upto // self._period_ns
        count = max(0, last - first + 1)
        kept = min(count, newest)
        moments = tuple(number * self._period_ns for number in range(last - kept + 1, last + 1))
        return Due(moments, count - kept)


class Cron:
    """Five fields of cron, in UTC.

    Parameters
    ----------
    expression
        Minute, hour, day of month, month, day of week.

    Raises
    ------
    ValueError
        Where it is no such thing, or never comes.
    """

    def __init__(self, expression: str) -> None:
        if len(expression.split()) != _CRON_FIELDS:
            raise ValueError("cron has five fields")
        self._expression = expression
        try:
            next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(str(error)) from None
        except StopIteration:
            raise ValueError("there is no such day") from None

    def after(self, moment: int) -> int:
        """Return the first one later than `moment`."""
        return next(self._from(moment, reverse=False))

    def due(self, after: int, upto: int, newest: int) -> Due:
        """Return the `newest` ones in ``(after, upto]``, and count those before them.

        Takes about 10 µs for each moment in the stretch.
        """
        moments: list[int] = []
        passed_over = 0
        # Backwards from just behind the end, which is itself included.
        for moment in self._from(upto + NS_PER_S, reverse=True):
            if moment > upto:
                continue
            if moment <= after:
                break
            if len(moments) < newest:
                moments.append(moment)
            else:
                passed_over += 1
        return Due(tuple(reversed(moments)), passed_over)

    def _from(self, moment: int, *, reverse: bool) -> Iterator[int]:
        # Whole seconds: cron knows nothing finer, and what it gives is a whole minute.
        start = datetime.fromtimestamp(moment // NS_PER_S, UTC)
        for found in CronSim(self._expression, start, reverse=reverse):
            yield int(found.timestamp()) * NS_PER_S


def parse_recurrence(text: str, option: str) -> Recurrence:
    """Read ``15m``, ``1h``, ``1d`` or five fields of cron.

    Parameters
    ----------
    text
        A whole part of a day, or whole days, at least a minute: due from midnight UTC on, days
        counted from 1970-01-01. Or cron: ``5 * * * *``.
    option
        Where it was given, for the message.

    Raises
    ------
    ConfigError
        Where it is neither.

    Examples
    --------
    >>> hour = 3_600_000_000_000
    >>> parse_recurrence("1h", "--every").after(5 * hour) == 6 * hour
    True
    >>> parse_recurrence("30 2 * * *", "--every").after(0) == 2 * hour + hour // 2
    True
    """
    if len(text.split()) > 1:
        try:
            return Cron(text)
        except ValueError as error:
            raise ConfigError(
                f"{option} {text!r} is not cron ({error}); its five fields are minute, hour, day "
                "of month, month and day of week, as in '5 * * * *'"
            ) from None
    try:
        period = in_ns(parse_duration_s(text, option))
    except ConfigError:
        raise ConfigError(
            f"{option} {text!r} is no recurrence; write 15m, 1h or 1d, or five fields of cron "
            "('5 * * * *')"
        ) from None
    if period < _MINUTE_NS or (_DAY_NS % period and period % _DAY_NS):
        raise ConfigError(
            f"{option} {text!r} is not a whole part of a day of at least a minute, nor whole days; "
            "write 15m, 1h or 1d, or say with cron when it is due ('0 */7 * * *')"
        )
    return Period(period)
