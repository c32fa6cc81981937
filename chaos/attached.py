"""The cluster that faults get: the runtime's own, with its broker and, in a run, its stream and its
load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.errors import ClusterError
from chaos.spi import (
    Address,
    Broker,
    Client,
    Clocked,
    Cluster,
    Disked,
    Lossy,
    Memoried,
    Meshed,
    Node,
    NodeState,
    View,
)

_LOOK_S = 2.0


def _no_view() -> View:
    raise ClusterError("nobody observes the cluster outside of a run")


@dataclass(frozen=True)
class Attached:
    """spi.Cluster and spi.Managed, with every ability (spi.Meshed, ...) that the runtime gave; and
    spi.Loaded where there is a `load`, so not in a process that heals what another one left."""

    cluster: Cluster
    broker: Broker
    stream: Any = None
    look: Callable[[], View] = _no_view
    ended: threading.Event = field(default_factory=threading.Event)
    workers: Mapping[str, Client] | None = None

    def __post_init__(self) -> None:
        """Abilities are attributes, as `isinstance` looks for them (from Python 3.12 on it does not
        ask `__getattr__`)."""
        if isinstance(self.cluster, Meshed):
            object.__setattr__(self, "links", self.cluster.links)
        if isinstance(self.cluster, Disked):
            object.__setattr__(self, "disks", self.cluster.disks)
            object.__setattr__(self, "lose_power", self.cluster.lose_power)
        if isinstance(self.cluster, Clocked):
            object.__setattr__(self, "clocks", self.cluster.clocks)
        if isinstance(self.cluster, Memoried):
            object.__setattr__(self, "memories", self.cluster.memories)
        if isinstance(self.cluster, Lossy):
            object.__setattr__(self, "packets", self.cluster.packets)
        if self.workers is not None:
            object.__setattr__(self, "load", self.workers)

    @property
    def id(self) -> str:
        """See spi.Cluster."""
        return self.cluster.id

    @property
    def nodes(self) -> Mapping[str, Node]:
        """See spi.Cluster."""
        return self.cluster.nodes

    @property
    def clients(self) -> Mapping[str, Address]:
        """See spi.Cluster."""
        return self.cluster.clients

    def save_logs(self, directory: Path) -> None:
        """See spi.Cluster."""
        self.cluster.save_logs(directory)

    def missing(self) -> str:
        """See spi.Managed."""
        try:
            return self._down() or self.broker.ready(self.clients, _LOOK_S) or self._behind()
        except ClusterError as error:
            return str(error)

    def _down(self) -> str:
        states = {node.name: node.state() for node in self.nodes.values()}
        down = [name for name, state in states.items() if state is not NodeState.RUNNING]
        return f"{', '.join(down)} does not run" if down else ""

    def _behind(self) -> str:
        if self.stream is None:
            return ""
        view = self.look()
        if not view.in_sync:
            return ""  # where nobody tells who is in sync, `ready` has the last word
        behind = [
            f"partition {number} lacks {', '.join(sorted(lacking))}"
            for number, replicas in view.replicas.items()
            if (lacking := set(replicas) - set(view.in_sync.get(number, ())))
        ]
        return "; ".join(behind)
