"""Which markets and which stretch of time a job works on."""

from __future__ import annotations

from engine.domain.instrument import ExchangeName
from engine.errors import ConfigError
from engine.moments import parse_moment
from engine.settings.section import JobSection


class SpanSection(JobSection):
    """A job over a stretch of time."""

    begin: str = ""
    """First moment, included: a day, or a time with zone; empty for all there is."""
    end: str = ""
    """Last moment, not included, likewise; empty for now."""

    def require(self) -> None:
        """Refuse moments that cannot be read, or that are the wrong way round."""
        begin, end = self.moments()
        if begin is not None and end is not None and begin >= end:
            raise ConfigError(f"begin {self.begin} is not before end {self.end}")

    def moments(self) -> tuple[int | None, int | None]:
        """Return begin and end in UTC nanoseconds, None where one is left open.

        Raises
        ------
        ConfigError
            Where one is neither a day nor a time with zone.
        """
        return (
            parse_moment(self.begin, "begin") if self.begin else None,
            parse_moment(self.end, "end") if self.end else None,
        )


class MarketsSection(SpanSection):
    """A job over some markets and a stretch of time."""

    exchange: ExchangeName | None = None
    """The venue; all where it is not given."""
    instruments: tuple[str, ...] = ()
    """Such as ``BTC-USDT``; all of the venue where none are given."""
