"""The schema: numbered statements, applied once each, and what the configuration decides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from engine.config import RetentionConfig
from engine.errors import StoreError
from engine.store.client import Store

VIEWS_NUMBER = 900
"""Files from this number on make views, and run at every migration."""

RETENTION_COLUMN = "inserted_at"
"""Retention counts from when a row was written, not from the time it speaks of: a replay of an
old recording, or imported history, is not gone as soon as it is stored."""

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_versions
(
    number UInt32 COMMENT 'Number of the applied file',
    name String COMMENT 'Its name',
    applied_at DateTime64(9, 'UTC') DEFAULT now64(9) COMMENT 'When it was applied'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
COMMENT 'Which numbered files were applied. Read with FINAL'
"""
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COLUMN_TYPE = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered file.

    Parameters
    ----------
    number
        Its number; files apply in this order.
    name
        Its file name.
    statements
        Its statements, without their semicolons.
    """

    number: int
    name: str
    statements: tuple[str, ...]


def steps() -> tuple[Step, ...]:
    """Return all numbered files of ``engine/store/ddl``, in order."""
    found = []
    for entry in resources.files("engine.store").joinpath("ddl").iterdir():
        number, _, rest = entry.name.partition("_")
        if rest.endswith(".sql") and number.isdigit():
            text = entry.read_text(encoding="utf-8")
            found.append(Step(int(number), entry.name, tuple(_statements(text))))
    return tuple(sorted(found, key=lambda step: step.number))


def migrate(
    store: Store,
    retention: RetentionConfig,
    feature_columns: Sequence[Sequence[str]] = (),
) -> tuple[int, ...]:
    """Bring the store to this version's schema and this configuration's retention.

    Running it again changes nothing. Times to live that the configuration changed are changed
    in place; feature columns that are new are added, none is ever dropped.

    Parameters
    ----------
    store
        The store; its database is made where it is missing.
    retention
        How long rows stay.
    feature_columns
        ``(name, type)`` or ``(name, type, comment)`` of each feature, as
        `engine.features.catalogue.feature_columns` gives them. Every column is Nullable: a
        value that is missing (NaN) is NULL, so that SQL's averages leave it out.

    Returns
    -------
    tuple
        Numbers of the files applied now.

    Raises
    ------
    StoreError
        Where the store refuses, or holds a schema newer than this version's.
    """
    store.create_database()
    store.command(_VERSIONS)
    known = store.query_arrow("SELECT DISTINCT number FROM schema_versions")
    applied = set(known.column("number").to_pylist())
    ours = steps()
    newer = sorted(applied - {step.number for step in ours})
    if newer:
        raise StoreError(
            f"the store {store.endpoint} has schema number {newer[-1]}, which this version does "
            "not know; run a newer version or use another store"
        )
    held = store.query_arrow("SELECT name FROM system.tables WHERE database = currentDatabase()")
    if set(RetentionConfig.model_fields) - set(held.column("name").to_pylist()):
        # Somebody dropped a table: every statement may run again, and makes what is missing.
        applied = {number for number in applied if number >= VIEWS_NUMBER}
    fresh = [step for step in ours if step.number not in applied and step.number < VIEWS_NUMBER]
    for step in fresh:
        _apply(store, step)
    _add_feature_columns(store, feature_columns)
    _set_retention(store, retention)
    for step in ours:
        if step.number >= VIEWS_NUMBER:
            _apply(store, step, remember=step.number not in applied)
    return tuple(step.number for step in fresh)


def _apply(store: Store, step: Step, remember: bool = True) -> None:
    for statement in step.statements:
        store.command(statement)
    if remember:
        store.command(
            "INSERT INTO schema_versions (number, name) SELECT {number:UInt32}, {name:String}",
            {"number": step.number, "name": step.name},
        )


def _statements(text: str) -> Iterator[str]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    for statement in code.split(";\n"):
        if statement.strip().rstrip(";"):
            yield statement.strip().rstrip(";")


def _add_feature_columns(store: Store, columns: Sequence[Sequence[str]]) -> None:
    if not columns:
        return
    held = store.query_arrow(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'features'"
    )
    missing = [c for c in columns if c[0] not in set(held.column("name").to_pylist())]
    if not missing:
        return
    additions = []
    for name, kind, *comment in missing:
        if not _COLUMN_NAME.fullmatch(name) or not _COLUMN_TYPE.fullmatch(kind):
            raise StoreError(
                f"feature column {name!r} of type {kind!r} is not a plain name and type"
            )
        additions.append(
            f"ADD COLUMN IF NOT EXISTS `{name}` Nullable({kind}) "
            f"COMMENT {_quoted(comment[0] if comment else name)} CODEC(ZSTD(1))"
        )
    store.command("ALTER TABLE features " + ", ".join(additions))


def _set_retention(store: Store, retention: RetentionConfig) -> None:
    held = store.query_arrow(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    )
    definitions = dict(
        zip(
            held.column("name").to_pylist(),
            held.column("create_table_query").to_pylist(),
            strict=True,
        )
    )
    for table in RetentionConfig.model_fields:
        days = getattr(retention, table)
        found = re.search(r"\bTTL .*?toIntervalDay\((\d+)\)", definitions[table])
        if int(found[1] if found else 0) == days:
            continue
        if days:
            store.command(
                f"ALTER TABLE {table} MODIFY TTL toDateTime({RETENTION_COLUMN}) "
                f"+ toIntervalDay({days})"
            )
        else:
            store.command(f"ALTER TABLE {table} REMOVE TTL")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
