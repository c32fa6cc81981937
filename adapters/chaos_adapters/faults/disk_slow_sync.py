"""`disk.slow_sync`: forcing something to the disk takes long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import Cluster, Duration, Effect, Injection, NodeState, Presence, Rig, Target, Volume
from chaos_adapters.faults.disks import disks_of
from chaos_adapters.faults.process import running

_HALF = 0.5
_QUICK = 0.25


@dataclass(frozen=True)
class SlowSync:
    """Has fsync on the data disk of a node take at least so long, while writes into the page cache
    stay as quick as they were.

    As on a disk whose cache died, or that others keep busy: who never forces anything to the disk
    does not notice. By a limit of operations a second, in control groups of version 1 or 2. Proof:
    the limit stands wherever it has to, and to a process in the broker's control group fsync of
    4 KiB takes as long as asked, and a write of 1 MiB into the page cache at most a quarter of
    that. Before, fsync took less than half; after heal: no limit is left, and it does again.
    """

    claims: ClassVar[str] = "disk"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose disk it is."""
    takes: Annotated[Duration, Field(ge=0.25, le=1)] = 1.0
    """How long fsync takes at least, 250 ms to 1 s; it is two to six times that as a rule, as it
    waits for the file's data, for the file system's log, and for what others write."""

    @property
    def rates(self) -> Mapping[str, int]:
        """As spi.Disk names them."""
        return {"write_iops": int(1 / self.takes)}

    def disk_problem(self, volume: Volume) -> str:  # noqa: ARG002
        """Any disk can be slow."""
        return ""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """What takes that long even now could not be told from it."""
        nodes = running(rig, self.target, "slow the disk of")
        for node, disk in disks_of(rig.cluster, nodes).items():
            if before := disk.limits():
                raise FaultError(f"the disk of {node} has rates even now: {dict(before)}")
            if (found := disk.sync()[0]) > _HALF * self.takes:
                raise FaultError(f"fsync on the disk of {node} takes {found:.3f} s even now")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Of a dead node there is nothing to slow."""
        for name, disk in disks_of(cluster, injection.nodes).items():
            if (state := cluster.nodes[name].state()) is NodeState.DEAD:
                raise FaultError(f"cannot slow the disk of {name}: it is {state}")
            disk.limit(self.rates)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What is set, and how long it takes whoever is subject to it."""
        figures, slow, gone = {}, [], []
        for node, disk in disks_of(cluster, injection.nodes).items():
            limits, state = disk.limits(), cluster.nodes[node].state()
            # A process that joins the control group of a frozen broker freezes, too.
            if state is not NodeState.RUNNING:
                figures[node] = str(state)
                slow.append(False)
                gone.append(not limits)
                continue
            sync_s, write_s = disk.sync()
            figures[node] = f"fsync took {sync_s:.3f} s, a write {write_s:.3f} s"
            there = set(limits) == set(self.rates) and all(
                set(limits[what]) == {rate} for what, rate in self.rates.items()
            )
            slow.append(there and sync_s >= self.takes and write_s <= _QUICK * self.takes)
            gone.append(not limits and sync_s <= _HALF * self.takes)
        if all(slow):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(gone) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """No rates at all, as before."""
        attempt_all(lambda disk: disk.unlimit(), disks_of(cluster, injection.nodes).values())
