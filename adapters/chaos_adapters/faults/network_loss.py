"""`network.loss`: a share of the packets does not arrive."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import CLIENTS, Cluster, Effect, Injection, Json, Losses, Presence, Rig, Target, Way
from chaos_adapters.faults.links import (
    Direction,
    From,
    all_at_once,
    answers,
    around,
    injection_of,
    links_of,
    packets_of,
    served,
    streams,
    ways_of,
)

_BASE = "retransmitted before"
_ENOUGH = 30  # expected drops from which on their share has to be about right
_NEAR = 2.0


@dataclass(frozen=True)
class Loss:
    """Drops a share of the packets between the target nodes and others, at random.

    TCP sends them again: everything gets slower, nothing is lost above it. By packet rules in the
    pods, in a table of the fault's own; needs the agent's image. Proof: the rules are on every way,
    counted what they dropped, about the share that was asked for, and senders sent segments again;
    a way that no packet took proves nothing. After heal: no rule is left, and links carry.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True
    example: ClassVar[Json] = {"share": 0.1}

    target: Target
    """Whose packets are lost."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """How many of all, such as 0.05; to lose all of them, use network.partition with how: drop."""
    parted_from: Annotated[From, Field(alias="from")] = "peers"
    """On the links to whom: the other nodes, the clients, or both."""
    direction: Direction = "both"
    """What the target nodes get, what they send, or both."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Also that packet rules can be had at all."""
        links, nodes = links_of(rig.cluster), rig.resolve(self.target)
        ways = around(links, nodes, self.parted_from, self.direction)
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        packets_of(rig.cluster).retransmitted(_senders(ways))
        return injection_of("loss", nodes, ways, random)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """One table in each pod; what was sent again before is none of it."""
        packets, ways = packets_of(cluster), ways_of(injection)
        injection.data[_BASE] = packets.retransmitted(_senders(ways))
        packets.lose(injection.data["name"], ways, self.share)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What the kernel counted, and pings over the links, so that there is something to count
        and to see that they carry."""
        links, ways = links_of(cluster), ways_of(injection)
        pairs = streams(links, ways)
        carried = served(cluster, all_at_once(lambda way: answers(links[way]) or None, pairs))
        packets = packets_of(cluster)
        rules = packets.losses().get(injection.data["name"])
        found = [(rules or {})[way] for way in ways if way in (rules or {})]
        again = packets.retransmitted(_senders(ways)) - injection.data.get(_BASE, 0)
        seen, dropped = sum(each.seen for each in found), sum(each.dropped for each in found)
        figures = {
            "packets": seen, "dropped": dropped, "share": dropped / seen if seen else 0,
            "asked for": self.share, "sent again": again,
            "ways without rules": len(ways) - len(found),
        }  # fmt: skip
        if rules is None and all(share == 1 for share in carried.values()):
            return Effect(Presence.NONE, figures)
        bites = all(self._bites(each) for each in found) and len(found) == len(ways)
        heard = again > 0 or not _senders(ways)
        return Effect(Presence.FULL if bites and dropped and heard else Presence.PARTIAL, figures)

    def _bites(self, counted: Losses) -> bool:
        """Packets came by, and as many of them were dropped as chance allows."""
        expected = counted.seen * self.share
        if expected < _ENOUGH:
            return counted.seen > 0
        return expected / _NEAR <= counted.dropped <= expected * _NEAR

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Remove the tables."""
        packets_of(cluster).regain(injection.data["name"])


def _senders(ways: list[Way]) -> list[str]:
    """The nodes whose packets are dropped; what clients send again, nobody counts for us."""
    return sorted({source for source, _ in ways} - {CLIENTS})
