"""The faults: what they decide, what they do, and how that is measured."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, ClassVar, Protocol, runtime_checkable

from chaos.spi.broker import Broker
from chaos.spi.cluster import Cluster, Runtime
from chaos.spi.observing import View
from chaos.spi.words import Json


@dataclass(frozen=True)
class Injection:
    """What a fault decided to do, complete enough to undo it from the disk.

    `nodes` are the nodes, or clients, that it acts on; `data` is whatever else heal needs. `holds`
    is what it takes hold of where that is less than all of its nodes: ways of links.
    """

    nodes: tuple[str, ...]
    data: Json = field(default_factory=dict)
    holds: tuple[str, ...] = ()


class Presence(StrEnum):
    """How much of a fault is there."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True)
class Effect:
    """What was measured of a fault. `figures` are shown to people: `{"unanswered links": 4}`."""

    presence: Presence
    figures: Json = field(default_factory=dict)


@runtime_checkable
class Managed(Cluster, Protocol):
    """What the Cluster that faults get can do besides: what an operator does with it.

    Outside of a run (the reaper, `chaos heal`) there is no stream: `stream` is None and `look`
    raises ClusterError.
    """

    @property
    def broker(self) -> Broker:
        """The broker plug-in, which may have abilities of its own."""

    @property
    def stream(self) -> Any:  # noqa: ANN401 - the broker's own type
        """The run's stream."""

    @property
    def ended(self) -> threading.Event:
        """Set when the run is to end: an `inject` that takes its time waits with
        `wait_until(..., stop=cluster.ended)`, and lets its Interrupted through."""

    def look(self) -> View:
        """What the cluster says of itself now. Raises ClusterError."""

    def missing(self) -> str:
        """What the cluster lacks of being whole: a node that does not run or serve, a replica that
        is behind; empty when it is whole. An error is told as what is missing, too."""


class Rig(Protocol):
    """What a fault may look at when it plans."""

    @property
    def cluster(self) -> Cluster:
        """The cluster to act on."""

    def resolve(self, target: str) -> tuple[str, ...]:
        """The names of the nodes that a target meant before the first fault. Raises FaultError."""

    def resolve_clients(self, target: str) -> tuple[str, ...]:
        """The names of the clients that a ClientTarget means. Raises FaultError."""


OF_THE_STREAM = frozenset({"replicas", "leaders"})
"""What a fault claims of the stream instead of its nodes: it holds no node down, and no other one
that claims the same may overlap with it, whatever their nodes are."""


WHOLE_NODE = "node"
"""What a fault claims that takes hold of all that a node has."""


def contested(one: str, other: str) -> bool:
    """Whether two faults with these claims fight when they meet on a node: the claims are the same,
    one is a part of the other ("network.delay" of "network"), or one is WHOLE_NODE."""
    if one in OF_THE_STREAM or other in OF_THE_STREAM or "client" in (one, other):
        return one == other
    parts = one.startswith(f"{other}.") or other.startswith(f"{one}.")
    return one == other or parts or WHOLE_NODE in (one, other)


def holds_down(claims: str) -> bool:
    """Whether such a fault may keep a node down, so that nobody else should start it."""
    return claims not in OF_THE_STREAM and claims.partition(".")[0] != "network"


class Fault(Protocol):
    """One kind of failure. The engine calls plan, inject, in_effect, heal, in_effect.

    `claims` names what it takes hold of on each of its nodes ("process", "network", "disk"), or of
    the stream (OF_THE_STREAM): two faults that overlap in time may not claim the same thing of the
    same node or stream; see `contested`. "client" is for those that act on clients of the load
    (Loaded) instead of nodes.

    One whose parameters need more than that may have `example`, a ClassVar of keys and values as in
    YAML, which `chaos init` writes.
    """

    claims: ClassVar[str]
    needs_links: ClassVar[bool]
    """Whether it acts on links, and so needs a runtime whose clusters are Meshed."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Look, decide, change nothing. Raises FaultError when it cannot be done."""

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Do it. Raises ClusterError or FaultError."""

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Measure it: FULL while it is wholly on, NONE when it is wholly gone."""

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Undo it; idempotent, and right after none, half or all of `inject`."""


@runtime_checkable
class Momentary(Protocol):
    """Ability of a Fault: it is over when `inject` returns, so it takes no `for:`.

    The engine calls plan, inject, in_effect (FULL: it was done), heal, residue. `inject` may take
    minutes, as a restart of all nodes does; what it measured on its way it notes in
    `injection.data`, for `in_effect` to tell.
    """

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Measure what is left of it: NONE when everything is as it should be afterwards."""


@runtime_checkable
class ChecksRuntime(Protocol):
    """Ability of a Fault: it can tell before anything starts that a runtime is not up to it."""

    def runtime_problem(self, runtime: Runtime) -> str:
        """Why it cannot be done there; empty: it can."""


@runtime_checkable
class ChecksBroker(Protocol):
    """Ability of a Fault: it can tell before anything starts that a broker is not up to it."""

    def broker_problem(self, broker: Broker) -> str:
        """Why it cannot be done with this broker; empty: it can."""


@runtime_checkable
class ReplacesConsumers(Protocol):
    """Ability of a Fault: another consumer takes the place of one, and knows nothing of it."""

    def replaces_consumers(self) -> bool:
        """Whether it does, as far as its target tells."""


@runtime_checkable
class Silences(Protocol):
    """Ability of a Fault: nodes may hear nothing of each other for a while, and no connection is
    closed that would tell them."""

    def silence_s(self, lasting_s: float) -> float:
        """For how long, as far as its parameters tell, if it lasts so long; 0: they are told."""


@runtime_checkable
class EndsAlone(Protocol):
    """Ability of a Fault: it ends by itself although the tool and its reaper are both dead. Any
    other one stays until somebody heals: `chaos heal`, or the next run here."""

    ends_alone: ClassVar[str]
    """When, and by what; half a sentence, for people."""


@runtime_checkable
class HealsByBrokers(Protocol):
    """Ability of a Fault: its heal waits for brokers to do something. So the time that it takes is
    their doing, too, and no excuse for a wait that is too long."""

    heals_by_brokers: ClassVar[str]
    """What they do; half a sentence, for people."""
