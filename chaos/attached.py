"""The cluster that faults get: the runtime's own, with its broker and its load at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.spi import Address, Broker, Client, Cluster, Node


class Attached:
    """spi.Cluster and spi.Managed, with every ability (spi.Meshed, ...) that the runtime gave; and
    spi.Loaded where there is a `load`, so not in a process that heals what another one left."""

    def __init__(
        self, cluster: Cluster, broker: Broker, load: Mapping[str, Client] | None = None
    ) -> None:
        self._cluster, self.broker = cluster, broker
        if load is not None:
            self.load = load

    @property
    def id(self) -> str:
        """See spi.Cluster."""
        return self._cluster.id

    @property
    def nodes(self) -> Mapping[str, Node]:
        """See spi.Cluster."""
        return self._cluster.nodes

    @property
    def clients(self) -> Mapping[str, Address]:
        """See spi.Cluster."""
        return self._cluster.clients

    def save_logs(self, directory: Path) -> None:
        """See spi.Cluster."""
        self._cluster.save_logs(directory)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what is asked for is an ability's
        return getattr(self._cluster, name)
