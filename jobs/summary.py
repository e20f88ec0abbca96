"""What came of a job: as a table for people, as JSON for programs and the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.domain.job import Outcome


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

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"rows": self.rows}

    def show(self, console: Console) -> None:
        """Print it as a table."""
        table = Table(title=f"{self.job} {self.run_id}", title_justify="left", header_style="bold")
        table.add_column("")
        table.add_column("rows", justify="right")
        table.add_column("rows/s", justify="right")
        working = max(self.seconds - self.startup_seconds, 1e-9)
        for name, rows in self.written.items():
            table.add_row(name, f"{rows:,}", f"{rows / working:,.0f}")
        for why, number in self.skipped.items():
            table.add_row(f"[yellow]skipped[/yellow]: {why}", f"{number:,}", "")
        if not self.written and not self.skipped:
            table.add_row("nothing to do", "0", "")
        console.print(table)
        for key, value in self.notes.items():
            console.print(f"{key}: {_plain(value)}")
        console.print(
            f"{self.outcome} in {self.seconds:.1f} s, {self.startup_seconds:.1f} s of it to start"
        )


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
