"""Writes down what came out of a stream, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chaos import message
from chaos.history.schema import FINAL
from chaos.history.writer import Writer, stream_path
from chaos.spi import Deliveries, Json

HandlingRow = tuple[int, int, int, int, int, int, int, int, int]
"""The columns of `chaos.history.schema.HANDLINGS`."""


@dataclass
class Recorder:
    """Takes deliveries in and writes them out; counts what is needed to know when to stop."""

    run: int
    directory: Path
    client: str
    table: str
    received: int = 0
    highest: dict[int, int] = field(default_factory=dict)
    _pending: list[tuple[Deliveries, int]] = field(default_factory=list)
    _handlings: list[HandlingRow] = field(default_factory=list)
    _handlings_writer: Writer | None = None

    def __post_init__(self) -> None:
        self._writer = Writer(stream_path(self.directory, self.client, self.table), self.table)

    def add(self, deliveries: Deliveries, handled_ns: int | None = None) -> None:
        """Keep for the next flush; handled at once, unless it is said when."""
        self._pending.append((deliveries, handled_ns or deliveries.received_ns))
        self.received += len(deliveries.bodies)

    def add_handling(self, row: HandlingRow) -> None:
        """Keep for the next flush."""
        self._handlings.append(row)

    def flush(self, metadata: dict[bytes, bytes] | None = None) -> None:
        """Write all that came in since the last time as one batch."""
        self._flush_handlings()
        if not self._pending and not metadata:
            return
        pending, self._pending = self._pending, []
        bodies = [body for piece, _ in pending for body in piece.bodies]
        decoded = message.decode(self.run, bodies)
        partition = np.array([p for piece, _ in pending for p in piece.partitions], np.int32)
        offset = np.array([o for piece, _ in pending for o in piece.offsets], np.int64)
        counts = [len(piece.bodies) for piece, _ in pending]
        again = [piece.redelivered or [False] * len(piece.bodies) for piece, _ in pending]
        self._writer.write([
            decoded.producer, decoded.sequence, partition, offset, decoded.due_ns,
            np.repeat(np.array([piece.received_ns for piece, _ in pending], np.int64), counts),
            np.array([flag for piece in again for flag in piece], np.bool_),
            decoded.intact, decoded.kind.astype(np.int8),
            np.repeat(np.array([handled_ns for _, handled_ns in pending], np.int64), counts),
        ], metadata)  # fmt: skip
        for number in np.unique(partition).tolist():
            top = int(offset[partition == number].max())
            self.highest[number] = max(self.highest.get(number, -1), top)

    def _flush_handlings(self) -> None:
        if not self._handlings:
            return
        if self._handlings_writer is None:  # most runs have none
            path = stream_path(self.directory, self.client, "handlings")
            self._handlings_writer = Writer(path, "handlings")
        rows, self._handlings = self._handlings, []
        self._handlings_writer.write(list(zip(*rows, strict=True)))

    def finish(self, metadata: dict[bytes, bytes] | None = None) -> None:
        """The orderly end."""
        self.flush({**(metadata or {}), FINAL: b"1"})
        self._writer.close()
        if self._handlings_writer:
            self._handlings_writer.write(metadata={FINAL: b"1"})
            self._handlings_writer.close()

    def stats(self) -> Json:
        """`received`: messages; `highest`: offset by partition, all of it on record."""
        return {"received": self.received, "highest": self.highest}
