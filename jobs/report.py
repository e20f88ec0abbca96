"""The best of a ranking, and why, as files to read.

Example: ``engine submit report --set top=5 --wait``, or ``python -m jobs.report``.
"""

from __future__ import annotations

from pathlib import Path

from engine.actors.wiring import markets_of, ranked_markets
from engine.clock import iso_utc
from engine.config import Config
from engine.domain.instrument import Market
from engine.features.universe import in_order
from engine.reports.files import write_report
from engine.store.report_source import ReportSource
from jobs.run import command, running
from jobs.summary import Summary

JOB = "report"


def main(config: Config) -> Summary:
    """Gather a report and write it.

    Raises
    ------
    EngineError
        Where there is nothing to rank, or the folder cannot be written.
    """
    with running(JOB, config) as run:
        report = ReportSource(run.store, config, lambda found: chosen(found, config)).report()
        folder = Path(config.report.out or Path(config.data_dir) / "reports")
        files = write_report(report, folder, config.report.formats)
        run.wrote("signals in the report", len(report.signals))
        run.note("as of", iso_utc(report.as_of))
        run.note("ranking", f"{report.ranked} of {len(report.universe)}, from {report.source}")
        run.note("files", [str(file) for file in files])
        return run.summary


def chosen(found: list[Market], config: Config) -> list[Market]:
    """Return which markets are compared: for each base currency one, as the engine chooses.

    Markets of the configuration come first, in its order; others follow by name.
    """
    return ranked_markets(in_order(found, markets_of(config)))


if __name__ == "__main__":
    raise SystemExit(command(JOB, main))
