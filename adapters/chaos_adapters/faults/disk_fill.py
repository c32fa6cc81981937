"""`disk.fill`: something else takes up the disk of a node."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import Cluster, Effect, Injection, Presence, Rig, Size, Target, Volume
from chaos_adapters.faults.disks import disks_of, sizes, trouble_of
from chaos_adapters.faults.process import running

SLACK = 4 << 20
"""Bytes: file systems keep some blocks for themselves, and brokers give some back."""
_PROBE = 2 * SLACK


@dataclass(frozen=True)
class Fill:
    """Fills the data disk of a node, but for so many bytes or up to a share; heal frees it again.

    Blocks are reserved by a file of ours and not written, so it is quick and takes no room outside.
    A broker that ends because of it (Kafka does, at once) is a consequence: heal starts it again.
    Proof: `statvfs` shows no more free than asked for (4 MiB aside) and, where that is nothing, a
    write of 8 MiB gets ENOSPC; after heal: writes succeed.
    """

    claims: ClassVar[str] = "disk"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose disk is filled."""
    free: Size | None = None
    """How much stays free; nothing, if neither this nor `used` is given."""
    used: Annotated[float, Field(ge=0.1, le=1)] | None = None
    """Up to which share of the disk it is filled, instead: 0.9. At least 0.1, as some is used from
    the start."""

    def __post_init__(self) -> None:
        """One of them says it."""
        if self.free is not None and self.used is not None:
            raise ValueError("write either `free` or `used`")

    def disk_problem(self, volume: Volume) -> str:
        """More than the disk holds cannot stay free, nor can so much that nothing is taken."""
        if self.free is not None and self.free + SLACK >= volume.size:
            return f"the disk holds {volume.size} bytes: {self.free} cannot stay free"
        return ""

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """There must be something to take, on a disk that takes writes."""
        nodes, wanted = running(rig, self.target, "fill the disk of"), {}
        for name, disk in disks_of(rig.cluster, nodes).items():
            if trouble := trouble_of(disk):
                raise FaultError(f"the disk of {name} is not as it was at first: {trouble}")
            free, size = disk.space()
            wanted[name] = self.free or 0 if self.used is None else round((1 - self.used) * size)
            if free <= wanted[name] + SLACK:
                raise FaultError(f"the disk of {name} has only {sizes(free, size)} even now")
        return Injection(nodes, {"free": wanted})

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """One disk after the other."""
        for name, disk in disks_of(cluster, injection.nodes).items():
            disk.fill(injection.data["free"][name])

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What is free, and what a write gets."""
        figures, full, gone = {}, [], []
        for name, disk in disks_of(cluster, injection.nodes).items():
            (free, size), wanted = disk.space(), injection.data["free"][name]
            error = "" if wanted else disk.write(_PROBE, durable=False).error
            figures[name] = sizes(free, size) + (f", a write gets {error}" if error else "")
            full.append(free <= wanted + SLACK and (error == "ENOSPC" or wanted > 0))
            gone.append(not full[-1] and not trouble_of(disk))
        if all(full):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(gone) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Remove what is ours."""
        attempt_all(lambda disk: disk.clear(), disks_of(cluster, injection.nodes).values())
