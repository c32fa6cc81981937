"""The producer's worker: sends what is due, whatever became of the messages before (open loop).

Message number n of a producer is due at `start + n * interval`. What cannot be handed to the
client because its queue is full stays due and is handed over late, so an outage shows as latency
and is not hidden by a client that waits ("coordinated omission").
"""

from __future__ import annotations

import gc
import queue
import time
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaos import message
from chaos.errors import Fenced
from chaos.history.schema import FINAL, RESERVED
from chaos.history.writer import FLUSH_EVERY_S, Writer, stream_path
from chaos.load.assignment import Assignment
from chaos.load.control import STATS_EVERY_S, Control
from chaos.load.poison import Poison
from chaos.spi import Json, Numbers, Outcome, Producer, TellsItself, Transacts
from chaos.timing import now_ns

_CHUNK, _CHUNK_BYTES = 512, 4 << 20
"""Most messages in one go, and about how many bytes; all of a chunk have one send time."""
_PAUSE_S = 0.002
"""The shortest wait for what is due next. Clients wait whole milliseconds, and less would be none:
at 1,000 messages/s the loop would never rest, which took half a core. Outcomes end a wait, and what
is late by it counts: latency is from the due time."""
_CLOSE_WITHIN_S = 15.0
_HAND_OVER_WITHIN_S = 15.0


