"""The workers that receive: members of a consumer group, and the reader of what is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chaos import message
from chaos.history.schema import ENDS, FINAL
from chaos.history.writer import FLUSH_EVERY_S, Writer, stream_path
from chaos.load.assignment import Assignment, group_name
from chaos.load.control import STATS_EVERY_S, Control
from chaos.load.replicas import read_replicas
from chaos.spi import Deliveries, Json, PartitionEnd, Replicas

_MOST = 1000
READ_BACK_WITHIN_S = 120.0


@dataclass
class Recorder:
    """Takes deliveries in and writes them out; counts what is needed to know when to stop."""

    run: int
    writer: Writer
    received: int = 0
    highest: dict[int, int] = field(default_factory=dict)
    _pending: list[Deliveries] = field(default_factory=list)

    def add(self, deliveries: Deliveries) -> None:
        """Keep for the next flush."""
        self._pending.append(deliveries)
        self.received += len(deliveries.bodies)

    def flush(self, metadata: dict[bytes, bytes] | None = None) -> None:
        """Write all that came in since the last time as one batch."""
        if not self._pending and not metadata:
            return
        pending, self._pending = self._pending, []
        bodies = [body for piece in pending for body in piece.bodies]
        decoded = message.decode(self.run, bodies)
        partition = np.array([p for piece in pending for p in piece.partitions], np.int32)
        offset = np.array([o for piece in pending for o in piece.offsets], np.int64)
        counts = [len(piece.bodies) for piece in pending]
        again = [piece.redelivered or [False] * len(piece.bodies) for piece in pending]
        self.writer.write([
            decoded.producer, decoded.sequence, partition, offset, decoded.due_ns,
            np.repeat(np.array([piece.received_ns for piece in pending], np.int64), counts),
            np.array([flag for piece in again for flag in piece], np.bool_),
            decoded.intact,
        ], metadata)  # fmt: skip
        for number in np.unique(partition).tolist():
            top = int(offset[partition == number].max())
            self.highest[number] = max(self.highest.get(number, -1), top)

    def stats(self) -> Json:
        """`received`: messages; `highest`: offset by partition, all of it on record."""
        return {"received": self.received, "highest": self.highest}


def _every(seconds: float) -> Callable[[], bool]:
    """A function that is true once in so many seconds."""
    due_s = time.monotonic() + seconds

    def due() -> bool:
        nonlocal due_s
        if time.monotonic() < due_s:
            return False
        due_s = time.monotonic() + seconds
        return True

    return due


def consume(work: Assignment, control: Control) -> Json:
    """Receive, record, settle, until told to stop."""
    name, experiment = f"consumer-{work.number}", work.experiment
    recorder = Recorder(
        work.run, Writer(stream_path(work.directory, name, "deliveries"), "deliveries")
    )
    settings, group = experiment.load.consumers.settings, group_name(work.run)
    consumer = experiment.broker.consumer(work.clients, experiment.stream, settings, group)
    control.tell(ready=True)
    flush_due, stats_due = _every(FLUSH_EVERY_S), _every(STATS_EVERY_S)
    while not control.stopped():
        deliveries = consumer.receive(_MOST, 0.1)
        if deliveries:
            recorder.add(deliveries)
        if flush_due():
            recorder.flush()
            consumer.settle()
        if stats_due():
            control.tell(stats=recorder.stats())
    recorder.flush({FINAL: b"1"})
    consumer.close()
    recorder.writer.close()
    return recorder.stats()


def read_back(work: Assignment, control: Control) -> Json:
    """Read all that the stream holds, when told to; consumers must reach its `highest`."""
    experiment, name = work.experiment, f"reader-{work.number}"
    stored = getattr(experiment.broker, "stored", None)
    control.tell(ready=True)
    if stored is None or "go" not in control.orders.get():
        return {}
    recorder = Recorder(work.run, Writer(stream_path(work.directory, name, "stored"), "stored"))
    ends, stats_due, stopped = [], _every(STATS_EVERY_S), False
    flush_due = _every(FLUSH_EVERY_S)
    for found in stored(work.clients, experiment.stream, READ_BACK_WITHIN_S):
        if isinstance(found, PartitionEnd):
            ends.append([found.partition, found.first, found.end, found.read])
        else:
            recorder.add(found)
        if flush_due():
            recorder.flush()
        if stats_due():
            control.tell(stats=recorder.stats())
        if stopped := control.stopped():
            break
    recorder.flush({ENDS: json.dumps(ends).encode(), FINAL: b"1"})
    recorder.writer.close()
    if isinstance(experiment.broker, Replicas) and not stopped:
        read_replicas(work, experiment.broker, control)
    return {**recorder.stats(), "ends": ends}
