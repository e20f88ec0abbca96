"""Topics and emotions of the stored texts that have none yet: a part of ``aggregate_sentiment``."""

from __future__ import annotations

import pyarrow as pa
import ray

from engine.domain.text import text_content
from engine.sentiment.tagging import tag
from engine.sentiment.topics import VERSION
from engine.store.columns import python_values
from engine.store.ray_data import ClickHouseSink, ClickHouseSource
from engine.store.tables import table_named
from engine.texts.language import sure_language
from jobs.progress import step
from jobs.run import Run

TABLE = "text_topics"

UNTAGGED = "text_id NOT IN (SELECT text_id FROM text_topics WHERE version = {version:String})"


def tag_texts(run: Run, begin: int, end: int) -> None:
    """Store the topics and emotions of texts that have none by these word lists.

    Parameters
    ----------
    run
        The job's run.
    begin, end
        UTC nanoseconds of ``available_at``, ``[begin, end)``.
    """
    span = (
        "available_at >= fromUnixTimestamp64Nano({begin:Int64}) "
        "AND available_at < fromUnixTimestamp64Nano({end:Int64})"
    )
    asked = {"version": VERSION, "begin": begin, "end": end}
    count = int(
        run.store.command(f"SELECT count() FROM texts FINAL WHERE {span} AND {UNTAGGED}", asked)
    )
    if not count:
        return
    run.ray()
    sink = ClickHouseSink(run.endpoint, TABLE)
    source = ClickHouseSource(
        run.endpoint,
        "texts",
        columns=("text_id", "title", "body", "available_at"),
        where=UNTAGGED,
        parameters={"version": VERSION},
        start=begin,
        end=end,
    )

    def write(texts: pa.Table) -> pa.Table:
        return pa.table({"rows": [sink.write([tagged(texts)], None).rows]})

    texts = ray.data.read_datasource(source, override_num_blocks=max(1, len(source.ranges)))
    with step("texts", count) as progress:
        for done in texts.map_batches(write, batch_format="pyarrow").iter_rows():
            run.wrote(TABLE, done["rows"])
            progress.advance(done["rows"])


def tagged(texts: pa.Table) -> pa.Table:
    """Return rows of ``text_topics``, the same that a running engine makes.

    Parameters
    ----------
    texts
        With ``text_id``, ``title``, ``body`` and ``available_at``.
    """
    names = ("text_id", "title", "body", "available_at")
    columns = (python_values(texts.column(name)) for name in names)
    rows = []
    for text_id, title, body, available_at in zip(*columns, strict=True):
        text = text_content(title, body)
        rows.append(tag(text_id, text, available_at, sure_language(text)))
    return table_named(TABLE).to_arrow(rows)
