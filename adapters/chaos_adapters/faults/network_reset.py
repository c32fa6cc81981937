"""`network.reset`: connections over chosen links are closed under their users."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import ChaosError, FaultError
from chaos.spi import Cluster, Duration, Effect, Injection, Presence, Rig, Target, Way
from chaos.timing import Interrupted
from chaos_adapters.faults.links import (
    From,
    all_at_once,
    all_carry,
    answers,
    around,
    imposed_share,
    injection_of,
    lift,
    links_of,
    served,
    streams,
    ways_of,
)
from chaos_adapters.faults.process import managed

_WITNESS_WITHIN_S = 2.0
_CLOSED = "closed"


@dataclass(frozen=True)
class Reset:
    """Closes the connections between the target nodes and others, once or in bursts.

    For `lasting` on each link in turn, whatever connection carries bytes is closed, old ones and
    new ones; then all is as before, and whoever wants may connect again. Over when the last burst
    is over. Proof: in each burst and over each link, a connection that had been answered on before
    was seen closed by its next ping; then links carry again.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True

    target: Target
    """Whose connections are closed."""
    parted_from: Annotated[From, Field(alias="from")] = "both"
    """On the links to whom: the other nodes, the clients, or both."""
    times: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many bursts there are."""
    every: Duration = 1.0
    """How long after the end of a burst the next one begins."""
    lasting: Duration = 0.3
    """How long connections are closed on each link in a burst."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """All must carry now."""
        links, nodes = links_of(rig.cluster), rig.resolve(self.target)
        ways = around(links, nodes, self.parted_from, "both")
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        all_carry(rig.cluster, ways)
        return injection_of("reset", nodes, ways, random)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Burst after burst; each link has a witness of its own."""
        operated, links = managed(cluster), streams(links_of(cluster), ways_of(injection))
        bursts: list[int] = []
        injection.data[_CLOSED] = bursts
        for number in range(self.times):
            if number and operated.ended.wait(self.every):
                raise Interrupted("the next burst")
            seen = all_at_once(lambda way: self._burst(cluster, injection, way), links)
            bursts.append(sum(seen.values()))

    def _burst(self, cluster: Cluster, injection: Injection, way: Way) -> bool:
        link, name = links_of(cluster)[way], injection.data["name"]
        with ExitStack() as stack:
            try:
                witness = stack.enter_context(link.witness(_WITNESS_WITHIN_S))
            except ChaosError:
                return False  # a node that is down has no connections to close
            link.impose(name, "reset_peer", timeout=0)
            closed = witness.closed(_WITNESS_WITHIN_S)
            managed(cluster).ended.wait(self.lasting)
        link.lift(name)
        return closed

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What was seen in each burst."""
        links = len(streams(links_of(cluster), ways_of(injection)))
        bursts = injection.data.get(_CLOSED, [])
        figures = {"links": links, "bursts": len(bursts), "connections seen closed": sum(bursts)}
        if len(bursts) == self.times and all(seen == links for seen in bursts):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.PARTIAL if any(bursts) else Presence.NONE, figures)

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Nothing is imposed, and links to nodes that serve carry."""
        links, on = links_of(cluster), imposed_share(cluster, injection)
        pairs = streams(links, ways_of(injection))
        shares = served(cluster, all_at_once(lambda way: answers(links[way]) or None, pairs))
        carrying = sum(share == 1 for share in shares.values())
        figures = {"links": len(shares), "links that answer": carrying}
        gone = not on and carrying == len(shares)
        return Effect(Presence.NONE if gone else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Off all links."""
        lift(cluster, injection)
