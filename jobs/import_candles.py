"""Candles from files, or from a venue's REST, into the store.

::

    python -m jobs.import_candles --set path=candles.parquet --set naive_timezone=UTC
    engine submit import_candles --set path=candles/ --set exchange=binance_perp --wait

Every file is looked at from end to end before a row is written. Then tasks read parts of files
again and write them, piece by piece; only counts pass through Ray, never rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import pyarrow as pa

from engine.clock import SystemClock
from engine.config import Config
from engine.domain.instrument import first_generation
from engine.domain.quarantine import QuarantinedRow
from engine.exchanges.registry import exchange as adapter_of
from engine.imports import survey
from engine.imports.census import Census, flawed_rows, keys_within, take_census
from engine.imports.convert import FilePart, convert, file_parts
from engine.imports.files import ImportFile, find_files
from engine.imports.look import Look
from engine.imports.problem import ImportProblem, reason_of
from engine.imports.rows import Reading
from engine.imports.runs import Runs
from engine.imports.symbols import SymbolNames
from engine.imports.verdict import flaws, verdict
from engine.moments import in_ns
from engine.settings.import_candles import ImportCandlesSection
from engine.store.asking import patiently
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.held_candles import holds
from engine.store.ray_data import ClickHouseSink
from engine.store.reader import Reader
from engine.store.units import FINGERPRINT, UNIT, UNIT_ROWS
from jobs.import_rest import import_from_rest
from jobs.parallel import in_parallel
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

DAY_S = 86_400.0
QUARANTINE_ROWS = 20_000
"""Rows set aside at once."""


def main(config: Config) -> Summary:
    """Import.

    Raises
    ------
    ImportProblem
        Where a file is not sound, and `skip_bad` is not set: nothing is written then.
    ConfigError
        Where the venue's REST is asked for, and the configuration's venues are simulated.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("import_candles", config) as run:
        if run.section.path:
            _from_files(run)
        else:
            import_from_rest(run)
        return run.summary


# -- files -------------------------------------------------------------------------------------


def reading(section: ImportCandlesSection, now: int) -> Reading:
    """Return how files are to be understood."""
    begin, end = section.moments()
    return Reading(
        columns=section.columns,
        names=SymbolNames(adapter_of(section.exchange), section.symbols),
        timeframe=section.timeframe,
        naive_timezone=section.naive_timezone,
        wanted=frozenset(map(first_generation, section.instruments)),
        begin=begin or 0,
        end=2**63 - 1 if end is None else end,
        now=now,
    )


def _from_files(run: Run) -> None:
    section: ImportCandlesSection = run.section
    how = reading(section, run.started_at)
    files = find_files(section.path)
    cores = run.ray()
    look = look_at(files, how, cores)
    problem = verdict(look.censuses, look.unusable)
    if problem and not section.skip_bad:
        raise ImportProblem(problem)
    look.name(
        section.exchange,
        adapter_of(section.exchange),
        Reader(run.store).listings(section.exchange),
        in_ns(section.reused_after_days * DAY_S),
    )
    if problem:
        _set_aside(run, look)
    _refuse_nothing(look, section)
    _write(run, look, how, cores)
    run.store.insert("instruments", look.listings)
    _tell(run, look)


def look_at(files: Sequence[ImportFile], how: Reading, cores: int) -> Look:
    """Look at every file from end to end, and at what several of them tell."""
    censuses: list[Census] = []
    unusable: dict[str, str] = {}
    with step("files looked at", len(files)) as progress:
        for file, found in in_parallel(_look, files, how, cores):
            if isinstance(found, Census):
                censuses.append(found)
                progress.advance(rows=found.rows)
            else:
                unusable[file.name] = found
                progress.advance()
    order = {file.path: number for number, file in enumerate(files)}
    censuses.sort(key=lambda census: order[census.file.path])
    _settle(censuses, how, cores)
    return Look(censuses, unusable)


def _settle(censuses: list[Census], how: Reading, cores: int) -> None:
    """Compare the rows of bars that several files tell."""
    shared = survey.shared(censuses)
    if not shared:
        return
    wanted: dict[int, dict[str, Runs]] = {}
    for (name, _), each in shared.items():
        for number, runs in each.runs.items():
            wanted.setdefault(number, {})[name] = runs
    tasks = [(number, censuses[number], runs) for number, runs in wanted.items()]
    keys = {task[0]: found for task, found in in_parallel(_keys, tasks, how, cores)}
    for (name, _), each in shared.items():
        survey.settle(censuses, {n: keys[n][name] for n in each.runs if name in keys[n]})


