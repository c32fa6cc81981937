"""Reads back what the clients of a run recorded, in one pass and bounded memory.

A stream that ends in the middle of a batch (its writer was killed) gives everything before that
batch and says `torn`; damage anywhere else is an error, never a shorter history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chaos.errors import HistoryError
from chaos.history.schema import ENDS, FINAL, RESERVED, TABLES
from chaos.spi import Batch, Column, PartitionEnd

ROWS = 1 << 18
"""About how many rows a batch has that is given to verifiers; workers write far smaller ones. More
would cost memory, fewer more time in the interpreter."""

_LEAD_IN = b"\xff\xff\xff\xff"
"""Every message of an Arrow stream begins with it ("Encapsulated message format")."""
_ORDER = ("handlings", "deliveries", "dead", "stored", "replicas", "sends")
_NAME = re.compile(
    r"(?P<client>(?:producer|consumer|reader)-(?P<number>\d+))"
    r"\.(?P<table>sends|deliveries|stored|dead|handlings)\.arrow"
    r"|(?P<node>[\w.-]+)\.replicas\.arrow"
)


@dataclass
class Stream:
    """One client's table. What its metadata said is known once `batches` has come to the end."""

    path: Path
    client: str
    table: str
    producer: int
    rows: int = 0
    reserved: int = 0
    final: bool = False
    torn: bool = False
    ends: tuple[PartitionEnd, ...] = ()

    def batches(self, rows: int = ROWS) -> Iterator[Batch]:
        """All records in the order in which they were written, about `rows` in a batch.

        Raises HistoryError when the file cannot be read, or is damaged before its end.
        """
        self.rows, self.torn = 0, False
        pending: list[pa.RecordBatch] = []
        size = 0
        for record in filter(len, self._records()):
            pending.append(record)
            size += len(record)
            if size >= rows:
                yield self._joined(pending)
                pending, size = [], 0
        if size:
            yield self._joined(pending)

    def _records(self) -> Iterator[pa.RecordBatch]:
        """The batches as written; ends early, with `torn` set, where the file is cut off."""
        try:
            with pa.OSFile(str(self.path), "rb") as file:
                start = 0
                try:
                    for record in self._open(file):
                        start = file.tell()
                        yield record
                except (OSError, pa.ArrowInvalid) as error:
                    if not _cut_off(file, start):
                        raise HistoryError(f"{self.path}: damaged: {error}") from error
                    self.torn = True
                    return
                if file.tell() < file.size():
                    raise HistoryError(f"{self.path}: damaged: there is more behind its end")
        except OSError as error:
            raise HistoryError(f"{self.path}: cannot be read: {error}") from error

    def _open(self, file: pa.OSFile) -> Iterator[pa.RecordBatch]:
        with pa.ipc.open_stream(file) as stream:
            if not stream.schema.equals(TABLES[self.table]):
                raise HistoryError(f"{self.path}: not a table of {self.table!r} of this version")
            while True:
                try:
                    record, metadata = stream.read_next_batch_with_custom_metadata()
                except StopIteration:
                    return
                if metadata is not None:
                    self._note(metadata)
                yield record

    def _note(self, metadata: Mapping[bytes, bytes]) -> None:
        if RESERVED in metadata:
            self.reserved = int(metadata[RESERVED])  # the last one counts: at the end it is exact
        if ENDS in metadata:
            self.ends = tuple(PartitionEnd(*end) for end in json.loads(metadata[ENDS]))
        self.final = self.final or FINAL in metadata

    def _joined(self, records: Sequence[pa.RecordBatch]) -> Batch:
        self.rows += sum(map(len, records))
        return Batch(self.table, self.client, self.producer, _Columns(records))


