"""What the faults of disks have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.errors import FaultError, attempt_all
from chaos.spi import Cluster, Disk, Disked, NodeState

_PROBE = 4096


def disked(cluster: Cluster) -> Disked:
    """The cluster with its disks. Raises FaultError where nodes have none of their own."""
    if not isinstance(cluster, Disked):
        raise FaultError("nodes have no disks of their own; write `disk: {size: 1GiB}`")
    return cluster


def disks_of(cluster: Cluster, nodes: Sequence[str]) -> Mapping[str, Disk]:
    """The disks of these nodes. Raises FaultError where nodes have none of their own."""
    there = disked(cluster).disks
    return {name: there[name] for name in nodes}


def trouble_of(disk: Disk) -> str:
    """Why a disk is not as it was at first: files of ours, or an error at writing; empty: it is."""
    return ", ".join(disk.leftovers()) or disk.write(_PROBE, durable=True).error


def renew(cluster: Cluster, nodes: Sequence[str]) -> None:
    """Make disks whole again that broke: with the node dead the file system is checked, repaired
    and mounted anew, and the node is started. One that runs, or stands still, on a disk that takes
    writes runs on."""
    disks = disks_of(cluster, nodes)

    def renew_one(name: str) -> None:
        node, disk = cluster.nodes[name], disks[name]
        node.resume()
        if node.state() is NodeState.DEAD or disk.write(_PROBE, durable=True).error:
            node.kill()
            disk.mend()
        disk.clear()
        node.start()

    attempt_all(renew_one, disks)


def sizes(free: int, size: int) -> str:
    """For people."""
    return f"{free / 1e6:.1f} of {size / 1e6:.0f} MB free"
