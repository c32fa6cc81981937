"""Disks of the nodes' own, and who has to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from chaos.spi.broker import Caveat
from chaos.spi.cluster import Runtime
from chaos.spi.words import Json
from chaos.units import Size

LEAST_VOLUME = 300 << 20
"""Bytes; mkfs.xfs makes nothing smaller."""


@dataclass(frozen=True)
class Volume:
    """What the disk is to be that each node gets for its data alone."""

    size: Size = 1 << 30
    """How much it holds, at least 300 MiB (XFS is not made smaller). It takes room on this machine
    only as it is written."""
    filesystem: Literal["xfs", "ext4"] = "xfs"
    """What is on it; only ext4 turns read-only at an error, as `disk.readonly` wants it."""

    def __post_init__(self) -> None:
        if self.size < LEAST_VOLUME:
            raise ValueError(f"size is {self.size}B: at least {LEAST_VOLUME >> 20}MiB are needed")


@dataclass(frozen=True)
class Written:
    """What became of a probe: `error` is the name of an errno (ENOSPC), empty when all went well;
    `size` are the bytes that were taken."""

    size: int
    seconds: float
    error: str


class Disk(Protocol):
    """The disk that holds one node's data and nothing else.

    It can be looked at and acted on whether the node runs or not, unless a method says otherwise.
    All are idempotent and raise ClusterError. Files of ours are in a directory of their own, which
    brokers do not look into.
    """

    @property
    def volume(self) -> Volume:
        """What was asked for."""

    def space(self) -> tuple[int, int]:
        """Bytes that the broker may still write, and bytes in all (statvfs)."""

    def fill(self, free: int) -> None:
        """Leave at most so many bytes free, in a file of ours."""

    def clear(self) -> None:
        """Remove all files of ours, and whoever has one open."""

    def leftovers(self) -> Sequence[str]:
        """The names of the files of ours that are there."""

    def write(self, size: int, durable: bool) -> Written:
        """Write so much, into the page cache; with `durable`, fsync belongs to it."""

    def flush(self) -> None:
        """Write back all that waits in the page cache."""

    def limit(self, rates: Mapping[str, int]) -> None:
        """Set rates: `read_bps`, `write_bps` (bytes a second), `read_iops`, `write_iops`. Writes
        that wait in the page cache count, too. Of a node that runs."""

    def unlimit(self) -> None:
        """Take all rates off."""

    def limits(self) -> Mapping[str, Sequence[int]]:
        """The rates that are set, in every place where one has to stand (0: it is not)."""

    def pace(self, what: str, rate: int) -> float:
        """How fast whoever is subject to the same limits as the broker reads or writes, by the name
        of a rate, measured on two seconds' worth of `rate`. Writes go into the page cache, as a
        broker's. Of a node that runs."""

    def sync(self) -> tuple[float, float]:
        """Seconds that fsync of 4 KiB takes whoever is subject to the same limits as the broker,
        and that a write of 1 MiB into the page cache takes. Of a node that runs."""

    def fail(self) -> None:
        """Let the file system meet an error, at which it turns read-only under open files."""

    def failed(self) -> str:
        """What a write gets now to a file that was open before `fail`: EROFS; empty: nothing."""

    def corrupt(self, patterns: Sequence[str], share: float, seed: int) -> Sequence[Json]:
        """Flip this share of the bytes of each file that matches, of a node that is dead; `file`,
        `bytes`, and the SHA-256 `before` and `after` of each."""

    def survived(self, mark: str) -> Mapping[str, bool]:
        """Which lines are there that `lose_power` wrote, `durable` and `volatile`; of a node
        that is dead."""

    def mend(self) -> str:
        """Check and repair the file system of a dead node, and have it ready to be used again; what
        the check said."""


@runtime_checkable
class Disked(Protocol):
    """Ability of a Cluster: each node's data is on a disk of its own."""

    @property
    def disks(self) -> Mapping[str, Disk]:
        """By node."""

    def lose_power(self, nodes: Sequence[str], mark: str) -> float:
        """What is not on the disks of these nodes now is gone, on all of them within so many
        seconds; until `mend` they give nothing but errors. Right before, a line with the mark is
        written to each and fsynced, and another is not fsynced."""


@runtime_checkable
class GivesDisks(Protocol):
    """Ability of a Runtime: it can give each node a disk of its own."""

    def with_disks(self, volume: Volume) -> Runtime:
        """A runtime like this one whose new clusters are Disked; its `check` tells why disks cannot
        be had here."""


@runtime_checkable
class NeedsDisk(Protocol):
    """Ability of a Fault: it acts on the disks of nodes, and so needs a cluster that is Disked."""

    def disk_problem(self, volume: Volume) -> str:
        """Why it cannot be done to such a disk; empty: it can."""


@runtime_checkable
class TellsFiles(Protocol):
    """Ability of a Broker: it tells which files hold the messages of a stream."""

    def files(self, stream: Any) -> Sequence[str]:  # noqa: ANN401 - the broker's own type
        """Patterns (as of `pathlib.Path.glob`) below the data directory of any node."""


@runtime_checkable
class LosesCaches(Protocol):
    """Ability of a Fault: what machines have in memory and not on their disks is gone with it."""

    def loses_caches(self) -> bool:
        """Whether that of several machines at once, as far as its target tells."""


@runtime_checkable
class TrustsCaches(Protocol):
    """Ability of a Broker: it may acknowledge what no disk has yet."""

    def cache_caveats(self, stream: Any) -> Sequence[Caveat]:  # noqa: ANN401 - the broker's own type
        """What it does not promise where several machines lose their memory at once."""