class _Columns(Mapping[str, Column]):
    """The columns of several record batches, each put together when it is first asked for: nobody
    needs all of them. Two threads that ask at once do the same work twice, no more."""

    def __init__(self, records: Sequence[pa.RecordBatch]) -> None:
        self._records = list(records)
        self._places = {name: place for place, name in enumerate(records[0].schema.names)}
        self._known: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._known:
            place = self._places[name]
            self._known[name] = _column([record.column(place) for record in self._records])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _cut_off(file: pa.OSFile, start: int) -> bool:
    """Whether a message that begins at `start` and cannot be read is only missing its end."""
    if file.tell() < file.size():
        return False
    # A wrong length makes Arrow read to the end of the file, too; a right one is led in like this.
    return bool(_LEAD_IN.startswith(file.read_at(len(_LEAD_IN), start)))


def _column(arrays: Sequence[pa.Array]) -> Column:
    # Arrow keeps truth values as bits, numpy as bytes; everything else is the same in both.
    parts = [array.to_numpy(zero_copy_only=not pa.types.is_boolean(array.type)) for array in arrays]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def streams(run_directory: Path) -> list[Stream]:
    """The streams of a run: deliveries, then what was stored, then sends.

    A verifier that looks for what is missing then needs to remember only that, not every send.
    Raises HistoryError when there is no history, or a file in it that does not belong there.
    """
    directory = run_directory / "history"
    if not directory.is_dir():
        raise HistoryError(f"{directory}: no such directory; is {run_directory} a run?")
    found = [_stream(path) for path in sorted(directory.iterdir())]
    return sorted(found, key=lambda stream: (_ORDER.index(stream.table), stream.client))


def _stream(path: Path) -> Stream:
    name = _NAME.fullmatch(path.name)
    if not name:
        raise HistoryError(f"{path}: not a client's stream (<client>-<n>.<table>.arrow)")
    if name["node"]:
        return Stream(path, name["node"], "replicas", -1)
    client, number, table = name["client"], name["number"], name["table"]
    return Stream(path, client, table, int(number) if table == "sends" else -1)


# ------------------------------------------------------------------------------- second look

Identity = tuple[int, int]
"""(producer, sequence)."""


@dataclass(frozen=True)
class Row:
    """One record of one message: the client and table it stands in, and its values by column."""

    client: str
    table: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which messages to look up: by identity, and by (partition, offset) whosever they are."""

    identities: frozenset[Identity] = frozenset()
    places: frozenset[tuple[int, int]] = frozenset()
    _sequences: NDArray[np.int64] = field(init=False, repr=False)
    _offsets: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, numbers in (
            ("_sequences", {sequence for _, sequence in self.identities}),
            ("_offsets", {offset for _, offset in self.places}),
        ):
            object.__setattr__(self, name, np.array(sorted(numbers), np.int64))

    def rows(self, batch: Batch) -> Iterator[Row]:
        """The records of `batch` that are asked for."""
        # Few rows survive the first, vectorised sieve; only these are looked at one by one.
        maybe = np.zeros(len(batch), np.bool_)
        if len(self._sequences) and batch.table != "replicas":
            maybe |= np.isin(batch["sequence"], self._sequences)
        if len(self._offsets):
            maybe |= np.isin(batch["offset"], self._offsets)
        for index in np.flatnonzero(maybe):
            values = {name: column[index].item() for name, column in batch.columns.items()}
            values.setdefault("producer", batch.producer)
            if self._has(values):
                yield Row(batch.client, batch.table, values)

    def _has(self, values: Mapping[str, Any]) -> bool:
        if (values["partition"], values["offset"]) in self.places:
            return True
        return (values["producer"], values["sequence"]) in self.identities


def look_up(run_directory: Path, wanted: Wanted, pool: Executor) -> list[Row]:
    """Every record of the wanted messages, in the order of `streams`; reads the history again."""
    look = partial(_look, wanted)
    return [row for rows in pool.map(look, streams(run_directory)) for row in rows]


def _look(wanted: Wanted, stream: Stream) -> list[Row]:
    return [row for batch in stream.batches() for row in wanted.rows(batch)]
