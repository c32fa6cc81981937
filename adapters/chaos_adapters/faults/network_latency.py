"""`network.latency`: bytes take longer over chosen links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import (
    BOTH,
    Cluster,
    Duration,
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

MOST_S = 4.0
_SPARE_S = 2.0
_TRIES = 3


@dataclass(frozen=True)
class Latency:
    """Delays what goes between the target nodes and others; the order of bytes stays as it is.

    A way back and forth takes twice the delay, unless only one direction is asked for. Proof: the
    measured time from a ping in the broker's protocol to its answer, over every such link whose
    target serves, is at least what was asked for; before and after, the quickest of three is less.
    What is delayed lies below TLS.
    """

    claims: ClassVar[str] = "network.delay"
    needs_links: ClassVar[bool] = True
    example: ClassVar[Json] = {"delay": "100ms"}

    target: Target
    """Whose links are slow."""
    delay: Duration
    """By how much each way takes longer, at most 4 s; beyond that, use network.partition."""
    jitter: Duration = 0.0
    """By how much a delay may be longer or shorter, drawn anew for each piece of data."""
    parted_from: Annotated[From, Field(alias="from")] = "peers"
    """On the links to whom: the other nodes, the clients, or both."""
    direction: Direction = "both"
    """What the target nodes get, what they send, or both."""

    def __post_init__(self) -> None:
        """What can be told from no delay, and in time."""
        if not 0.001 <= self.delay <= MOST_S:
            raise ValueError(f"delay should be from 1ms to {MOST_S:g}s")
        if self.jitter > self.delay:
            raise ValueError("jitter should not be longer than delay")

    def plan(self, rig: Rig, random: Random) -> Injection:
        """What takes as long even now could not be told from it."""
        links, nodes = links_of(rig.cluster), rig.resolve(self.target)
        ways = around(links, nodes, self.parted_from, self.direction)
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        injection = injection_of("latency", nodes, ways, random)
        before = self._round_trips(rig.cluster, injection, _TRIES)
        least = self._least(links, injection)
        late = [way for way, took_s in before.items() if took_s is None or took_s >= least[way]]
        if late:
            raise FaultError(f"links that are as slow even now, or silent: {told(late)}")
        return injection

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """A toxic on each way."""
        attributes = {"latency": _ms(self.delay), "jitter": _ms(self.jitter)}
        impose(cluster, injection, "latency", attributes)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """One ping over each of the links."""
        links, on = links_of(cluster), imposed_share(cluster, injection)
        took = served(cluster, self._round_trips(cluster, injection, 1 if on else _TRIES))
        least = self._least(links, injection)
        known = {way: seconds for way, seconds in took.items() if seconds is not None}
        slow = sum(seconds >= least[way] for way, seconds in known.items())
        figures = {
            "links": len(took), "slow links": slow,
            "silent links": len(took) - len(known),
            "shortest round trip": min(known.values(), default=None),
            "longest round trip": max(known.values(), default=None),
            "asked for": min(least.values()),
        }  # fmt: skip
        if on == 1 and slow == len(took) > 0:
            return Effect(Presence.FULL, figures)
        gone = not on and len(known) == len(took) and not slow
        return Effect(Presence.NONE if gone else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Off all links."""
        lift(cluster, injection)

    def _least(self, links: Mapping[Way, Link], injection: Injection) -> dict[Way, float]:
        """How long a ping over each link has to take."""
        both = streams(links, ways_of(injection)).items()
        shortest = self.delay - self.jitter
        return {way: shortest * (2 if stream == BOTH else 1) for way, stream in both}

    def _round_trips(
        self, cluster: Cluster, injection: Injection, tries: int
    ) -> dict[Way, float | None]:
        """The quickest of so many pings over each link, until one is quick: a busy machine only
        ever makes them longer, so one quick ping shows that nothing delays a link."""
        links, least = links_of(cluster), self._least(links_of(cluster), injection)
        within_s = 2 * (self.delay + self.jitter) + _SPARE_S

        def quickest(way: Way) -> float | None:
            found: list[float] = []
            for _ in range(tries):
                took_s = _longest(links[way], within_s)
                found += [] if took_s is None else [took_s]
                if found and min(found) < least[way]:
                    break
            return min(found, default=None)

        return all_at_once(quickest, least)


def _longest(link: Link, within_s: float) -> float | None:
    """Of all its ports; None when one of them is silent."""
    found = list(link.probe(within_s).values())
    return None if None in found else max(seconds for seconds in found if seconds is not None)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
