"""Half messages: what a transactional producer sends, and how each of them is ended.

    half sent ──stored──> waits for the rest ──all are──> end asked for ──done──> committed, or
        │                                                   │                     rolled back
        │ refused, lost: as any send                        │ refused, lost: asked for again until
        └──────────────> told                               └ sendMsgTimeout is over: INDETERMINATE

A transaction of RocketMQ is of one message. A local transaction of several, of which each is a half
message first, is what `messages` makes: they are ended when all are stored, one by one, so they may
end apart. A broker asks any producer of the group about half messages that nobody ended
(transactionTimeOut); what was decided follows from a message's number, as from an application's
database, so each of them can tell. Sources: RocketMQ, "Transaction Message"; classes
EndTransactionRequestHeader and MessageSysFlag of 5.3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chaos.spi import NUMBER_AT, Transactions
from chaos_adapters.brokers.rocketmq.remoting import Frame, messages

PREPARED = 4
"""The system flag of a half message."""
_COMMIT, _ROLLBACK = 8, 12
_PLACE_AT = 16
"""Where, in the hexadecimal id that a broker gives a message, its place in the log begins."""


@dataclass(eq=False)
class Half:
    """A half message that is stored: which queue it is for, where it is in the log and in the queue
    of half messages, when it was first tried to end it, and when last."""

    sequence: int
    queue: int
    physical: int
    offset: int
    commit: bool
    first_s: float = 0.0
    asked_s: float = 0.0
    ask_at: float = 0.0

    def fields(self, group: str) -> Mapping[str, object]:
        """What END_TRANSACTION takes."""
        return _end(group, self.physical, self.offset, self.commit, asked=False)


def _end(group: str, physical: int, offset: int, commit: bool, asked: bool) -> Mapping[str, object]:
    return {
        "producerGroup": group, "tranStateTableOffset": offset, "commitLogOffset": physical,
        "commitOrRollback": _COMMIT if commit else _ROLLBACK, "fromTransactionCheck": asked,
        "msgId": "", "transactionId": "",
    }  # fmt: skip


@dataclass
class Halves:
    """Those of one producer that are not ended yet, in the order in which they were stored."""

    plan: Transactions
    waiting: list[Half] = field(default_factory=list)
    over: dict[int, int] = field(default_factory=dict)
    """Of each local transaction how many messages are stored, or told as failed."""

    def commits(self, sequence: int) -> bool:
        """Spread evenly: with 0.1 every tenth local transaction is rolled back."""
        number, share = sequence // self.plan.messages, self.plan.abort
        return int((number + 1) * share) == int(number * share)

    def stored(self, sequence: int, queue: int, fields: Mapping[str, str]) -> None:
        """The broker has it, at the place that is a part of its id."""
        physical, offset = int(fields["msgId"][_PLACE_AT:], 16), int(fields["queueOffset"])
        half = Half(sequence, queue, physical, offset, self.commits(sequence))
        self.waiting.append(half)
        self.failed(sequence)

    def failed(self, sequence: int) -> None:
        """No half message of this number will come any more."""
        number = sequence // self.plan.messages
        self.over[number] = self.over.get(number, 0) + 1

    def due(self, now: float, all_of_them: bool) -> Iterator[Half]:
        """Those whose local transaction is complete, or all; not those that were tried just now."""
        for half in self.waiting:
            whole = self.over[half.sequence // self.plan.messages] >= self.plan.messages
            if (whole or all_of_them) and now >= half.ask_at:
                yield half

    def verdict(self, group: str, question: Frame) -> Mapping[str, object]:
        """What a broker that asks about a half message, of whichever producer, is answered."""
        (found,) = messages(question.body)
        number = int.from_bytes(found.body[NUMBER_AT : NUMBER_AT + 8], "little", signed=True)
        physical = int(question.fields["commitLogOffset"])
        offset = int(question.fields["tranStateTableOffset"])
        return _end(group, physical, offset, self.commits(number), asked=True)
