"""`client.crash`: a producer or consumer dies at once, and another one takes its place at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.spi import ClientTarget, Cluster, Effect, Injection, NodeState, Rig
from chaos_adapters.faults import clients


@dataclass(frozen=True)
class ClientCrash:
    """Ends a client of the load at once (SIGKILL); heal starts a new incarnation in its place.

    What a consumer had not settled is delivered again, to others or to its successor; what became
    of the last messages of a producer nobody knows. The kernel closes the connections, but a
    consumer's group waits for its session to end. Proof: the process is gone; after heal: the new
    one runs and is connected.
    """

    claims: ClassVar[str] = "client"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = "at once: all workers of the load end with the tool"
    heals_by_brokers: ClassVar[str] = "they let the new one connect"

    target: ClientTarget
    """Who dies."""

    def replaces_consumers(self) -> bool:
        """See spi.ReplacesConsumers."""
        return clients.may_hit_consumers(self.target)

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running client can be killed."""
        return Injection(clients.running(rig, self.target, "kill"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """SIGKILL to every target."""
        for client in clients.targets(cluster, injection):
            client.kill()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        return clients.share(clients.targets(cluster, injection), NodeState.DEAD)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Put a new one in the place of whoever is dead."""
        clients.at_once(lambda client: client.start(), clients.targets(cluster, injection))
