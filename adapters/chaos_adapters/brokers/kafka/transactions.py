"""A producer that sends in transactions, some of which it rolls back on purpose.

    idle ──send──> open ──full──> flushing ──all reported──> ending ──done──> idle
                    └──── an error that asks for a rollback ────^
    any ──fenced by another producer of the same identity──> Fenced

Nothing waits: each step is tried again from `poll`, as librdkafka allows ("Transactional producer
API", rd_kafka_commit_transaction: a call that timed out may be made again).

Sources: Kafka documentation, "Message Delivery Semantics"; KIP-98 for fencing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from confluent_kafka import KafkaError, KafkaException

from chaos.errors import ClusterError, Fenced
from chaos.spi import Numbers, Outcome, SendSink, Settings, Transactions
from chaos.timing import now_ns
from chaos_adapters.brokers.kafka.clients import KafkaProducer

_TRY_S = 0.1
_REGISTER_WITHIN_S = 30.0
_FENCED = frozenset({
    KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED,
})  # fmt: skip


class _Stage(Enum):
    IDLE = auto()
    OPEN = auto()
    FLUSHING = auto()
    ENDING = auto()


@dataclass
class _Transaction:
    """One transaction: the messages from `first` on, `count` of them, and what was reported of
    them. It is a SendSink, as the outcome of a message is that of its transaction."""

    first: int
    abort: bool
    count: int = 0
    acks: list[tuple[int, int, int]] = field(default_factory=list)
    failures: list[tuple[int, int, Outcome, str]] = field(default_factory=list)
    why: str = "rolled back on purpose"
    asked: bool = False
    """Whether a commit was tried, so that it may have happened."""

    def acknowledged(
        self,
        sequences: Numbers,
        partitions: Numbers,
        offsets: Numbers,
        done_ns: int,  # noqa: ARG002
    ) -> None:
        """They are stored, but not yet valid; late reports of one that was rolled back are not."""
        rows = zip(sequences, partitions, offsets, strict=True)
        self.acks += [row for row in rows if row[0] >= self.first]

    def failed(
        self,
        sequence: int,
        partition: int,
        done_ns: int,  # noqa: ARG002
        outcome: Outcome,
        reason: str,
    ) -> None:
        """It is not, or nobody knows."""
        self.failures.append((sequence, partition, outcome, reason))

    def committed(self, sink: SendSink) -> None:
        """All that was stored is valid from now on."""
        done_ns = now_ns()
        if self.acks:
            sequences, partitions, offsets = zip(*self.acks, strict=True)
            sink.acknowledged(sequences, partitions, offsets, done_ns)
        for sequence, partition, outcome, reason in self.failures:
            sink.failed(sequence, partition, done_ns, outcome, reason)

    def over(self, sink: SendSink, outcome: Outcome, reason: str) -> None:
        """None of it counts (ABORTED), or nobody knows (INDETERMINATE)."""
        done_ns = now_ns()
        where = {sequence: partition for sequence, partition, _ in self.acks}
        for sequence in range(self.first, self.first + self.count):
            sink.failed(sequence, where.get(sequence, -1), done_ns, outcome, reason)


class TransactionalProducer:
    """spi.Producer; each message's outcome is told when its transaction has ended."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        sink: SendSink,
        transactions: Transactions,
    ) -> None:
        """Registers, which fences an earlier producer of the same `transactional.id`."""
        self._sink, self._plan = sink, transactions
        self._stage, self._number = _Stage.IDLE, 0
        self._now = _Transaction(0, abort=False)
        self._producer = KafkaProducer(settings, topic, self)
        self._client = self._producer.client
        try:
            self._client.init_transactions(_REGISTER_WITHIN_S)
        except KafkaException as error:
            raise ClusterError(f"Kafka producer cannot register: {error.args[0]}") from error

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        """See SendSink: kept until its transaction ends."""
        self._now.acknowledged(sequences, partitions, offsets, done_ns)

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        """See SendSink: kept until its transaction ends."""
        if sequence >= self._now.first:
            self._now.failed(sequence, partition, done_ns, outcome, reason)

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """Takes none while a transaction ends, and not more than fit into the open one."""
        if self._stage is _Stage.IDLE:
            self._begin(first)
        if self._stage is not _Stage.OPEN:
            return 0
        room = self._plan.messages - self._now.count
        taken = self._producer.send(first, keys[:room], bodies[:room])
        self._now.count += taken
        if self._now.count >= self._plan.messages:
            self._stage = _Stage.FLUSHING
        return taken

    def poll(self, timeout_s: float) -> None:
        """Reports come in, and what is full comes to its end. Raises Fenced, ClusterError."""
        if self._stage in (_Stage.IDLE, _Stage.OPEN):
            self._poll(timeout_s)
            return
        if self._stage is _Stage.FLUSHING:
            self._poll(min(timeout_s, _TRY_S) or 0.001)
            if len(self._client):
                return
            self._stage = _Stage.ENDING
        self._end()

    def _poll(self, timeout_s: float) -> None:
        try:
            self._producer.poll(timeout_s)
        except ClusterError as error:
            if isinstance(error.__cause__, KafkaException):
                raise self._hopeless(error.__cause__.args[0]) from error
            raise

    def close(self, timeout_s: float) -> None:
        """End the open transaction, whatever its size."""
        if self._stage is _Stage.OPEN:
            self._stage = _Stage.FLUSHING
        deadline_ns = now_ns() + int(timeout_s * 1e9)
        while self._stage is not _Stage.IDLE and now_ns() < deadline_ns:
            self.poll(_TRY_S)
        if self._stage is not _Stage.IDLE:
            self._now.over(self._sink, Outcome.INDETERMINATE, "its transaction did not end")

    def _begin(self, first: int) -> None:
        number, share = self._number, self._plan.abort
        self._number += 1
        # Spread evenly: with 0.1 it is every tenth.
        abort = int((number + 1) * share) > int(number * share)
        self._now = _Transaction(first, abort)
        try:
            self._client.begin_transaction()
        except KafkaException as error:
            raise self._hopeless(error.args[0]) from error
        self._stage = _Stage.OPEN

    def _end(self) -> None:
        """Commit or roll back; what could not be done now is tried again."""
        now = self._now
        try:
            if now.abort:
                self._client.abort_transaction(_TRY_S)
                now.over(self._sink, Outcome.ABORTED, now.why)
            else:
                now.asked = True
                self._client.commit_transaction(_TRY_S)
                now.committed(self._sink)
        except KafkaException as error:
            self._not_ended(error)
        else:
            self._stage = _Stage.IDLE

    def _not_ended(self, error: KafkaException) -> None:
        reason = error.args[0]
        if reason.retriable() or reason.code() == KafkaError._TIMED_OUT:
            return
        if reason.txn_requires_abort():
            self._now.abort, self._now.why = True, f"rolled back after {reason.name()}"
            return
        raise self._hopeless(reason) from error

    def _hopeless(self, reason: KafkaError) -> ClusterError:
        """The error to raise when this producer can do nothing any more.

        Without a commit that was tried nothing of the open transaction can ever count: whoever
        fences a producer rolls its transaction back first.
        """
        fenced = reason.code() in _FENCED
        known = fenced and not self._now.asked
        outcome = Outcome.ABORTED if known else Outcome.INDETERMINATE
        if self._stage is not _Stage.IDLE:
            self._now.over(self._sink, outcome, reason.name())
            self._stage = _Stage.IDLE
        if fenced:
            return Fenced("another producer has taken over its transactional.id")
        return ClusterError(f"Kafka producer: {reason}")
