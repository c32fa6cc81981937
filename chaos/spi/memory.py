"""The memory of nodes, and what becomes of a node that wants more than there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chaos.spi.cluster import Address, Node


@dataclass(frozen=True)
class UsedUp:
    """How it went to use up a node's memory: bytes that its processes needed, the limit that they
    were given, and how many of them the kernel had killed for want of memory, before and after."""

    needed: int
    limit: int
    killed_before: int
    killed_after: int


class Memory(Protocol):
    """A hold of how much memory the processes of each node may have. A limit is one of its control
    group, so a start of the node is without. All raise ClusterError."""

    def use_up(self, node: str) -> UsedUp:
        """Leave a running node little more than what it needs, and use that up in its name, until
        the kernel kills its largest process or 20 s are over."""

    def limit(self, node: str) -> int:
        """Bytes, as the kernel tells them; 0: none, or nothing runs."""

    def lift(self, node: str) -> None:
        """Take the limit off."""


JAVA_OPTIONS = "java.options"
"""The file of a Launch whose program is a Java machine that reads options there at each start
(`-XX:VMOptionsFile`, JDK 9 and later): they override those that it always has."""


@runtime_checkable
class Tunable(Protocol):
    """Ability of a Node: its Java machine can be given more options. All raise ClusterError, of a
    node too that has no file JAVA_OPTIONS."""

    def java_options(self) -> Sequence[str]:
        """Those that its next start adds; empty at first."""

    def set_java_options(self, options: Sequence[str]) -> None:
        """From its next start on; none of them may contain white space."""


@runtime_checkable
class Memoried(Protocol):
    """Ability of a Cluster: it has a hold of its nodes' memory."""

    @property
    def memories(self) -> Memory:
        """See there."""


@runtime_checkable
class AlarmsForMemory(Protocol):
    """Ability of a Broker: its nodes raise an alarm when they use more memory than a limit of their
    own, which can be changed while they run. A start of a node is with the limit of its settings.
    All raise ClusterError."""

    def memory_limit(self, node: Node) -> str:
        """The limit of a running node, as the broker writes it."""

    def limit_memory(self, node: Node, limit: str) -> None:
        """Change it; empty: to nothing, so that the node raises its alarm."""

    def memory_alarms(self, clients: Mapping[str, Address], timeout_s: float) -> Sequence[str]:
        """The nodes that have raised it, as the cluster says."""
