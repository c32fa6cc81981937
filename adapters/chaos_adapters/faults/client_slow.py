"""`client.slow`: consumers take longer for each message, so a backlog grows."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import attempt_all
from chaos.spi import (
    Cluster,
    ConsumerTarget,
    Duration,
    Effect,
    Injection,
    NodeState,
    Presence,
    Rig,
)
from chaos_adapters.faults import clients

_CLOSE = 0.9


@dataclass(frozen=True)
class ClientSlow:
    """Has consumers take so much longer for each message; heal has them as fast as before.

    As when a database behind the application is slow. What comes in faster than it is handled waits
    in the broker, and has to be worked off afterwards. Proof: the time that handling a message
    takes, as each consumer measures it, is as long as asked; after heal: no longer.
    """

    claims: ClassVar[str] = "client"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = (
        "at once: it is done by workers of the load, which end with the tool"
    )

    by: Annotated[Duration, Field(gt=0)]
    """How much longer a message takes."""
    target: ConsumerTarget = "consumers"
    """Which consumers."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running client can be slowed."""
        return Injection(clients.running(rig, self.target, "slow"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Every consumer takes its time from the next messages on."""
        for client in clients.targets(cluster, injection):
            client.order(slow_s=self.by)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What each one says: how slow it is to be, and how long a message took it since."""
        figures, slow, free = {}, 0, 0
        found = clients.targets(cluster, injection)
        for client in found:
            told = client.told()
            asked_s, took_s = told.get("slow_s", 0.0), told.get("took_s", 0.0)
            figures[f"{client.name}: ms a message"] = round(1000 * took_s, 3)
            slow += bool(asked_s and took_s >= _CLOSE * self.by)
            free += not asked_s or client.state() is NodeState.DEAD
        if found and slow == len(found):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if free == len(found) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """As fast as before."""
        attempt_all(lambda client: client.order(slow_s=0.0), clients.targets(cluster, injection))
