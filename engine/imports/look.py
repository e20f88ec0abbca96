"""What a look at all files found, and what their instruments are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.clock import iso_utc
from engine.domain.instrument import first_generation
from engine.domain.market import Listing
from engine.domain.timeframe import Timeframe
from engine.imports.census import Census
from engine.imports.generations import name_generations
from engine.imports.survey import missing, spans
from engine.imports.symbols import Spelling
from engine.imports.verdict import worst


@dataclass(slots=True)
class Look:
    """What a look at all files found.

    Parameters
    ----------
    censuses
        Of the files that can be used.
    unusable
        File -> why it cannot be used at all.
    seams
        Instrument -> from when on it has which other name.
    listings
        Rows for the registry.
    doubts
        Why it is left as it is for some symbols.
    """

    censuses: list[Census]
    unusable: dict[str, str]
    seams: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def instruments(self) -> set[str]:
        """What the files hold candles of, generations included."""
        names = {name for census in self.censuses for name in census.told}
        return names | {name for seams in self.seams.values() for _, name in seams}

    @property
    def span(self) -> tuple[int, int]:
        """First open and last close time of all sound rows, UTC nanoseconds."""
        runs = [each for census in self.censuses for each in census.told.values()]
        return min(int(each[0, 0]) for each in runs), max(int(each[-1, 1]) for each in runs)

    def name(
        self, exchange: str, spelling: Spelling, known: Sequence[Listing], silence: int
    ) -> None:
        """Say which instrument each symbol names when.

        Parameters
        ----------
        exchange, spelling
            The venue, and how it spells instruments.
        known
            Its registry.
        silence
            How long a symbol must be silent to be another instrument's, nanoseconds.
        """
        for name, each in spans(self.censuses, silence).items():
            rows = [row for row in known if first_generation(row.instrument) == name]
            found = name_generations(exchange, name, spelling.symbol(name), each, rows, silence)
            if found.seams:
                self.seams[name] = found.seams
            self.listings += found.listings
            if found.doubt:
                self.doubts.append(found.doubt)

    def left_out(self) -> Counter[str]:
        """Return how many sound rows are not imported, by reason."""
        return +sum((census.left_out for census in self.censuses), Counter())

    def notes(self) -> dict[str, object]:
        """Return what there is to say of what the files hold; plain values."""
        ladder = list(Timeframe)
        start, end = self.span
        starts = {name: [time for time, _ in seams] for name, seams in self.seams.items()}
        told: dict[str, object] = {
            "files": len(self.censuses),
            "timeframes": sorted({each.timeframe for each in self.censuses}, key=ladder.index),
            "instruments": len(self.instruments),
            "from": iso_utc(start),
            "to": iso_utc(end),
            "missing bars": worst(missing(self.censuses, starts)),
        }
        seams = sorted((name, time) for each in self.seams.values() for time, name in each)
        maybe = {
            "rows out of order": sum(each.disordered for each in self.censuses),
            "tickers used again": [f"{name} from {iso_utc(t)[:10]}" for name, t in seams],
            "ended": sorted(r.instrument for r in self.listings if r.status == "delisted"),
            "registry": "; ".join(self.doubts),
            "files not used": "; ".join(self.unusable.values()),
        }
        return told | {key: value for key, value in maybe.items() if value}
