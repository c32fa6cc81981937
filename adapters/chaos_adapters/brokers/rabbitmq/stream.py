"""The queues of a run: what they are, how they are declared, what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from chaos.spi import Settings

DEAD_LETTERS = "-dlt"
"""What is behind the name of a stream in that of its dead-letter stream (load.consumers)."""


class Kind(StrEnum):
    """The kinds of queues."""

    QUORUM = "quorum"
    CLASSIC = "classic"
    MIRRORED = "mirrored"
    STREAM = "stream"


@dataclass(frozen=True)
class Queues:
    """The queues of a run, numbered from 0. A message goes to the queue that its key leads to."""

    kind: Kind = Kind.QUORUM
    """`quorum`, `classic` (one copy), `mirrored` (classic, with the mirrors of `policy`; RabbitMQ
    up to 3.13) or `stream`."""
    queues: Annotated[int, Field(ge=1, le=100)] = 3
    """How many queues there are. Their leaders are spread over the nodes."""
    replicas: Annotated[int, Field(ge=1, le=9)] = 3
    """How many copies there are of a quorum queue or a stream."""
    durable: bool = True
    """Whether a classic queue is to survive the restart of its node."""
    delivery_limit: Annotated[int, Field(ge=1)] | None = None
    """How often a message of a quorum queue may be delivered again before the queue dead-letters
    it, at least once, into the one of the same number of the dead-letter stream (see `hand_back` of
    consumers). Unset: it may come again for ever, up to 3.13; from 4.0 on it is dropped after 20
    times."""
    single_active_consumer: bool = False
    """Whether a queue gives messages to one consumer only, as long as that one is there; the others
    wait for its end."""
    policy: Settings = field(default_factory=dict)
    """A policy for the queues, as RabbitMQ names its keys, such as `ha-mode`."""
    arguments: Settings = field(default_factory=dict)
    """Arguments of the queues, as RabbitMQ names them; not those that have a key of their own
    here."""
    name: str = "chaos"
    """What the names of the queues begin with; each run adds its own number."""

    @property
    def partitions(self) -> int:
        """How many there are."""
        return self.queues

    @property
    def names(self) -> Sequence[str]:
        """Of the queues, in the order of their numbers."""
        return [f"{self.name}.{number}" for number in range(self.queues)]

    @property
    def in_force(self) -> Settings:
        """The policy that queues really have: mirrored ones mirror to all nodes by default."""
        return {"ha-mode": "all", **self.policy} if self.kind is Kind.MIRRORED else self.policy

    def declared(self, number: int) -> Mapping[str, object]:
        """The arguments of a queue's declaration."""
        kind = Kind.CLASSIC if self.kind is Kind.MIRRORED else self.kind
        given: dict[str, object] = {"x-queue-type": str(kind)}
        if self.kind is Kind.QUORUM:
            given["x-quorum-initial-group-size"] = self.replicas
        if self.kind is Kind.STREAM:
            given["x-initial-cluster-size"] = self.replicas
        if self.single_active_consumer:
            given["x-single-active-consumer"] = True
        if self.delivery_limit is not None and not self.name.endswith(DEAD_LETTERS):
            given |= {
                "x-delivery-limit": self.delivery_limit,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"{self.name}{DEAD_LETTERS}.{number}",
                # At least once wants a queue that refuses what is too much.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        return {**given, **self.arguments}

    @property
    def consumed(self) -> Mapping[str, object]:
        """The arguments of a subscription: a stream is read from its beginning."""
        return {"x-stream-offset": "first"} if self.kind is Kind.STREAM else {}

    @property
    def keeps(self) -> bool:
        """Whether messages stay when they are consumed."""
        return self.kind is Kind.STREAM
