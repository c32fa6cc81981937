"""Small plug-ins that stand in for the real ones, so that these tests need nothing installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from chaos import registry
from chaos.spi import Duration, Member, Rate, Settings, Size, Target, View, Volume


@dataclass(frozen=True)
class Stream:
    """Queues of the fake broker."""

    partitions: int = 3
    replicas: int = 3
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Broker:
    """A broker that only knows what it would consist of."""

    stream_type: ClassVar[type] = Stream
    roles: ClassVar[Mapping[str, bool]] = {
        "leader": True, "follower": True, "followers": True, "controller": False,
    }  # fmt: skip

    nodes: int = 3
    version: str = "4.1"
    settings: Settings = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 9:
            raise ValueError(f"nodes should be from 1 to 9, not {self.nodes}")

    def problems(self, stream: Stream) -> Sequence[tuple[str, str]]:
        needed = stream.settings.get("min.insync.replicas", 1)
        found = []
        if stream.replicas > self.nodes:
            what = f"{stream.replicas} replicas need as many nodes, and there are {self.nodes}"
            found.append(("stream.replicas", what))
        if isinstance(needed, int) and needed > stream.replicas:
            found.append(("stream.settings.min.insync.replicas", "is more than there are replicas"))
        return found

    def members(self) -> Sequence[Member]:
        return [Member(f"fake-{n}", frozenset({"broker"}), ()) for n in range(1, self.nodes + 1)]

    def locate(self, role: str, partition: int | None, view: View) -> Sequence[str]:
        if role == "controller":
            return [view.controller] if view.controller else []
        leader = view.leaders.get(partition or 0)
        if role == "leader":
            return [leader] if leader else []
        return [name for name in view.replicas.get(partition or 0, ()) if name != leader]


@dataclass(frozen=True)
class Near:
    """Has no hold of links."""

    meshed: ClassVar[bool] = False


@dataclass(frozen=True)
class Far:
    """Has a hold of links, and gives nodes disks."""

    meshed: ClassVar[bool] = True

    def with_disks(self, volume: Volume) -> Far:
        return self

    def with_clocks(self) -> Far:
        return self


@dataclass(frozen=True)
class Kill:
    """Ends processes."""

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target


@dataclass(frozen=True)
class Slow:
    """Makes links slow.

    More than one line.
    """

    claims: ClassVar[str] = "network"
    needs_links: ClassVar[bool] = True

    target: Target
    """Whose links,
    both ways."""
    delay: Duration = 0.1
    limit: Size = 1_000_000
    pace: Rate | None = None
    away: Annotated[Literal["peers", "clients"], Field(alias="from")] = "peers"
    beside: Target | None = None


@dataclass(frozen=True)
class Loss:
    """Counts what is gone."""

    question: ClassVar[str] = "What is gone?"

    most: Annotated[int, Field(alias="max", ge=0)] = 0


@dataclass(frozen=True)
class Failover:
    """Measures outages."""

    question: ClassVar[str] = "How long?"

    max: Duration | None = 30.0


PLUGINS: dict[str, dict[str, type[Any]]] = {
    "brokers": {"fake": Broker},
    "runtimes": {"far": Far, "near": Near},
    "faults": {"network.slow": Slow, "process.kill": Kill},
    "verifiers": {"failover": Failover, "loss": Loss},
}


def install(monkeypatch: pytest.MonkeyPatch, *more: registry.Entry) -> None:
    """Register these plug-ins, and `more`, instead of what is installed."""
    entries = [
        registry.Entry(kind, name, f"{cls.__module__}:{cls.__qualname__}", "fakes 1.0")
        for kind, plugins in PLUGINS.items()
        for name, cls in plugins.items()
    ]

    def discover(kind: str) -> tuple[registry.Entry, ...]:
        return tuple(entry for entry in [*entries, *more] if entry.kind == kind)

    monkeypatch.setattr(registry, "discover", discover)
