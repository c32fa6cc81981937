"""`message.poison`: producers send messages that the consuming application cannot handle."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaos.errors import attempt_all
from chaos.spi import (
    Cluster,
    Effect,
    Injection,
    Kind,
    Loaded,
    NodeState,
    Presence,
    ProducerTarget,
    Rig,
)
from chaos_adapters.faults import clients


@dataclass(frozen=True)
class MessagePoison:
    """Has producers send some messages that no handler can do anything with; heal ends it.

    The broker takes them as all others: what becomes of them, and of what is behind them, is up to
    the application, see `load.consumers`. Proof: poisoned messages of every target were
    acknowledged, and some met a handler (others may be stuck behind them); after heal: no producer
    sends them any more.
    """

    claims: ClassVar[str] = "client"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = (
        "at once: it is done by workers of the load, which end with the tool"
    )

    kind: Literal["malformed", "throws", "hangs"] = "malformed"
    """What they do: they cannot be parsed, the handler throws, or it never returns."""
    every: Annotated[int, Field(ge=1)] = 100
    """Poison every n-th message of a producer."""
    count: Annotated[int, Field(ge=0)] = 0
    """At most so many of each producer; 0: as long as it lasts."""
    target: ProducerTarget = "producers"
    """Who sends them."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running client can be told to."""
        return Injection(clients.running(rig, self.target, "poison messages of"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """From the next messages on."""
        kind = int(Kind[self.kind.upper()])
        for client in clients.targets(cluster, injection):
            client.order(poison={"kind": kind, "every": self.every, "count": self.count})

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What producers say was acknowledged, and consumers say met their handler."""
        found = clients.targets(cluster, injection)
        told = {client.name: client.told().get("poison") for client in found}
        on = {name: poison for name, poison in told.items() if poison}
        met = _met(cluster)
        acked = sum(poison["acked"] > 0 for poison in on.values())
        reached = sum(
            met.get(str(poison["producer"]), -1) >= poison["since"] for poison in on.values()
        )
        figures = {
            "poisoned messages acknowledged": sum(poison["acked"] for poison in on.values()),
            "producers whose poison met a handler": reached,
        }
        if found and acked == len(found) and reached:
            return Effect(Presence.FULL, figures)
        left = sum(client.state() is not NodeState.DEAD for client in found if client.name in on)
        return Effect(Presence.PARTIAL if left else Presence.NONE, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Normal messages again."""
        attempt_all(lambda client: client.order(poison=None), clients.targets(cluster, injection))


def _met(cluster: Cluster) -> dict[str, int]:
    """The highest number of a poisoned message that met a handler, by the producer's number."""
    met: dict[str, int] = {}
    for client in cluster.load.values() if isinstance(cluster, Loaded) else ():
        for producer, sequence in client.told().get("met", {}).items():
            met[producer] = max(sequence, met.get(producer, -1))
    return met
