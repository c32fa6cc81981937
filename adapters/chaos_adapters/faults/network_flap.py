"""`network.flap`: chosen links are cut and restored, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError
from chaos.spi import Cluster, Duration, Effect, Injection, Presence, Rig, Target
from chaos.timing import Interrupted
from chaos_adapters.faults.links import (
    ANSWER_WITHIN_S,
    Crossing,
    Direction,
    From,
    How,
    all_carry,
    around,
    cut,
    cut_share,
    injection_of,
    links_of,
    measure,
    restore,
)
from chaos_adapters.faults.process import managed

LEAST_S = 0.1
_SEEN = "flaps"
Look = Callable[[Crossing], bool]


@dataclass(frozen=True)
class Flap:
    """Cuts the links between the target nodes and others and restores them, with a period.

    Over when it was done `times` times. Proof: in each cut no ping was answered over any of the
    links whose target serves, and after each, before the next one, over all of them.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True

    target: Target
    """Whose links are cut."""
    times: Annotated[int, Field(ge=1, le=1000)]
    """How often."""
    down: Duration
    """How long the links are cut each time, at least 100ms; longer when seeing it takes longer."""
    up: Duration
    """How long they carry before they are cut again."""
    parted_from: Annotated[From, Field(alias="from")] = "both"
    """On the links to whom: the other nodes, the clients, or both."""
    direction: Direction = "both"
    """What the target nodes get, what they send, or both."""
    how: How = "hang"
    """How they are cut; see network.partition."""

    def __post_init__(self) -> None:
        """Shorter cuts could not be seen."""
        if self.down < LEAST_S or self.up < LEAST_S:
            raise ValueError(f"down and up should be {LEAST_S:g}s or more")

    def silence_s(self, lasting_s: float) -> float:  # noqa: ARG002 - it has a length of its own
        """See spi.Silences: that of each cut, unless only clients are cut off."""
        return 0.0 if self.parted_from == "clients" or self.how == "reset" else self.down

    def plan(self, rig: Rig, random: Random) -> Injection:
        """All must carry now."""
        links, nodes = links_of(rig.cluster), rig.resolve(self.target)
        ways = around(links, nodes, self.parted_from, self.direction)
        if not ways:
            raise FaultError(f"no link leads from {', '.join(nodes)} to {self.parted_from}")
        all_carry(rig.cluster, ways)
        return injection_of("flap", nodes, ways, random)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Cut, look, wait, restore, look, wait."""
        seen = {"cuts": 0, "restored": 0}
        injection.data[_SEEN] = seen
        for _ in range(self.times):
            cut(cluster, injection, self.how)
            seen["cuts"] += self._lasting(cluster, injection, self.down, lambda now: now.silent)
            restore(cluster, injection, self.how)
            seen["restored"] += self._lasting(cluster, injection, self.up, lambda now: now.whole)

    def _lasting(
        self, cluster: Cluster, injection: Injection, seconds: float, at_last: Look
    ) -> bool:
        """Let so much time pass, and tell whether it was seen meanwhile; a busy machine may need
        more than one look. The first look is made to its end, however short the time."""
        ended, until = managed(cluster).ended, time.monotonic() + seconds
        for _ in range(max(1, round(seconds / ANSWER_WITHIN_S))):
            found = at_last(measure(cluster, injection, self.how))
            rest_s = max(0.0, until - time.monotonic())
            if ended.wait(rest_s if found else min(rest_s, ANSWER_WITHIN_S)):
                raise Interrupted("the next cut or its end")
            if found:
                return True
        return False

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:  # noqa: ARG002
        """How many cuts were seen, and how many ends of them."""
        seen = injection.data.get(_SEEN, {})
        cuts, restored = seen.get("cuts", 0), seen.get("restored", 0)
        figures = {"asked for": self.times, "cuts seen": cuts, "restored": restored}
        if cuts == restored == self.times:
            return Effect(Presence.FULL, figures)
        return Effect(Presence.PARTIAL if cuts else Presence.NONE, figures)

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Nothing is imposed, and links to nodes that serve carry."""
        crossing = measure(cluster, injection, self.how)
        gone = not cut_share(cluster, injection, self.how) and crossing.whole
        figures = {"links": crossing.cut, "links that answer": crossing.cut_carrying}
        return Effect(Presence.NONE if gone else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Off all ways."""
        restore(cluster, injection, self.how)