@dataclass(frozen=True)
class Plan:
    """When each message is due, what its key is, who sends it."""

    run: int
    producer: int
    start_ns: int
    interval_ns: float
    keys: int
    size: int

    def due_ns(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Due times of messages by number."""
        return self.start_ns + (sequences * self.interval_ns).astype(np.int64)

    def due_until(self, time_ns: int) -> int:
        """How many messages are due before this time."""
        return max(0, int((time_ns - self.start_ns) // self.interval_ns) + 1)


class Recorder:
    """spi.SendSink: takes outcomes in, writes them out every 200 ms, and counts."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._sent_first, self._sent_ns = array("q"), array("q")
        self._acks: list[tuple[Numbers, Numbers, Numbers, int]] = []
        self._failures: list[tuple[int, int, int, Outcome]] = []
        self.counts = {outcome.name.lower(): 0 for outcome in Outcome}
        self.reasons: dict[str, int] = {}
        self.highest: dict[int, int] = {}
        self.reserved = 0
        self.poison: Poison | None = None

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        """See SendSink."""
        self._acks.append((sequences, partitions, offsets, done_ns))

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        """See SendSink."""
        self._failures.append((sequence, partition, done_ns, outcome))
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def handing_over(self, first: int, sent_ns: int) -> None:
        """Messages from number `first` on are sent at this time."""
        self._sent_first.append(first)
        self._sent_ns.append(sent_ns)

    def reserve(self, upto: int) -> None:
        """Put on record, before it happens, that numbers below `upto` may be used."""
        self.reserved = upto
        self._writer.write(metadata={RESERVED: b"%d" % upto})

    def flush(self, plan: Plan) -> None:
        """Write what came in since the last time."""
        if self._acks:
            *columns, times = zip(*self._acks, strict=True)
            sequence, partition, offset = (np.concatenate(column) for column in columns)
            done_ns = np.repeat(np.array(times), [len(sequences) for sequences, *_ in self._acks])
            self._acks.clear()
            self._write(plan, sequence, partition, offset, done_ns, Outcome.OK)
            self.counts["ok"] += len(sequence)
            if self.poison:
                self.poison.acknowledged(sequence)
            for number in np.unique(partition).tolist():
                top = int(offset[partition == number].max())
                self.highest[number] = max(self.highest.get(number, -1), top)
        for outcome in (
            Outcome.REFUSED, Outcome.INDETERMINATE, Outcome.ABORTED, Outcome.WEAK,
        ):  # fmt: skip
            rows = [row[:3] for row in self._failures if row[3] is outcome]
            if rows:
                sequence, partition, done_ns = np.array(rows, np.int64).T
                self._write(plan, sequence, partition, np.full(len(rows), -1), done_ns, outcome)
                self.counts[outcome.name.lower()] += len(rows)
        self._failures.clear()

    def _write(
        self,
        plan: Plan,
        sequence: NDArray[np.int64],
        partition: NDArray[np.int64],
        offset: NDArray[np.int64],
        done_ns: NDArray[np.int64],
        outcome: Outcome,
    ) -> None:
        """Write rows that have one outcome; what is not given follows from the number."""
        count = len(sequence)
        key = sequence % plan.keys if plan.keys else np.full(count, -1)
        self._writer.write([
            sequence, key.astype(np.int32), partition.astype(np.int32), offset,
            plan.due_ns(sequence), self._sent_at(sequence), done_ns,
            np.full(count, outcome, np.int8),
        ], {RESERVED: b"%d" % self.reserved})  # fmt: skip

    def finish(self, used: int) -> None:
        """The orderly end: exactly the numbers below `used` were used."""
        self._writer.write(metadata={RESERVED: b"%d" % used, FINAL: b"1"})
        self._writer.close()

    def _sent_at(self, sequence: NDArray[np.int64]) -> NDArray[np.int64]:
        firsts, times = (
            np.frombuffer(self._sent_first, np.int64),
            np.frombuffer(self._sent_ns, np.int64),
        )
        return times[np.searchsorted(firsts, sequence, side="right") - 1]


def produce(work: Assignment, control: Control) -> Json:
    """Send at the set rate until told to stop, then wait for what is open."""
    writer = Writer(stream_path(work.directory, f"producer-{work.number}", "sends"), "sends")
    recorder = Recorder(writer)
    producer = _connect(work, recorder)
    # Tens of thousands of sends may be open, and looking through them for cycles, of which there
    # are none, takes a fifth of the time.
    gc.disable()
    control.tell(ready=True)
    order, early = control.orders.get(), []
    while not {"go", "stop"} & order.keys():
        # A fault's order to one that takes a place and was not let go yet: taken in after that.
        early.append(order)
        order = control.orders.get()
    for each in early:
        control.orders.put(each)
    if "go" not in order:
        recorder.finish(0)
        return {}
    plan = _plan(work, order["go"])
    sender = _Sender(producer, recorder, plan)
    fenced = ""
    try:
        _send_until_stopped(sender, control, recorder)
        producer.close(_CLOSE_WITHIN_S)
    except Fenced as error:
        fenced = str(error)
    recorder.flush(plan)
    recorder.finish(sender.next)
    return {**_stats(sender, recorder), "fenced": fenced}


def _connect(work: Assignment, recorder: Recorder) -> Producer:
    experiment, load = work.experiment, work.experiment.load.producers
    broker, stream = experiment.broker, experiment.stream
    if load.transactions is None:
        return broker.producer(work.clients, stream, load.settings, recorder)
    assert isinstance(broker, Transacts)
    return broker.transactional_producer(
        work.clients, stream, load.settings, recorder, load.transactions,
        f"{stream.name}-{work.place}",
    )  # fmt: skip


def _plan(work: Assignment, start_ns: int) -> Plan:
    load = work.experiment.load.producers
    interval_ns = 1e9 * load.count / load.rate
    # Producers take turns instead of sending all at the same instant.
    offset_ns = int(interval_ns * work.place / load.count)
    return Plan(work.run, work.number, start_ns + offset_ns, interval_ns, load.keys, load.size)


class _Sender:
    """Hands over what is due, in order, and lets outcomes come in between.

    All on one thread: a second one for the outcomes would fight over the interpreter's lock, which
    halves the rate, and delays the outcomes that it should date.
    """

    def __init__(self, producer: Producer, recorder: Recorder, plan: Plan) -> None:
        self.next = 0
        self.plan, self.due = plan, 0
        self.producer, self._recorder = producer, recorder
        self._flush_s = time.monotonic() + FLUSH_EVERY_S
        self._chunk = max(1, min(_CHUNK, _CHUNK_BYTES // plan.size))
        # Reserving half a second's worth at once keeps it to a few small writes a second.
        self._ahead = max(1000, int(5e8 / plan.interval_ns))

    def step(self, now: int, limit_ns: int) -> None:
        """Send the next chunk of what is due by now (and before `limit_ns`); without any, wait for
        outcomes until something is due."""
        self.due = self.plan.due_until(min(now, limit_ns))
        count = min(self.due - self.next, self._chunk)
        if count > 0:
            # When the client's queue is full, what it did not take stays due.
            self.producer.poll(0 if self._send(count) == count else 0.01)
        else:
            next_due_ns = self.plan.start_ns + self.next * self.plan.interval_ns
            self.producer.poll(min(max((next_due_ns - now) / 1e9, _PAUSE_S), 0.05))
        if time.monotonic() >= self._flush_s:
            self._recorder.flush(self.plan)
            self._flush_s = time.monotonic() + FLUSH_EVERY_S

    def _send(self, count: int) -> int:
        first, plan = self.next, self.plan
        if first + count > self._recorder.reserved:
            self._recorder.reserve(first + count + self._ahead)
        sent_ns = now_ns()
        due_ns = plan.due_ns(np.arange(first, first + count))
        poison = self._recorder.poison
        kinds = poison.kinds(first, count) if poison else None
        bodies = message.encode(plan.run, plan.producer, first, due_ns, sent_ns, plan.size, kinds)
        self._recorder.handing_over(first, sent_ns)
        taken = self.producer.send(first, message.keys(first, count, plan.keys), bodies)
        self.next += taken
        return taken


def _send_until_stopped(sender: _Sender, control: Control, recorder: Recorder) -> None:
    """Send; after the order to stop, only what is due before its time, for a bounded while."""
    limit_ns, give_up_ns, stats_ns = 2**62, 2**62, 0
    while True:
        now = now_ns()
        sender.step(now, limit_ns)
        if now >= stats_ns:
            control.tell(stats=_stats(sender, recorder))
            stats_ns = now + int(STATS_EVERY_S * 1e9)
        if limit_ns == 2**62:
            try:
                order = control.orders.get_nowait()
            except queue.Empty:
                continue
            if "poison" in order:
                given = order["poison"]
                number, since = sender.plan.producer, sender.next
                recorder.poison = Poison(number, since=since, **given) if given else None
            if "stop" in order:
                limit_ns = order["stop"]
                give_up_ns = now + int(_HAND_OVER_WITHIN_S * 1e9)
        elif now >= limit_ns and (sender.next >= sender.plan.due_until(limit_ns)):
            return
        if now >= give_up_ns:
            return


def _stats(sender: _Sender, recorder: Recorder) -> Json:
    """`due`, `sent`, `ok`, `refused`, `indeterminate`: messages; `highest`: acknowledged offset by
    partition; `reasons`: errors by name; `poison`: see `Poison`, null without; and what the client
    tells of itself."""
    told = sender.producer.told() if isinstance(sender.producer, TellsItself) else {}
    return {
        "due": sender.due, "sent": sender.next, **recorder.counts, **told,
        "highest": recorder.highest, "reasons": recorder.reasons,
        "poison": recorder.poison and recorder.poison.told(),
    }  # fmt: skip
