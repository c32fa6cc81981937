"""spi.Clocks by Docker: libfaketime, loaded before the broker's libraries, which reads a file of
ours. An image says by its label where it has that library; the official ones have none.

    DIRECTORY/clocks/<node>     how far ahead its clock is
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import NotFound

from chaos.errors import ClusterError
from chaos.spi import Broker, Json, Skew
from chaos_adapters.runtimes.agent import Agent
from chaos_adapters.runtimes.daemon import daemon
from chaos_adapters.runtimes.disks import WORK, command
from chaos_adapters.runtimes.pods import broker_image
from chaos_adapters.runtimes.work.clocks import offset_text

if TYPE_CHECKING:
    from chaos_adapters.runtimes.docker_node import DockerNode

IMAGE_LABEL = "mqchaos.faketime"
_INSIDE = "/mnt/mqchaos-clock"
_READ = (
    "grep -q libfaketime /proc/1/maps || exit 9; date +%s.%N; LD_PRELOAD= date +%s.%N; date +%s.%N"
)
_WITHIN_S = 10.0


@dataclass(frozen=True)
class DockerClocks:
    """The clocks of these nodes."""

    cluster_id: str
    directory: Path
    nodes: Mapping[str, DockerNode]

    def set(self, node: str, skew: Skew) -> None:
        """By an agent, in which the process stays that has a clock drift. What sets it right is a
        command of its own, as it ends those that skew it."""
        binds = (f"{self.directory / 'clocks'}:/clocks", WORK)
        agent = Agent(self.cluster_id, ("DAC_OVERRIDE",), purpose="clocks", binds=binds)
        if skew == Skew():
            command(agent, "right_clock", directory="/clocks", node=node)
            return
        command(
            agent, "set_clock", directory="/clocks", node=node,
            offset_s=skew.offset_s, drift=skew.drift,
        )  # fmt: skip

    def read(self, node: str) -> float:
        """The true time is read between two readings of the node's."""
        told = self.nodes[node].run(["sh", "-c", _READ], _WITHIN_S).split()
        if len(told) != len("ata"):
            raise ClusterError(f"the clock of {node} cannot be read: {' '.join(told)}")
        before, true, after = map(float, told)
        return (before + after) / 2 - true


def made(directory: Path) -> bool:
    """Whether the nodes of this cluster have clocks of their own."""
    return (directory / "clocks").is_dir()


def put(document: Json, directory: Path, broker: Broker, nodes: Sequence[str]) -> None:
    """The brokers of a Compose file go by clocks of their own, which are right at first."""
    (directory / "clocks").mkdir()
    library = _library(broker)
    for name in nodes:
        file = directory / "clocks" / name
        file.write_text(offset_text(0).ljust(32))
        file.chmod(0o644)
        service = document["services"][name]
        service.setdefault("volumes", []).append(f"{file}:{_INSIDE}:ro".replace("$", "$$"))
        service.setdefault("environment", {}).update({
            "LD_PRELOAD": library.replace("$", "$$"),
            "FAKETIME_TIMESTAMP_FILE": _INSIDE,
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no machine's clock for durations jumps
            # Else it makes waits with a deadline return at once, and a Java machine spins.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        })  # fmt: skip


def missing(broker: Broker) -> Sequence[str]:
    """Why nodes cannot have clocks of their own here, with what would help; empty: they can."""
    if _library(broker):
        return []
    image = broker_image(broker)
    why = f"clocks of the nodes' own need libfaketime in {image}, which has no label {IMAGE_LABEL}"
    return [f"{why}: use an image that compose/images builds"]


def _library(broker: Broker) -> str:
    image = broker_image(broker)
    with daemon(f"labels of {image}") as client:
        try:
            return str((client.images.get(image).labels or {}).get(IMAGE_LABEL, ""))
        except NotFound:
            return ""
