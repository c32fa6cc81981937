"""`network.bandwidth`: chosen links carry so much and no more."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import (
    BOTH,
    UPSTREAM,
    Cluster,
    Effect,
    Injection,
    Json,
    Presence,
    Rig,
    Size,
    Target,
    Way,
)
from chaos_adapters.faults.links import (
    Direction,
    From,
    all_at_once,
    around,
    impose,
    imposed_share,
    injection_of,
    lift,
    links_of,
    served,
    streams,
    told,
    ways_of,
)

LEAST_BPS = 1000
_LONG_S, _WITHIN_S = 1.0, 3.0
_OVER, _CLEARLY = 1.25, 1.5


@dataclass(frozen=True)
class Bandwidth:
    """Lets connections between the target nodes and others carry so many bytes a second.

    Each connection gets the rate for itself, as the proxy of a link counts them one by one. Proof:
    pings follow each other on one connection over every such link whose target serves; what they
    and their answers amount to is at most a quarter over the rate, and was at least half as much
    again without it. After heal it is above the rate again. Links whose protocol answers once a
    connection cannot be measured so, and a rate above what a link carries would not be felt: both
    are refused. What is slowed lies below TLS.
    """

    claims: ClassVar[str] = "network.rate"
    needs_links: ClassVar[bool] = True
    example: ClassVar[Json] = {"bytes_per_s": "1MB"}

    target: Target
    """Whose links are narrow."""
    bytes_per_s: Size
    """How many bytes a connection may carry in a second, in each direction, at least 1000."""
    parted_from: Annotated[From, Field(alias="from")] = "peers"
    """On the links to whom: the other nodes, the clients, or both."""
    direction: Direction = "both"
    """What the target nodes get, what they send, or both."""

    def __post_init__(self) -> None:
        """The proxy counts in thousands."""
        if self.bytes_per_s < LEAST_BPS:
            raise ValueError(f"bytes_per_s should be at least {LEAST_BPS}")

    def plan(self, rig: Rig, random: Random) -> Injection:
        """What carries less even now could not be told from it."""
        links, nodes = links_of(rig.cluster), rig.resolve(self.target)
        ways = around(links, nodes, self.parted_from, self.direction)
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        injection = injection_of("bandwidth", nodes, ways, random)
        found = self._rates(rig.cluster, injection)
        if mute := [way for way, bps in found.items() if not bps]:
            raise FaultError(
                f"the rate of {told(mute)} cannot be measured: what listens there answers a ping "
                "once a connection, or not at all now"
            )
        if slow := [way for way, bps in found.items() if bps < _CLEARLY * self.bytes_per_s]:
            most = min(found[way] for way in slow)
            raise FaultError(
                f"{self.bytes_per_s} bytes/s would not be felt: a connection over {told(slow)} "
                f"carries {most:.0f} bytes/s of pings even now"
            )
        return injection

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """A toxic on each way."""
        impose(cluster, injection, "bandwidth", {"rate": self.bytes_per_s // 1000})

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """About a second of pings over each of the links."""
        on = imposed_share(cluster, injection)
        found = self._rates(cluster, injection)
        counted = served(cluster, {way: bps or None for way, bps in found.items()})
        rates = {way: found[way] for way in counted}
        narrow = sum(0 < bps <= _OVER * self.bytes_per_s for bps in rates.values())
        wide = sum(bps > self.bytes_per_s for bps in rates.values())
        figures = {
            "links": len(rates), "narrow links": narrow,
            "slowest, bytes/s": round(min(rates.values(), default=0)),
            "fastest, bytes/s": round(max(rates.values(), default=0)),
            "asked for": self.bytes_per_s,
        }  # fmt: skip
        if on == 1 and narrow == len(rates) > 0:
            return Effect(Presence.FULL, figures)
        gone = not on and wide == len(rates)
        return Effect(Presence.NONE if gone else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Off all links."""
        lift(cluster, injection)

    def _rates(self, cluster: Cluster, injection: Injection) -> dict[Way, float]:
        """Bytes a second on the limited streams of each link, the faster one where both are."""
        links = links_of(cluster)
        limited = streams(links, ways_of(injection))
        size = round(self.bytes_per_s * _LONG_S)

        def rate(way: Way) -> float:
            sent, answered = links[way].flow(size, _WITHIN_S)
            if limited[way] == BOTH:
                return max(sent, answered)
            return sent if limited[way] == UPSTREAM else answered

        return all_at_once(rate, limited)
