"""Writes one client's stream. A `kill -9` costs what was not yet flushed, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from chaos.errors import HistoryError
from chaos.history.schema import TABLES

FLUSH_EVERY_S = 0.2
"""How often workers write; with the time that a write takes it stays under 250 ms."""


def stream_path(run_directory: Path, client: str, table: str) -> Path:
    """Where the stream of a client lies."""
    return run_directory / "history" / f"{client}.{table}.arrow"


class Writer:
    """Appends batches to one stream; every batch is in the kernel's hands when `write` returns."""

    def __init__(self, path: Path, table: str) -> None:
        self.path, self._schema, self._torn = path, TABLES[table], False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
            # Not Python's unbuffered file: what the disk takes in part would count as written.
            self._file = pa.OSFile(str(path), "wb")
            self._stream = pa.ipc.new_stream(self._file, self._schema)
        except OSError as error:
            raise HistoryError(f"{path}: cannot be written: {error}") from error

    def write(
        self, columns: Sequence[Any] | None = None, metadata: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Append one batch (columns in the schema's order; none: an empty batch that says
        `metadata`). Raises HistoryError, for instance when the disk is full."""
        try:
            if columns is None:
                batch = self._schema.empty_table().to_batches() or [_empty(self._schema)]
                record = batch[0]
            else:
                arrays = [
                    pa.array(column, type=column_field.type)
                    for column, column_field in zip(columns, self._schema, strict=True)
                ]
                record = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
            if self._torn:
                raise OSError("an earlier batch is torn, and nothing can follow it")
            self._stream.write_batch(record, custom_metadata=metadata)
        except OSError as error:
            self._torn = True
            raise HistoryError(f"{self.path}: cannot be written: {error}") from error

    def close(self) -> None:
        """End the stream; one that is torn stays as it is, readable up to there."""
        try:
            if not self._torn:
                self._stream.close()
            self._file.close()
        except OSError as error:
            raise HistoryError(f"{self.path}: cannot be written: {error}") from error


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array([], column.type) for column in schema], schema=schema
    )
