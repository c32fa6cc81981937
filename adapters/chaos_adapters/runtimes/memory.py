"""spi.Memory by Docker: what needs root's rights is done by `work.memory`, in an agent that has no
capability at all, as control groups are files of root's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.spi import UsedUp
from chaos_adapters.runtimes.agent import Agent
from chaos_adapters.runtimes.disks import WORK, command

if TYPE_CHECKING:
    from chaos_adapters.runtimes.docker_node import DockerNode

_WITHIN_S = 60.0


@dataclass(frozen=True)
class DockerMemory:
    """The memory of these nodes."""

    cluster_id: str
    nodes: Mapping[str, DockerNode]

    def _do(self, what: str, node: str) -> Any:  # noqa: ANN401 - as each answers
        binds = ("/sys/fs/cgroup:/host/cgroup", WORK)
        agent = Agent(self.cluster_id, (), purpose="memory", binds=binds)
        return command(agent, what, _WITHIN_S, container=self.nodes[node].container_id())

    def use_up(self, node: str) -> UsedUp:
        """From within its control group."""
        found = self._do("use_up_memory", node)
        return UsedUp(found["used"], found["limit"], found["before"], found["after"])

    def limit(self, node: str) -> int:
        """Of its control group, by the daemon, which says all that the machine has for none."""
        return self.nodes[node].memory_limit()

    def lift(self, node: str) -> None:
        """Of its control group, if there is one."""
        self._do("lift_memory_limit", node)
