"""`disk.readonly`: the file system of a node meets an error and turns read-only."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chaos.spi import Cluster, Effect, Injection, NodeState, Presence, Rig, Target, Volume
from chaos_adapters.faults.disks import disks_of, renew, trouble_of
from chaos_adapters.faults.process import running


@dataclass(frozen=True)
class ReadOnly:
    """Turns the node's file system read-only under its open files, as ext4 does when it meets an
    error (`errors=remount-ro`).

    A broker that ends because of it is a consequence. Heal ends the node if it still runs, checks
    and repairs the file system, mounts it anew and starts the node. Needs `disk: {filesystem:
    ext4}`. Proof: a process of ours that has had a file open since before gets EROFS for every
    write to it; after heal: writes succeed, and the node runs.
    """

    claims: ClassVar[str] = "node"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose disk it is."""

    def disk_problem(self, volume: Volume) -> str:
        """XFS shuts down instead."""
        if volume.filesystem == "ext4":
            return ""
        return "needs a file system that turns read-only: write `disk: {filesystem: ext4}`"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """A dead node has no files open."""
        nodes = running(rig, self.target, "make read-only the disk of")
        disks_of(rig.cluster, nodes)
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """One after the other."""
        for disk in disks_of(cluster, injection.nodes).values():
            disk.fail()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What a write to an open file gets."""
        figures, full, gone = {}, [], []
        for name, disk in disks_of(cluster, injection.nodes).items():
            error, state = disk.failed(), cluster.nodes[name].state()
            figures[name] = f"{state}, a write to an open file gets {error or 'no error'}"
            full.append(error == "EROFS")
            gone.append(not error and state is NodeState.RUNNING and not trouble_of(disk))
        if all(full):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(gone) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """A checked file system, mounted anew, and the node on it."""
        renew(cluster, injection.nodes)
