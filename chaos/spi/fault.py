"""The faults: what they decide, what they do, and how that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import ClassVar, Protocol, runtime_checkable

from chaos.spi.broker import Broker
from chaos.spi.cluster import Cluster
from chaos.spi.words import Json


@dataclass(frozen=True)
class Injection:
    """What a fault decided to do, complete enough to undo it from the disk.

    `nodes` are the nodes, or clients, that it acts on; `data` is whatever else heal needs.
    """

    nodes: tuple[str, ...]
    data: Json = field(default_factory=dict)


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
class Managed(Protocol):
    """Ability of the Cluster that faults get: what its broker does for an operator."""

    @property
    def broker(self) -> Broker:
        """The broker plug-in, which may have abilities of its own."""


class Rig(Protocol):
    """What a fault may look at when it plans."""

    @property
    def cluster(self) -> Cluster:
        """The cluster to act on."""

    def resolve(self, target: str) -> tuple[str, ...]:
        """The names of the nodes that a target meant before the first fault. Raises FaultError."""

    def resolve_clients(self, target: str) -> tuple[str, ...]:
        """The names of the clients that a ClientTarget means. Raises FaultError."""


class Fault(Protocol):
    """One kind of failure. The engine calls plan, inject, in_effect, heal, in_effect.

    `claims` names what it takes hold of on each of its nodes ("process", "network", "disk"): two
    faults that overlap in time may not claim the same thing of the same node. "client" is for those
    that act on clients of the load (Loaded) instead of nodes.
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
    minutes, as a restart of all nodes does.
    """

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Measure what is left of it: NONE when everything is as it should be afterwards."""
