"""What clusters of Docker are: pods, links, packet rules, and disks where they were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.spi import Address
from chaos_adapters.runtimes import disks
from chaos_adapters.runtimes.clocks import DockerClocks
from chaos_adapters.runtimes.disks import DockerDisk
from chaos_adapters.runtimes.memory import DockerMemory
from chaos_adapters.runtimes.mesh import DockerLink
from chaos_adapters.runtimes.packets import DockerPackets

if TYPE_CHECKING:
    from chaos_adapters.runtimes.docker_node import DockerNode


@dataclass(frozen=True)
class DockerCluster:
    """Pods and the mesh of links between them."""

    id: str
    nodes: Mapping[str, DockerNode]
    clients: Mapping[str, Address]
    links: Mapping[tuple[str, str], DockerLink]
    ticking: DockerClocks | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """An ability that not all clusters have is an attribute that not all have."""
        if self.ticking:
            object.__setattr__(self, "clocks", self.ticking)  # spi.Clocked

    @property
    def packets(self) -> DockerPackets:
        """See spi.Lossy."""
        return DockerPackets(self.id, tuple(self.nodes))

    @property
    def memories(self) -> DockerMemory:
        """See spi.Memoried."""
        return DockerMemory(self.id, self.nodes)

    def save_logs(self, directory: Path) -> None:
        """What each broker wrote."""
        directory.mkdir(parents=True, exist_ok=True)
        for node in self.nodes.values():
            node.write_log(directory / f"{node.name}.log")


@dataclass(frozen=True)
class DiskedCluster(DockerCluster):
    """The same, spi.Disked."""

    disks: Mapping[str, DockerDisk]

    def lose_power(self, nodes: Sequence[str], mark: str) -> float:
        """By one process, which shuts one file system down after the other."""
        devices = [self.disks[name].device for name in nodes]
        agent = self.disks[nodes[0]].agent
        lost = disks.command(agent, "lose_power", devices=devices, mark=mark)
        return float(lost["within"])
