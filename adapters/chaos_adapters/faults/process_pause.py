"""`process.pause`: the broker's process stands still, and goes on at heal."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.errors import attempt_all
from chaos.spi import Cluster, Effect, Injection, NodeState, Rig, Target
from chaos_adapters.faults.process import all_are, nodes_of, running


@dataclass(frozen=True)
class Pause:
    """Freezes the broker's process (SIGSTOP, or the container's freezer); heal lets it go on.

    Its connections stay open and the kernel still acknowledges what arrives, as with a very long
    garbage collection or a stopped virtual machine: only time-outs reveal it. Proof: the kernel
    reports the process as stopped; after heal: no longer.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose process stands still."""

    def silence_s(self, lasting_s: float) -> float:
        """See spi.Silences: all the time."""
        return lasting_s

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Only a running process can be paused."""
        return Injection(running(rig, self.target, "pause"))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Freeze every target."""
        for node in nodes_of(cluster, injection):
            node.pause()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """The state of each process."""
        return all_are(NodeState.PAUSED, cluster, injection)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Let every target go on."""
        attempt_all(lambda node: node.resume(), nodes_of(cluster, injection))
