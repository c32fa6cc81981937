"""The message system: what its clusters consist of, its clients, and how to look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import Field

from chaos.spi.clients import Consumer, Deliveries, Producer, SendSink
from chaos.spi.cluster import Address, Launch, Member, Place
from chaos.spi.observing import Observer, View
from chaos.spi.words import Settings


@runtime_checkable
class TellsSettings(Protocol):
    """Ability of a Broker: what is really in force can be read back from the cluster."""

    def in_force(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> Mapping[str, Mapping[str, str]]:
        """Settings by whom they belong to ("kafka-1", "stream"). Raises ClusterError."""

    def unheeded(
        self,
        stream: Any,  # noqa: ANN401
        in_force: Mapping[str, Mapping[str, str]],
    ) -> Sequence[str]:
        """What the experiment sets and is not in force, a sentence each; empty: all is."""


@runtime_checkable
class ClientsMayCrash(Protocol):
    """Ability of a Broker: its client library may end the process that uses it. Such a worker is
    followed by another one, and the run goes on."""

    def clients_may_crash(self) -> str:
        """What is known of that, for people; empty: it does not."""


@runtime_checkable
class TakesBack(Protocol):
    """Ability of a Broker: its consumers are HandsBack, and it puts what came back too often into
    the dead-letter stream itself."""

    def take_back_problem(self, stream: Any) -> str:  # noqa: ANN401
        """Why this cannot be done with this stream; empty: it can."""


@dataclass(frozen=True)
class PartitionEnd:
    """How far a partition was read back: all of [first, end) was read when `read` reached `end`."""

    partition: int
    first: int
    end: int
    read: int


class Readable(Protocol):
    """Ability of a Broker: everything stored can be read again, independently of consumers."""

    def stored(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> Iterator[Deliveries | PartitionEnd]:
        """All that the stream holds, then one PartitionEnd for each partition."""


@runtime_checkable
class HandsOut(Protocol):
    """Ability of a Broker of which a stream may be queues: what consumers settled is gone."""

    def keeps(self, stream: Any) -> bool:  # noqa: ANN401
        """Whether messages of this stream stay when they are consumed. Of one that does not keep
        them, `stored` is what is left when all consumers have gone."""


@dataclass(frozen=True)
class Transactions:
    """How a producer groups what it sends."""

    messages: Annotated[int, Field(ge=1, le=100_000)] = 100
    """How many messages there are in a transaction."""
    abort: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of transactions that are rolled back on purpose, spread evenly."""


@runtime_checkable
class Transacts(Protocol):
    """Ability of a Broker: producers can send in transactions."""

    def transaction_problems(self, settings: Settings) -> Sequence[str]:
        """Why producers with these settings cannot; empty: they can."""

    def settings_in_transactions(self, settings: Settings) -> Settings:
        """The settings that such a producer really has: those that transactions bring along too."""

    def transactional_producer(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        settings: Settings,
        sink: SendSink,
        transactions: Transactions,
        identity: str,
    ) -> Producer:
        """A new producer, which shuts out any earlier one of the same `identity` (that one raises
        Fenced). A message is told as acknowledged when its transaction is committed, and as
        ABORTED when it is rolled back."""


@dataclass(frozen=True)
class Held:
    """What one node holds of one partition: pieces of one message or more, as it stores them.

    All columns have one length, one row a piece, in the order of offsets. `digests` are of the
    content, computed from the bytes that the node sent (31 bits or fewer are enough); `epochs` say
    under which leader it was written; `bodies` are the first message of each (b"": not readable).
    """

    partition: int
    firsts: Sequence[int]
    lasts: Sequence[int]
    digests: Sequence[int]
    epochs: Sequence[int]
    bodies: Sequence[bytes]


