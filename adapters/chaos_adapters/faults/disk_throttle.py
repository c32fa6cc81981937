"""`disk.throttle`: the disk of a node is slow."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    Cluster,
    Effect,
    Injection,
    NodeState,
    Presence,
    Rig,
    Runtime,
    Size,
    Target,
    Volume,
)
from chaos_adapters.faults.disks import disks_of
from chaos_adapters.faults.process import running

_OVER = 1.25
_FASTER = 2.0
_PROBED_S, _PROBED = 3, 0.25
"""A measurement of bytes that are written takes so many seconds' worth of them: what may wait in
the page cache, and 2 s. And so much of a disk at most."""
Operations = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Throttle:
    """Lets the data disk of a node read or write only so much a second.

    What a broker writes goes to the page cache first and is slowed, too: how much of it may wait
    there is limited to one second's worth (1 MiB at least), and what waits there already is written
    first. By control groups, version 1 or 2.
    Proof: every rate stands wherever it has to, and what a process in the broker's control group
    reads past the cache or writes into it, beyond what may wait there, is at most a quarter faster
    than asked; measuring takes 2 s of the disk's time. Before, it was at least twice as fast. After
    heal: no rate is left, and it is again.
    """

    claims: ClassVar[str] = "disk"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose disk is slow."""
    write_bytes_per_s: Size | None = 1 << 20
    """How many bytes are written in a second, at least 64 KiB; null: as many as the disk takes."""
    read_bytes_per_s: Size | None = None
    """How many bytes are read, at least 64 KiB."""
    writes_per_s: Operations | None = None
    """How many write operations are done; with write_bytes_per_s only."""
    reads_per_s: Operations | None = None
    """How many read operations are done."""

    def __post_init__(self) -> None:
        """Something has to be limited."""
        if not self.rates:
            raise ValueError("write at least one of write_bytes_per_s, read_bytes_per_s, ...")
        if self.writes_per_s and self.write_bytes_per_s is None:
            raise ValueError(
                "writes_per_s alone is not felt by who writes into the page cache, as a broker "
                "does: write write_bytes_per_s, too, or take disk.slow_sync"
            )
        for rate in (self.write_bytes_per_s, self.read_bytes_per_s):
            if rate is not None and rate < 64 << 10:
                raise ValueError("a rate should be at least 64KiB")

    @property
    def rates(self) -> dict[str, int]:
        """As spi.Disk names them."""
        asked = {
            "write_bps": self.write_bytes_per_s, "read_bps": self.read_bytes_per_s,
            "write_iops": self.writes_per_s, "read_iops": self.reads_per_s,
        }  # fmt: skip
        return {name: rate for name, rate in asked.items() if rate is not None}

    def runtime_problem(self, runtime: Runtime) -> str:
        """A limit of writes is felt only where the page cache can be kept small, too."""
        if self.write_bytes_per_s is None or getattr(runtime, "keeps_page_cache_small", True):
            return ""
        why = "writes go to the page cache, which this kernel cannot keep small for one disk"
        return f"{why}: use Linux 6.2 or newer, or disk.slow_sync, or limit reads only"

    def disk_problem(self, volume: Volume) -> str:
        """What measuring writes must not fill the broker's disk."""
        writes = _PROBED_S * (self.write_bytes_per_s or 0)
        if writes <= volume.size * _PROBED:
            return ""
        most = int(volume.size * _PROBED / _PROBED_S)
        return (
            f"measuring {self.write_bytes_per_s} bytes a second writes {writes} to a disk of "
            f"{volume.size}: ask for at most {most}, or for a larger disk"
        )

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """What is no faster even now could not be told from it."""
        nodes = running(rig, self.target, "slow the disk of")
        for node, disk in disks_of(rig.cluster, nodes).items():
            if before := disk.limits():
                raise FaultError(f"the disk of {node} has rates even now: {dict(before)}")
            for name, rate in self.rates.items():
                if (found := disk.pace(name, rate)) < _FASTER * rate:
                    raise FaultError(f"{name} of {node} is {found:.0f} even now: ask for less")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Set all rates. Of a dead node there is nothing to slow."""
        for name, disk in disks_of(cluster, injection.nodes).items():
            if (state := cluster.nodes[name].state()) is NodeState.DEAD:
                raise FaultError(f"cannot slow the disk of {name}: it is {state}")
            disk.limit(self.rates)

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What is set, and what it does to one who reads and writes."""
        figures, slow, gone = {}, [], []
        for node, disk in disks_of(cluster, injection.nodes).items():
            limits, state = disk.limits(), cluster.nodes[node].state()
            # A process that joins the control group of a frozen broker freezes, too.
            alive = state is NodeState.RUNNING
            for name, rate in self.rates.items():
                places = limits.get(name, ())
                found = disk.pace(name, rate) if alive else 0.0
                told = f"{found:,.0f} of {rate:,} asked for" if alive else str(state)
                figures[f"{node} {name}"] = told
                set_ = bool(places) and set(places) == {rate}
                slow.append(set_ and 0 < found <= _OVER * rate)
                gone.append(not alive or found >= _FASTER * rate)
            gone.append(not limits)
        if all(slow):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(gone) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """No rates at all, as before."""
        attempt_all(lambda disk: disk.unlimit(), disks_of(cluster, injection.nodes).values())
