"""The clients of a message system: who sends, who receives, and what becomes of each message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Outcome(IntEnum):
    """What is known of a send when it is over."""

    OK = 1
    REFUSED = 2
    """Definite failure: it is surely not stored and must never appear."""
    INDETERMINATE = 3
    """A time-out, a lost connection: it may appear or not, both are right."""
    ABORTED = 4
    """Its transaction was rolled back for certain: nobody may get it who reads committed ones."""
    WEAK = 5
    """Stored, but the broker says that it is not as safe as was asked for, such as not flushed or
    not copied in time: it may be lost, and should appear otherwise."""


NUMBER_AT = 16
"""Where a body holds its message's sequence number, little-endian in 8 bytes (chaos.message): for
clients whose reports give back a body, but nothing that was handed over with it."""

Numbers = Sequence[int] | NDArray[np.int64]


class SendSink(Protocol):
    """Takes the outcome of each send, once, while `poll` or `close` is called."""

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        """These are stored, as the broker was found to say at `done_ns`; the columns have one
        length. An offset or partition that it does not tell is -1."""

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        """It was refused or its fate is unknown; `partition` is -1 where none was chosen yet."""


class Producer(Protocol):
    """Sends without waiting for acknowledgements. Raises ClusterError when it cannot go on."""

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """Hand over messages number `first` and following; how many were taken, in order (fewer
        than given when the client has no room now)."""

    def poll(self, timeout_s: float) -> None:
        """Let the client report outcomes, for up to so long; called between sends and when idle."""

    def close(self, timeout_s: float) -> None:
        """Wait for open sends, then disconnect; what is still open then is never reported."""


@runtime_checkable
class TellsItself(Protocol):
    """Ability of a Producer or Consumer: it tells how it is connected."""

    def told(self) -> Mapping[str, str | None]:
        """`node`: to which one (None: to none); `blocked`: why the broker takes nothing from it;
        `channel`: why it opened a new one on the same connection, last; `left`: why it left a
        connection that was not closed, last."""


@dataclass(frozen=True)
class Deliveries:
    """Messages as they came out of the broker, in order; all columns have one length."""

    bodies: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]
    received_ns: int
    redelivered: Sequence[bool] | None = None


class Consumer(Protocol):
    """One member of a consumer group."""

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """The next messages; None: none came in time. Raises ClusterError if it cannot go on."""

    def settle(self) -> None:
        """Everything received so far has been recorded: acknowledge it / store its offsets."""

    def close(self) -> None:
        """Settle durably and leave the group."""


@runtime_checkable
class SettlesDurably(Protocol):
    """Ability of a Consumer whose `settle` takes a while to be durable."""

    def settle_durably(self) -> None:
        """As `settle`, and it is durable when this returns. Raises ClusterError."""


@runtime_checkable
class HandsBack(Protocol):
    """Ability of a Consumer: a message that could not be handled goes back to the broker."""

    def hand_back(self, index: int) -> None:
        """Give back the message at this place of what `receive` returned last: it is delivered
        again, or dead-lettered when that was often enough. `settle` leaves it out."""


@runtime_checkable
class WaitsForSettling(Protocol):
    """Ability of a Consumer: it gets little more before what it got is settled, so that is done
    after each `receive` instead of by the clock."""

    waits_for_settling: bool
