"""What a cluster lacks of being whole, as faults and the end of a run ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.attached import Attached
from chaos.spi import View


class Ready:
    """A broker that lacks nothing by itself."""

    def ready(self, clients: Any, timeout_s: float) -> str:
        return ""


class Nothing:
    """A cluster without nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.clients: dict[str, Any] = {}


@pytest.mark.parametrize(("in_sync", "told"), [
    ({0: ("a", "b")}, ""),
    ({0: ("a",)}, "partition 0 lacks b"),
    ({}, ""),
])  # fmt: skip
def test_who_is_in_sync_counts_where_somebody_tells(
    in_sync: dict[int, tuple[str, ...]], told: str
) -> None:
    """A replica that is told to be behind is missing; where nobody tells (RocketMQ without
    controllers), nothing is."""
    view = View(leaders={0: "a"}, replicas={0: ("a", "b")}, in_sync=in_sync)
    cluster: Any = Nothing()
    broker: Any = Ready()
    assert Attached(cluster, broker, stream=object(), look=lambda: view).missing() == told
