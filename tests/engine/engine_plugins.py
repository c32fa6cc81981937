"""Plug-ins that behave badly, found like anybody's: through the entry points of a distribution."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import ClassVar

from chaos.errors import ClusterError, FaultError
from chaos.spi import (
    Address,
    Cluster,
    Effect,
    Injection,
    Launch,
    NodeState,
    Place,
    Presence,
    Rig,
    Target,
)
from chaos_adapters.brokers.memory.broker import Memory, MemoryStream

ENTRY_POINTS = {
    "chaos.faults": ["Toothless", "Stubborn", "Clumsy", "Buggy", "Shaky", "Impossible"],
    "chaos.brokers": ["Dying", "Never", "Sticky", "Deaf", "Abrupt"],
}


def install(directory: Path) -> None:
    """Write what makes an installed distribution of this module, for a PYTHONPATH with both."""
    info = directory / "engine_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-plugins\nVersion: 1.0\n")
    lines = []
    for group, names in ENTRY_POINTS.items():
        lines += [f"[{group}]", *(f"test.{name.lower()} = {__name__}:{name}" for name in names)]
    (info / "entry_points.txt").write_text("\n".join(lines))


# -------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class Toothless:
    """Does nothing, and says so."""

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    target: Target

    def plan(self, rig: Rig, random: Random) -> Injection:
        return Injection(rig.resolve(self.target))

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        pass

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        return Effect(Presence.NONE, {"bites": 0})

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        pass


@dataclass(frozen=True)
class Impossible(Toothless):
    """Finds out while planning that it cannot be done."""

    def plan(self, rig: Rig, random: Random) -> Injection:
        raise FaultError("there is no disk to fill")


@dataclass(frozen=True)
class Freezing(Toothless):
    """Pauses its nodes; the base of those that do it badly."""

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        for name in injection.nodes:
            cluster.nodes[name].pause()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        states = {name: cluster.nodes[name].state() for name in injection.nodes}
        paused = sum(state is NodeState.PAUSED for state in states.values())
        if paused == len(states):
            return Effect(Presence.FULL, dict(states))
        return Effect(Presence.PARTIAL if paused else Presence.NONE, dict(states))

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        for name in injection.nodes:
            cluster.nodes[name].resume()


@dataclass(frozen=True)
class Stubborn(Freezing):
    """Cannot be healed."""

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        raise ClusterError("the disk does not answer")


@dataclass(frozen=True)
class Clumsy(Freezing):
    """Does half of it, then fails."""

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        cluster.nodes[injection.nodes[0]].pause()
        raise FaultError("the second half failed")


@dataclass(frozen=True)
class Buggy(Freezing):
    """Does half of it, then has a bug."""

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        cluster.nodes[injection.nodes[0]].pause()
        raise RuntimeError("a bug in a plug-in")


_heals = iter(["first", "second"])


@dataclass(frozen=True)
class Shaky(Freezing):
    """Can be healed at the third try."""

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        if turn := next(_heals, None):
            raise RuntimeError(f"the {turn} heal failed")
        super().heal(cluster, injection)


# ------------------------------------------------------------------------------------- brokers


@dataclass(frozen=True)
class Dying(Memory):
    """Its first node is told to listen where it cannot, and ends at once."""

    def launch(self, place: Place) -> Launch:
        launch = super().launch(place)
        if place.member.name != "memory-1":
            return launch
        config = json.loads(launch.files["node.json"])
        files = {"node.json": json.dumps(config | {"listen": "192.0.2.1:7"})}
        return replace(launch, files=files)


@dataclass(frozen=True)
class Never(Memory):
    """Never gets ready."""

    def ready(self, clients: Mapping[str, Address], timeout_s: float) -> str:
        return "2 of 5 voters are missing"


@dataclass(frozen=True)
class Sticky(Memory):
    """Cannot be reset."""

    def reset(self, clients: Mapping[str, Address], timeout_s: float) -> None:
        raise ClusterError("stream 'old' cannot be deleted")


@dataclass(frozen=True)
class Deaf(Memory):
    """Tells its settings, and that one of them is not what was asked for."""

    def in_force(
        self, clients: Mapping[str, Address], stream: MemoryStream, timeout_s: float
    ) -> Mapping[str, Mapping[str, str]]:
        return {**{name: {"durable": "true"} for name in clients}, "stream": {"copies": "1"}}

    def unheeded(
        self, stream: MemoryStream, in_force: Mapping[str, Mapping[str, str]]
    ) -> Sequence[str]:
        return [f"stream has copies={in_force['stream']['copies']}, and was told 2."]


@dataclass(frozen=True)
class Abrupt(Memory):
    """Has a client library that is known to end its process."""

    def clients_may_crash(self) -> str:
        return "its library aborts"
