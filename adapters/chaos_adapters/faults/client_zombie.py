"""`client.zombie`: a producer or consumer is taken for dead, replaced, and wakes up at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import attempt_all
from chaos.spi import Client, ClientTarget, Cluster, Effect, Injection, NodeState, Presence, Rig
from chaos_adapters.faults import clients


@dataclass(frozen=True)
class ClientZombie:
    """Freezes a client of the load and puts a new one in its place; at heal the old one wakes up.

    As when an orchestrator gives up on a machine that was only suspended. The new one has the same
    group, and the same transactional id, so a zombie that sends in transactions is shut out when it
    wakes up ("fenced"), and what it had open is rolled back. Proof: the old process is stopped, the
    new one runs and is connected; after heal: the old one is no longer stopped.
    """

    claims: ClassVar[str] = "client"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = (
        "at once: the kernel lets a frozen worker go on when the tool dies (Linux), and it ends"
    )

    target: ClientTarget
    """Who is taken for dead."""

    def replaces_consumers(self) -> bool:
        """See spi.ReplacesConsumers."""
        return clients.may_hit_consumers(self.target)

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running client can become a zombie."""
        return Injection(clients.running(rig, self.target, "replace"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Freeze every target, then replace it."""
        clients.at_once(_replace, clients.targets(cluster, injection))

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The states of the old process and of the new one."""
        found = clients.targets(cluster, injection)
        states = {client.name: (client.zombie(), client.state()) for client in found}
        figures = {
            name: f"replaced one {old}, its successor {new}" if old else str(new)
            for name, (old, new) in states.items()
        }
        hit = sum(pair == (NodeState.PAUSED, NodeState.RUNNING) for pair in states.values())
        if states and hit == len(states):
            return Effect(Presence.FULL, figures)
        frozen = any(NodeState.PAUSED in pair for pair in states.values())
        return Effect(Presence.PARTIAL if frozen else Presence.NONE, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Let the old ones go on; nobody takes their place back."""
        attempt_all(lambda client: client.resume(), clients.targets(cluster, injection))


def _replace(client: Client) -> None:
    client.pause()
    client.supplant()
