"""What faults leave in containers beside a dead or frozen broker, and what links, packet rules and
disks tell of themselves.

A mechanism that changes something else adds a scan to `SCANS`: it gets all containers of one
cluster and describes what it finds there of its own. `chaos doctor --residue` shows that of kept
clusters, which should be free of it; what has a name on the machine itself (a volume, a loop
device, a mount) belongs to `Docker.leftovers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chaos_adapters.runtimes.agent import AGENT, PART
from chaos_adapters.runtimes.executing import run_in

_WITHIN_S = 10.0
Scan = Callable[[Sequence[Any]], Iterator[str]]
_LIMITS = (
    "CpuQuota", "NanoCpus", "CpusetCpus", "Memory", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
)  # fmt: skip


def limits(containers: Sequence[Any]) -> Iterator[str]:
    """Limits of a control group: a cluster is started without any."""
    for container in containers:
        of = container.attrs["HostConfig"]
        # A quota that was lifted stands there as -1.
        for name in (name for name in _LIMITS if of.get(name) not in (None, "", 0, -1, [])):
            yield f"limit {name}={of[name]} on container {container.name}"


def mounts(containers: Sequence[Any]) -> Iterator[str]:
    """Disks that an agent has mounted: it does so only for as long as a command takes, and what
    stays mounted is neither checked nor mounted anew."""
    for container in containers:
        if container.labels.get(PART) != AGENT or container.status != "running":
            continue
        for line in run_in(container, ["cat", "/proc/self/mounts"], _WITHIN_S).splitlines():
            device, place = line.split()[:2]
            if device.startswith("/dev/loop"):
                yield f"{device} mounted on {place} in container {container.name}"


SCANS: Sequence[Scan] = (limits, mounts)
