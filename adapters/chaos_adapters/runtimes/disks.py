"""spi.Disk by Docker: a sparse image, a loop device, and a volume that the daemon mounts.

    DIRECTORY/disks/mqchaos-<cluster>-<node>.img     the image; the kernel tells this name of a
                                                     device's, so left-overs are found by it
    DIRECTORY/disks.json                             the devices

What needs root's rights is done by the modules of `work`, in an agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.errors import ClusterError
from chaos.spi import Json, Volume, Written
from chaos_adapters.runtimes import work
from chaos_adapters.runtimes.agent import Agent
from chaos_adapters.runtimes.daemon import daemon

if TYPE_CHECKING:
    from chaos_adapters.runtimes.docker_node import DockerNode

SYS = Path("/sys")
_IMAGE = re.compile(r"(mqchaos-([0-9a-f]+)-.+)\.img")
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD", "SYS_ADMIN")
_LOOPS = ("b 7:* rwm", "c 10:237 rwm")
WORK = f"{Path(work.__file__).parent}:/mqchaos/chaos_adapters/runtimes/work:ro"
"""Where an agent finds the modules of `work`."""
_WITHIN_S = 60.0
_CHECK_WITHIN_S = 120.0


def worker(cluster_id: str, directory: Path | None = None) -> Agent:
    """The agent that may do all that `work` does; with a directory where images are made."""
    return Agent(
        cluster_id,
        _CAPABILITIES,
        purpose="disks" if directory else "detach",
        binds=(
            "/dev:/dev",
            "/sys:/host/sys",
            "/sys/fs/cgroup:/host/cgroup",
            WORK,
            *([f"{directory / 'disks'}:/disks"] if directory else ()),
        ),
        device_rules=_LOOPS,
    )


def command(agent: Agent, name: str, timeout_s: float = _WITHIN_S, **arguments: object) -> Any:  # noqa: ANN401 - as each answers
    """Have a command of `work` done. Raises ClusterError."""
    argv = ["env", "PYTHONPATH=/mqchaos", "python3", "-m", work.__name__, name]
    return json.loads(agent.run([*argv, json.dumps(arguments)], timeout_s))


@dataclass(frozen=True)
class DockerDisk:
    """The disk of one node; `container` tells the id of its broker's."""

    device: str
    volume: Volume
    agent: Agent
    container: Callable[[], str]

    def _do(self, name: str, timeout_s: float = _WITHIN_S, **arguments: object) -> Any:  # noqa: ANN401 - as each answers
        if not any(
            each.startswith(f"{self.device} ") for each in left().get(self.agent.cluster_id, ())
        ):
            raise ClusterError(
                f"{self.device} is no disk of cluster {self.agent.cluster_id} any more, as after a "
                f"restart of the machine: chaos down {self.agent.cluster_id}"
            )
        return command(self.agent, name, timeout_s, device=self.device, **arguments)

    def space(self) -> tuple[int, int]:
        """By statvfs."""
        found = self._do("space")
        return found["free"], found["size"]

    def fill(self, free: int) -> None:
        """Blocks that are reserved, so the image does not grow."""
        self._do("fill", free=free)

    def clear(self) -> None:
        """All in our directory, and who has a file in it open."""
        self._do("release")
        self._do("clear")

    def leftovers(self) -> Sequence[str]:
        """All in our directory."""
        found: list[str] = self._do("leftovers")
        return found

    def write(self, size: int, durable: bool) -> Written:
        """From the agent, which no rate of the broker holds up."""
        found = self._do("write", size=size, durable=durable)
        return Written(found["written"], found["seconds"], found["error"])

    def flush(self) -> None:
        """By syncfs."""
        self._do("flush")

    def limit(self, rates: Mapping[str, int]) -> None:
        """In the broker's control group, the root's (version 1) and by the device's share of the
        page cache."""
        self.flush()
        self._do("limit", container=self.container(), rates=dict(rates))

    def unlimit(self) -> None:
        """Everywhere."""
        self._do("unlimit", container=self.container())

    def limits(self) -> Mapping[str, Sequence[int]]:
        """As the kernel tells them."""
        found: dict[str, list[int]] = self._do("limits", container=self.container())
        return found

    def pace(self, what: str, rate: int) -> float:
        """By a process in the broker's control group."""
        return float(self._do("pace", container=self.container(), what=what, rate=rate))

    def sync(self) -> tuple[float, float]:
        """By a process in the broker's control group."""
        found = self._do("sync", container=self.container())
        return float(found["sync"]), float(found["write"])

    def fail(self) -> None:
        """By ext4's own trigger."""
        self._do("fail")

    def failed(self) -> str:
        """As a process of ours sees it that has had a file open since before."""
        return str(self._do("failed"))

    def corrupt(self, patterns: Sequence[str], share: float, seed: int) -> Sequence[Json]:
        """On the unmounted disk."""
        found: list[Json] = self._do(
            "corrupt", _CHECK_WITHIN_S, patterns=list(patterns), share=share, seed=seed
        )
        return found

    def survived(self, mark: str) -> Mapping[str, bool]:
        """After the log was played back."""
        found: dict[str, bool] = self._do("survived", mark=mark)
        return found

    def mend(self) -> str:
        """fsck."""
        self._do("release")
        return str(self._do("check", _CHECK_WITHIN_S))


