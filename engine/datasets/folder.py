"""The folder of one training set: a Parquet file a month, and a manifest beside them.

A file is there under its name only when it is whole, and the manifest only when all of them are.
Until then ``request.json`` says what is being written, so that a job that was killed goes on with
the months that are missing, and no other data set is written among them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engine.clock import iso_utc
from engine.datasets.request import DatasetRequest
from engine.errors import ConfigError

MANIFEST = "manifest.json"
REQUEST = "request.json"
PARQUET = ".parquet"
_UNFINISHED = ".part"

GROUP_ROWS = 50_000
"""Rows of a row group: however rows arrive, a file's bytes are the same."""


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One month."""

    name: str
    rows: int
    bytes: int
    sha256: str


class DatasetFolder:
    """A folder that holds one data set, or nothing yet.

    Parameters
    ----------
    path
        The folder; it is made by `claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_complete(self) -> bool:
        """Whether the data set in it is whole."""
        return (self.path / MANIFEST).is_file()

    def request(self) -> DatasetRequest | None:
        """Return what the data set in it holds, or is to hold; None where there is none.

        Raises
        ------
        ConfigError
            Where the folder holds something that no export wrote.
        """
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise ConfigError(f"out: {self.path} is a file; name a folder")
        note = self.path / REQUEST
        if note.is_file():
            try:
                return msgspec.json.decode(note.read_bytes(), type=DatasetRequest)
            except (OSError, msgspec.DecodeError) as error:
                raise ConfigError(f"out: {note} cannot be read: {error}") from None
        if any(self.path.iterdir()):
            raise ConfigError(
                f"out: the folder {self.path} holds files that no export wrote; name an empty one"
            )
        return None

    def claim(self, request: DatasetRequest) -> None:
        """Make the folder, and note what is written to it.

        Raises
        ------
        ConfigError
            Where it holds another data set, or cannot be written.
        """
        held = self.request()
        if held is not None and held != request:
            raise ConfigError(
                f"out: the folder {self.path} holds another data set (of {held.timeframe} bars, "
                f"watermark {iso_utc(held.watermark)}); name another folder"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(f"*{_UNFINISHED}"):
                left.unlink()
            if held is None:
                self._write(REQUEST, msgspec.json.format(msgspec.json.encode(request), indent=2))
        except OSError as error:
            raise ConfigError(f"out: {self.path} cannot be written: {error}") from None

    def months(self) -> set[str]:
        """Return the months that are written whole, such as ``2022-05``."""
        return {path.name.removesuffix(PARQUET) for path in self.path.glob(f"*{PARQUET}")}

    def discard(self) -> None:
        """Remove the files of a data set that is to be written again."""
        for path in (self.path / MANIFEST, *self.path.glob(f"*{PARQUET}")):
            path.unlink(missing_ok=True)

    def files(self) -> Iterator[DatasetFile]:
        """Yield the files, by name, with the hashes of their bytes."""
        for path in sorted(self.path.glob(f"*{PARQUET}")):
            with path.open("rb") as content:
                digest = file_digest(content, "sha256").hexdigest()
            rows = pq.read_metadata(path).num_rows
            yield DatasetFile(path.name, rows, path.stat().st_size, digest)

    def month(self, name: str, schema: pa.Schema) -> MonthFile:
        """Return a file to write a month into."""
        return MonthFile(self.path / f"{name}{PARQUET}", schema)

    def finish(self, manifest: Mapping[str, Any]) -> str:
        """Write the manifest, and return it as it was written."""
        text = json.dumps(manifest, indent=2)
        self._write(MANIFEST, text.encode())
        return text

    def _write(self, name: str, content: bytes) -> None:
        unfinished = self.path / f"{name}{_UNFINISHED}"
        unfinished.write_bytes(content)
        os.replace(unfinished, self.path / name)


class MonthFile:
    """One Parquet file while it is written; a context in which it becomes whole, or nothing.

    Parameters
    ----------
    path
        Its name when it is whole.
    schema
        Of its rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + _UNFINISHED)
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._held = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._put_all()
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            os.replace(self._unfinished, self._path)
        else:
            self._unfinished.unlink(missing_ok=True)

    def put(self, rows: pa.Table) -> None:
        """Add rows that follow those before."""
        self._waiting.append(rows.cast(self._schema))
        self._held += rows.num_rows
        if self._held < GROUP_ROWS:
            return
        waiting = pa.concat_tables(self._waiting)
        whole = self._held - self._held % GROUP_ROWS
        self._put(waiting.slice(0, whole))
        self._waiting = [waiting.slice(whole)]
        self._held -= whole

    def _put_all(self) -> None:
        if self._held:
            self._put(pa.concat_tables(self._waiting))

    def _put(self, rows: pa.Table) -> None:
        if self._writer is not None:
            # Combined, for the boundaries of chunks show in the bytes.
            self._writer.write_table(rows.combine_chunks(), row_group_size=GROUP_ROWS)


def digest_of(files: list[DatasetFile]) -> str:
    """Return the SHA-256 of a whole data set: of its files' names and hashes, by name."""
    lines = (f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda one: one.name))
    return sha256("".join(lines).encode()).hexdigest()
