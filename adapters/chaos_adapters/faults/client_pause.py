"""`client.pause`: a producer or consumer stands still, and goes on at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import attempt_all
from chaos.spi import ClientTarget, Cluster, Effect, Injection, NodeState, Rig
from chaos_adapters.faults import clients


@dataclass(frozen=True)
class ClientPause:
    """Freezes a client of the load (SIGSTOP); heal lets it go on (SIGCONT).

    As with a very long garbage collection or a suspended machine. A consumer that is away for
    longer than its session is thrown out of its group, and comes back as a zombie that believes to
    own what others handle by now. Proof: the kernel reports the process as stopped; after heal: no
    longer.
    """

    claims: ClassVar[str] = "client"
    needs_links: ClassVar[bool] = False
    ends_alone: ClassVar[str] = (
        "at once: the kernel lets a frozen worker go on when the tool dies (Linux), and it ends"
    )

    target: ClientTarget
    """Who stands still."""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running client can be paused."""
        return Injection(clients.running(rig, self.target, "pause"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Freeze every target."""
        for client in clients.targets(cluster, injection):
            client.pause()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        return clients.share(clients.targets(cluster, injection), NodeState.PAUSED)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Let every target go on."""
        attempt_all(lambda client: client.resume(), clients.targets(cluster, injection))
