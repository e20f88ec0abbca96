"""What came of a job: as a table for people, as JSON for programs and the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.domain.job import Outcome

STYLES: Mapping[Outcome, str] = {
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "stopped": "yellow",
    "lost": "red",
}
"""How an outcome looks on a terminal."""


@dataclass(slots=True)
class Summary:
    """Counts of one run."""

    job: str
    run_id: str
    outcome: Outcome = "running"
    seconds: float = 0.0
    startup_seconds: float = 0.0
    """Of those, until the first row was worked on: Ray's start above all."""
    written: dict[str, int] = field(default_factory=dict)
    """Table -> rows written."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Why -> how many rows or units were left out."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else there is to say; plain values."""
    problem: str = ""
    """Why it failed."""

    @property
    def rows(self) -> int:
        """Rows written, all tables together."""
        return sum(self.written.values())

    @property
    def working_seconds(self) -> float:
        """Seconds after the start-up; rates are of these."""
        return max(self.seconds - self.startup_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"rows": self.rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Summary:
        """Read what `as_dict` gave; what this version does not know is passed over."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def show(self, console: Console) -> None:
        """Print it as a table."""
        # Names and reasons may hold brackets: they are text, not markup.
        console.print(Text(self.run_id, "bold"), soft_wrap=True)
        table = Table(header_style="bold")
        table.add_column("")
        table.add_column("rows", justify="right")
        table.add_column("rows/s", justify="right")
        for name, rows in self.written.items():
            table.add_row(Text(name), f"{rows:,}", f"{rows / self.working_seconds:,.0f}")
        for why, number in self.skipped.items():
            table.add_row(Text("skipped: ", "yellow") + Text(why), f"{number:,}", "")
        if not self.written and not self.skipped and self.outcome == "done":
            table.add_row("nothing to do", "0", "")
        if table.row_count:
            console.print(table)
        for key, value in self.notes.items():
            console.print(Text(f"{key}: {_plain(value)}"), soft_wrap=True)
        console.print(
            Text(self.outcome, STYLES[self.outcome])
            + Text(f" in {self.seconds:.1f} s, {self.startup_seconds:.1f} s of it to start")
        )
        if self.problem:
            console.print(Text("problem: ", "red") + Text(self.problem), soft_wrap=True)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