def make(cluster_id: str, directory: Path, volume: Volume, nodes: Sequence[str]) -> None:
    """A disk for each node, written down in the directory."""
    (directory / "disks").mkdir()
    names = {node: f"mqchaos-{cluster_id}-{node}.img" for node in nodes}
    devices = command(
        worker(cluster_id, directory), "make", _CHECK_WITHIN_S,
        directory="/disks", names=names, size=volume.size, filesystem=volume.filesystem,
    )  # fmt: skip
    about = {"size": volume.size, "filesystem": volume.filesystem, "devices": devices}
    (directory / "disks.json").write_text(json.dumps(about))


def read(directory: Path) -> tuple[Volume, Mapping[str, str]] | None:
    """What was made, and node -> device; None: the nodes have none. Raises ClusterError."""
    path = directory / "disks.json"
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ClusterError(f"{path}: cannot be read: {error}") from error
    return Volume(about["size"], about["filesystem"]), about["devices"]


def own(
    cluster_id: str, directory: Path, nodes: Mapping[str, DockerNode]
) -> Mapping[str, DockerDisk] | None:
    """The disk of each node; None: they have none. Raises ClusterError."""
    made = read(directory)
    if made is None:
        return None
    agent = worker(cluster_id, directory)
    return {
        name: DockerDisk(device, made[0], agent, nodes[name].container_id)
        for name, device in made[1].items()
    }


def options(volume: Volume, device: str) -> Json:
    """Of a Docker volume that is this disk."""
    made = {"type": volume.filesystem, "device": device}
    return {**made, "o": "errors=remount-ro"} if volume.filesystem == "ext4" else made


def put(document: Json, directory: Path) -> None:
    """The volumes of a Compose file become the disks that were made."""
    made = read(directory)
    assert made
    for name, device in made[1].items():
        document["volumes"][name]["driver_opts"] = options(made[0], device)


def left() -> Mapping[str, Sequence[str]]:
    """Cluster -> its devices, of all clusters on this machine."""
    found: dict[str, list[str]] = {}
    for backing in sorted(SYS.glob("block/loop*/loop/backing_file")):
        try:
            name = Path(backing.read_text().rstrip("\n").removesuffix(" (deleted)")).name
        except OSError:
            continue  # detached just now
        if image := _IMAGE.fullmatch(name):
            found.setdefault(image[2], []).append(f"/dev/{backing.parts[-3]} ({image[1]})")
    return found


def detach(cluster_id: str) -> None:
    """Take away all devices of a cluster, with what was set for them. Raises ClusterError."""
    if cluster_id in left():
        command(worker(cluster_id), "detach", prefix=f"mqchaos-{cluster_id}-")


def missing(volume: Volume) -> Sequence[str]:
    """Why disks cannot be had here, each with what would help; empty: they can."""
    with daemon("its security options") as client:
        options_on = client.info().get("SecurityOptions") or ()
    kinds = {option.partition("=")[2] for option in options_on if option.startswith("name=")}
    reasons = []
    if kinds & {"rootless", "userns"}:
        why = "Docker runs without root's rights, so it can mount no disks for nodes"
        reasons.append(f"{why}: use a daemon that is neither rootless nor has userns-remap")
    if not Path("/dev/loop-control").exists():
        reasons.append("there are no loop devices for the disks of nodes: modprobe loop, as root")
    if not _mountable(volume.filesystem):
        other = "ext4" if volume.filesystem == "xfs" else "xfs"
        reasons.append(
            f"the kernel has no {volume.filesystem} for the disks of nodes: "
            f"modprobe {volume.filesystem}, as root, or write `filesystem: {other}`"
        )
    return reasons


def page_cache_can_be_small() -> bool:
    """Whether this kernel limits what may wait for one disk in the page cache: Linux 6.2 does
    (Documentation/ABI/testing/sysfs-class-bdi, `strict_limit`)."""
    return any(Path("/sys/class/bdi").glob("*/strict_limit"))


def _mountable(filesystem: str) -> bool:
    known = Path("/proc/filesystems").read_text().split()
    return filesystem in known or any(
        Path("/lib/modules", _release(), "kernel", "fs", filesystem).glob(f"{filesystem}.ko*")
    )


def _release() -> str:
    return Path("/proc/sys/kernel/osrelease").read_text().strip()