@runtime_checkable
class Replicas(Protocol):
    """Ability of a Broker: what each node holds can be read from itself, whoever leads."""

    def held(
        self,
        node: str,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> Iterator[Held | PartitionEnd]:
        """All that the node holds of the stream, then one PartitionEnd for each partition of which
        it has a replica; its `end` is that of the longest replica of the partition.

        A node that does not answer in time gives fewer of them. Raises ClusterError.
        """


@runtime_checkable
class ChecksClients(Protocol):
    """Ability of a Broker: client settings can be checked before anything starts.

    Where they are of our own making, `client_settings` has a dataclass for "producers" and one for
    "consumers", for the documentation; more may follow under a role and a condition.
    """

    def client_problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """What is wrong with them, as (path in the experiment, what to do); empty: nothing is."""


@dataclass(frozen=True)
class Use:
    """What an experiment does with a stream: `consumers` is how many there are, `hands_back`
    whether they hand messages back; `consumer` are their settings. Messages have `size` bytes."""

    consumers: int
    hands_back: bool
    consumer: Settings
    size: int


@runtime_checkable
class ChecksUse(Protocol):
    """Ability of a Broker: what of a load or a target does not go with a stream is told before
    anything starts."""

    def use_problems(self, stream: Any, use: Use) -> Sequence[tuple[str, str]]:  # noqa: ANN401
        """As (path in the experiment, what to do); empty: all of it does."""

    def role_problem(self, role: str, stream: Any) -> str:  # noqa: ANN401
        """Why nobody can have this role in it; empty: somebody can."""


@runtime_checkable
class KeepsNoPlaces(Protocol):
    """Ability of a Broker: of some streams a consumer has to know by itself how far it is."""

    def place_caveats(self, stream: Any, consumer: Settings) -> Sequence[Caveat]:  # noqa: ANN401
        """What it does not promise where another consumer takes the place of one."""


@runtime_checkable
class GivesUpSilent(Protocol):
    """Ability of a Broker: its nodes give up one of which they hear nothing, after a time that the
    experiment knows."""

    def silence_note(self, silence_s: float) -> str:
        """What to know of a silence that may be too short for that; empty: it is long enough."""


@runtime_checkable
class TellsItsEnd(Protocol):
    """Ability of a Broker: the log of a node tells whether it ended in order."""

    def ended_in_order(self, log: Sequence[str]) -> bool:
        """Whether the last lines of a node that is dead say so."""


@dataclass(frozen=True)
class Placement:
    """Where a partition is: on `replicas`, the preferred leader first, of which `in_sync` are."""

    replicas: tuple[str, ...]
    in_sync: tuple[str, ...]


@runtime_checkable
class MovesReplicas(Protocol):
    """Ability of a Broker: replicas can be moved from node to node while it serves.

    Partitions go by full names, so that a move can be undone when nobody knows the stream any more.
    """

    def partition_names(self, stream: Any) -> Sequence[str]:  # noqa: ANN401
        """Of all partitions of a stream, in their order."""

    def placement(
        self, clients: Mapping[str, Address], names: Sequence[str], timeout_s: float
    ) -> Mapping[str, Placement]:
        """Where they are now; a move under way shows as more replicas than there will be. Raises
        ClusterError when the cluster does not answer or does not know one."""

    def move(
        self,
        clients: Mapping[str, Address],
        wanted: Mapping[str, Sequence[str]],
        timeout_s: float,
    ) -> None:
        """Begin to move these partitions, or back: it replaces a move that is under way. Returns
        when the cluster has taken it on. Raises ClusterError."""


@runtime_checkable
class ElectsLeaders(Protocol):
    """Ability of a Broker: the preferred leaders of all partitions can be brought back."""

    def preferred(self, view: View) -> Mapping[int, str]:
        """Who should lead each partition."""

    def elect(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> Mapping[int, str]:
        """Elect; for each partition that had another leader "", or why it was not elected. Raises
        ClusterError."""


class Question(StrEnum):
    """What a verifier answers, and what settings can promise."""

    LOSS = "loss"
    DUPLICATION = "duplication"
    PHANTOMS = "phantoms"
    DIVERGENCE = "divergence"
    ORDERING = "ordering"
    RECOVERY = "recovery"
    FAILOVER = "failover"
    AVAILABILITY = "availability"
    HANDLING = "handling"


@dataclass(frozen=True)
class Caveat:
    """A setting under which the broker's documentation does *not* promise a good answer."""

    question: str
    setting: str
    why: str


class Broker(Protocol):
    """A message system: what its clusters consist of, and its clients.

    `stream_type` is a frozen dataclass whose fields are the experiment's `stream:` section; its
    attribute `partitions` is how many partitions or queues the stream has, numbered from 0.
    """

    stream_type: ClassVar[type]
    roles: ClassVar[Mapping[str, bool]]
    """Roles that a target may name -> whether the role takes a partition: `{"leader": True}`."""

    def problems(self, stream: Any) -> Sequence[tuple[str, str]]:  # noqa: ANN401
        """What does not fit together, as (path in the experiment, what to do); empty: all fits."""

    def members(self) -> Sequence[Member]:
        """The nodes that make up the cluster."""

    def launch(self, place: Place) -> Launch:
        """How to start one member, now that all addresses are known."""

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        """What is still missing before the cluster can be used; empty when it is ready."""

    def prepare(self, clients: Mapping[str, Address], stream: Any, timeout_s: float) -> None:  # noqa: ANN401
        """Create the stream and wait until all its replicas are in sync. Raises ClusterError."""

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        """Make a kept cluster as good as new and prove it. Raises ClusterError when it is not."""

    def observer(self, clients: Mapping[str, Address], stream: Any) -> Observer:  # noqa: ANN401
        """A new observer of the stream."""

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        """The nodes that have a role now; empty when nobody has it."""

    def producer(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        settings: Settings,
        sink: SendSink,
    ) -> Producer:
        """A new, connected producer."""

    def consumer(
        self,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401
        settings: Settings,
        group: str,
    ) -> Consumer:
        """A new member of the group, which starts at the beginning of the stream."""

    def caveats(self, stream: Any, producer: Settings, consumer: Settings) -> Sequence[Caveat]:  # noqa: ANN401
        """Why these settings do not promise what users want; empty: they are safe."""
