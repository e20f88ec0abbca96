"""Rows of a data set on the Hugging Face Hub, over its dataset viewer.

``GET https://datasets-server.huggingface.co/rows?dataset=OWNER/NAME&config=default&split=train&
offset=0&length=100`` answers ``{"features": [{"name", "type"}, …], "rows": [{"row_idx", "row":
{…}, "truncated_cells": […]}, …], "num_rows_total": N, "num_rows_per_page": 100, "partial":
false}``; 100 rows at most. A token (``HF_TOKEN``) opens gated and private sets and is optional.
Source: https://huggingface.co/docs/dataset-viewer/rows, read 2026-11-21.

A data set is history: its rows are read in their order, once, some pages a look, and rows appended
later are found. A row without a time cannot be joined to a market and is set aside; labels are not
read here (``docs/sentiment.md`` tells how models are trained).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from engine.clock import Clock
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.settings.sources import SourceConfig
from engine.sources.access import Access
from engine.sources.base import Intake, SourceReport
from engine.sources.http import SourceClient
from engine.sources.keys import optional_key
from engine.sources.rows import REQUIRED, RowReader

API = "https://datasets-server.huggingface.co"
KEY = "HF_TOKEN"
PER_MINUTE = 60.0
PAGE = 100
MOST_PAGES = 20
"""Pages read in one look: the rest follows in the next."""

PARAMS = ("config", "split")


class _Feature(msgspec.Struct):
    name: str


class _Row(msgspec.Struct):
    row_idx: int
    row: dict[str, Any]
    truncated_cells: list[str] = []


class _Answer(msgspec.Struct):
    features: list[_Feature]
    rows: list[_Row]
    num_rows_total: int


def dataset_access(source: str) -> Access:
    """Return the access of the token, or of anybody where there is none."""
    token = optional_key(source, KEY)
    if not token:
        return Access(variables=(KEY,))
    headers = {"Authorization": f"Bearer {token}"}
    return Access(headers=headers, secrets=(token,), variables=(KEY,))


class HuggingFaceDataset:
    """A data set on the Hub; keeps the contract of `engine.sources.base.Source`.

    Parameters
    ----------
    config
        `query` is the data set, `params` may give its ``config`` and ``split``.
    reader
        What makes texts of rows: `columns` names the set's own columns.
    client
        Who asks.
    clock
        What time it is.
    """

    def __init__(
        self, config: SourceConfig, reader: RowReader, client: SourceClient, clock: Clock
    ) -> None:
        self._url = f"{config.location.rstrip('/') or API}/rows"
        self._set = {
            "dataset": config.query, "config": "default", "split": "train", **config.params,
        }  # fmt: skip
        self._reader = reader
        self._client = client
        self._clock = clock
        self._intake = Intake(reader.source)
        self._offset = 0

    @property
    def name(self) -> str:
        """Its configured name."""
        return self._reader.source

    @property
    def report(self) -> SourceReport:
        """What it has done so far."""
        return self._intake.report

    def resume(self, since_ns: int, seen: Iterable[str] = ()) -> None:
        """Leave out what is stored already; see `engine.sources.base.Source`."""
        self._intake.remember(seen)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def poll(self) -> list[TextItem]:
        """Return the next rows; see `engine.sources.base.Source`.

        Where a page fails after others came, those are returned and the next look meets the
        failure: a long set is not begun anew for one bad answer.
        """
        found: list[TextItem] = []
        for number in range(MOST_PAGES):
            try:
                answer = await self._page()
            except SourceError:
                if not number:
                    raise
                break
            now = self._clock.now_ns()
            found += [text for text in (self._text(row, now) for row in answer.rows) if text]
            self._offset += len(answer.rows)
            if not answer.rows or self._offset >= answer.num_rows_total:
                break
        return self._intake.new(found)

    async def _page(self) -> _Answer:
        asked = {**self._set, "offset": str(self._offset), "length": str(PAGE)}
        content = (await self._client.get(self._url, asked)).content
        try:
            answer = msgspec.json.decode(content, type=_Answer)
        except msgspec.MsgspecError as error:
            raise SourceError(
                f"source {self.name}: {self._url} sent something else than is documented: {error}"
            ) from None
        names = [feature.name for feature in answer.features]
        missing = [self._reader.column(field) for field in REQUIRED]
        missing = [column for column in missing if column not in names]
        if missing:
            raise SourceError(
                f"source {self.name}: {self._set['dataset']} has no column {', '.join(missing)}; "
                f"it has {', '.join(names)}; name them under the source's columns"
            )
        return answer

    def _text(self, row: _Row, now_ns: int) -> TextItem | None:
        place = f"{self._set['dataset']}, row {row.row_idx}"
        cut = [
            column
            for column in map(self._reader.column, ("id", "title", "published_at", "available_at"))
            if column in row.truncated_cells
        ]
        if cut:
            self._intake.skip("bad_row", f"{place}: the viewer cut its {', '.join(cut)}")
            return None
        try:
            return self._reader.item(row.row, now_ns)
        except ValueError as error:
            self._intake.skip("bad_row", f"{place}: {error}")
            return None