def _set_aside(run: Run, look: Look) -> None:
    """Put what is not sound into quarantine: rows, and files as a whole."""
    now, job = SystemClock().now_ns(), (run.job, run.run_id)
    run.store.insert(
        "quarantine",
        [
            QuarantinedRow(*job, "candles", name, 0, why, "{}", now)
            for name, why in look.unusable.items()
        ],
    )
    for census in look.censuses:
        rows = flawed_rows(census) if census.bad else iter(())
        while batch := list(islice(rows, QUARANTINE_ROWS)):
            run.store.insert(
                "quarantine",
                [
                    QuarantinedRow(
                        *job, "candles", census.file.name, number, reason_of(flaw), row, now
                    )
                    for number, flaw, row in batch
                ],
            )
    for why, number in flaws(look.censuses).items():
        run.skip(f"in quarantine: {why}", number)
    if look.unusable:
        run.skip("files that cannot be used", len(look.unusable))


def _refuse_nothing(look: Look, section: ImportCandlesSection) -> None:
    held = look.instruments
    lacking = sorted(set(map(first_generation, section.instruments)) - held)
    if lacking:
        raise ImportProblem(f"{section.path} holds no sound candle of {', '.join(lacking)}")
    if not held:
        raise ImportProblem(
            f"{section.path} holds no candle to import: none is sound, closed and within what was "
            "asked for"
        )


def _write(run: Run, look: Look, how: Reading, cores: int) -> None:
    """Have every part of every file written by a task, as many at a time as there are cores."""
    exchange, done = run.section.exchange, run.done_units()
    parts = [part for each in look.censuses for part in file_parts(each, exchange, look.seams, how)]
    if not parts:
        return
    task = _Write(run.endpoint, ClickHouseSink(run.endpoint, "candles", run.ledger), done)
    stored = 0
    with step("parts of files written", len(parts)) as progress:
        for _, (fresh, old) in in_parallel(task, parts, how, cores):
            run.wrote("candles", fresh)
            stored += old
            progress.advance(rows=fresh)
    if stored:
        run.skip("rows that are stored already", stored)


@dataclass(frozen=True, slots=True)
class _Write:
    """Writes a part of a file, in whichever process it runs: rows written, rows that were there.

    What was written once may be gone: dropped, expired, or replaced by another file's. So the store
    is asked for it.
    """

    endpoint: StoreEndpoint
    sink: ClickHouseSink
    done: Mapping[str, set[str]]

    def __call__(self, part: FilePart, how: Reading) -> tuple[int, int]:
        counts = [0, 0]

        def fresh(store: Store) -> Iterator[pa.Table]:
            for piece, rows in convert(part, how):
                unit = f"{part.file.name} {piece}"
                was_written = part.fingerprint in self.done.get(unit, ())
                is_there = was_written and patiently(partial(holds, store, rows))
                counts[is_there] += rows.num_rows
                if not is_there:
                    yield _labelled(rows, unit, part.fingerprint)

        with closing(Store(self.endpoint)) as store:
            self.sink.write(fresh(store), None)
        return counts[0], counts[1]


def _labelled(rows: pa.Table, unit: str, fingerprint: str) -> pa.Table:
    number = rows.num_rows
    for name, value in ((UNIT, unit), (UNIT_ROWS, number), (FINGERPRINT, fingerprint)):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), number))
    return rows


def _look(file: ImportFile, how: Reading) -> Census | str:
    try:
        return take_census(file, how)
    except ImportProblem as problem:
        return str(problem)


def _keys(task: tuple[int, Census, dict[str, Runs]], how: Reading) -> dict[str, survey.Keys]:
    _, census, wanted = task
    return keys_within(census, how, wanted)


def _tell(run: Run, look: Look) -> None:
    """Say what was imported."""
    for why, number in look.left_out().items():
        run.skip(why, number)
    for key, value in look.notes().items():
        run.note(key, value)


if __name__ == "__main__":
    raise SystemExit(command("import_candles", main))
