"""`network.partition`: nothing gets through between parts of the cluster, until heal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import (
    CLIENTS,
    Broker,
    Cluster,
    Effect,
    Injection,
    Json,
    Link,
    Presence,
    Rig,
    Target,
    Way,
)
from chaos_adapters.faults.links import (
    From,
    How,
    all_carry,
    around,
    cut,
    cut_share,
    existing,
    injection_of,
    links_of,
    measure,
    restore,
)
from chaos_adapters.faults.shapes import bridge, halves, majority_ring, parted


@dataclass(frozen=True)
class Partition:
    """Parts the cluster: no byte arrives over the links between its parts, until heal.

    Who is parted from whom is said by one of `isolate` (these nodes from all others), `shape` and
    `groups`. With `hang`, connections stay open and nothing is closed or refused, as with a pulled
    cable; what was sent meanwhile arrives at heal, on the same connections. Needs links, so the
    Docker runtime. Proof: a ping in the broker's protocol is answered over every link that should
    carry and over none that is cut, by nodes that serve, and where one way is left, bytes arrive by
    it; after heal: over all. What is cut lies below TLS.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True
    example: ClassVar[Json] = {"isolate": "one"}

    isolate: Target | None = None
    """The nodes to cut off; several of them still reach each other."""
    parted_from: Annotated[From, Field(alias="from")] = "both"
    """From whom: the other nodes, the clients, or both. With a shape, clients lose the smaller one
    of two halves, and no node of a ring or a bridge."""
    one_way: Literal["in", "out"] | None = None
    """Cuts only what the isolated nodes get, or only what they send."""
    shape: Literal["halves", "majority_ring", "bridge"] | None = None
    """Two halves that do not see each other; a ring, in which each node sees a majority and no two
    the same one (from 4 nodes on); or two halves that see each other only by way of one node."""
    among: Target = "all"
    """The nodes that a shape is made of; all others see all of them."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Lists of nodes that see only those of their own list; `clients` may stand in one."""
    how: How = "hang"
    """Bytes are held back until heal; connections over which bytes go are closed, and new ones too;
    or packets are dropped (by packet rules in the pods), so that not even a connection is made."""

    def __post_init__(self) -> None:
        """One of three says who is parted."""
        if sum(map(bool, (self.isolate, self.shape, self.groups))) != 1:
            raise ValueError("needs one of isolate, shape and groups")
        if self.one_way and (not self.isolate or self.how == "reset"):
            raise ValueError("one_way goes with isolate, and not with `how: reset`, which closes")
        named = [name for group in self.groups for name in group]
        if self.groups and (len(self.groups) < 2 or len(named) != len(set(named))):
            raise ValueError("groups are two lists or more, and no name is in two of them")

    def broker_problem(self, broker: Broker) -> str:
        """Names that no node has."""
        known = [CLIENTS, *(member.name for member in broker.members())]
        strangers = [name for group in self.groups for name in group if name not in known]
        if strangers:
            return f"groups name {', '.join(strangers)}; there are {', '.join(known)}"
        return ""

    def silence_s(self, lasting_s: float) -> float:
        """See spi.Silences: all the time, unless only clients are parted from nodes."""
        if self.groups:
            parts = sum(any(name != CLIENTS for name in group) for group in self.groups)
            between = parts > 1
        else:
            between = self.parted_from != "clients" or self.shape in ("majority_ring", "bridge")
        return lasting_s if between and self.how != "reset" else 0.0

    def plan(self, rig: Rig, random: Random) -> Injection:
        """All links that cross a border, and all must carry now."""
        links = links_of(rig.cluster)
        nodes, ways = self._decide(rig, links, random)
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        all_carry(rig.cluster, ways)
        return injection_of("partition", nodes, ways, random)

    def _decide(
        self, rig: Rig, links: Mapping[Way, Link], random: Random
    ) -> tuple[tuple[str, ...], list[Way]]:
        if self.isolate:
            nodes = rig.resolve(self.isolate)
            return nodes, around(links, nodes, self.parted_from, self.one_way or "both")
        if self.groups:
            named = [name for group in self.groups for name in group]
            nodes, pairs = tuple(n for n in named if n != CLIENTS), parted(self.groups)
        else:
            nodes = rig.resolve(self.among)
            pairs = self._unseen(random.sample(nodes, len(nodes)))
        return nodes, [way for way in existing(links) if way in pairs or way[::-1] in pairs]

    def _unseen(self, order: Sequence[str]) -> list[Way]:
        """Who does not see whom, nodes standing in this order."""
        if self.shape == "bridge":
            return bridge(order)
        if self.shape == "majority_ring":
            return majority_ring(order)
        fewer, more = halves(order)
        peers = [] if self.parted_from == "clients" else parted([fewer, more])
        return peers + ([] if self.parted_from == "peers" else parted([[CLIENTS], fewer]))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """On every way that is to be cut."""
        cut(cluster, injection, self.how)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """Ping over every link whose target serves, all at once."""
        crossing = measure(cluster, injection, self.how)
        on = cut_share(cluster, injection, self.how)
        if on == 1 and crossing.silent and crossing.others_carry:
            return Effect(Presence.FULL, crossing.figures)
        gone = not on and crossing.whole
        return Effect(Presence.NONE if gone else Presence.PARTIAL, crossing.figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Take it off every way."""
        restore(cluster, injection, self.how)
