"""`disk.corrupt`: bytes of a node's files are not what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    Cluster,
    Effect,
    Injection,
    NodeState,
    Presence,
    Rig,
    Target,
    TellsFiles,
    Volume,
)
from chaos_adapters.faults.disks import disks_of
from chaos_adapters.faults.process import all_are, managed, nodes_of, running, start, stop

_DONE = "corrupted"


@dataclass(frozen=True)
class Corrupt:
    """Ends the target nodes, flips bytes of their files, and starts them again; over then.

    Which bytes is drawn by the experiment's seed. What they are is not undone: whether the broker
    notices, repairs it from others or serves it is the question. Proof: the SHA-256 of each file
    before and after, the second one read anew from the disk. Heal starts whatever is dead.
    """

    claims: ClassVar[str] = "node"
    needs_links: ClassVar[bool] = False

    target: Target
    """Whose files."""
    files: str = ""
    """Which files, as a pattern below the data directory (`kafka/*-0/*.log`); empty: those that
    hold the messages of the stream."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.0001
    """The share of each file's bytes that are flipped, one at least."""
    how: Literal["kill", "stop"] = "kill"
    """By SIGKILL, after which brokers look into their files with suspicion, or in order."""

    def __post_init__(self) -> None:
        """No pattern leads out of the data directory."""
        path = PurePosixPath(self.files)
        odd = any(part == ".." or ("**" in part and part != "**") for part in path.parts)
        if self.files and (odd or path.is_absolute() or not path.parts):
            raise ValueError(
                f"{self.files!r} is no pattern below the data directory: write one without a `/` "
                "in front and without `..`, with `**` for whole names of directories only"
            )

    def disk_problem(self, volume: Volume) -> str:  # noqa: ARG002
        """Any disk can lie."""
        return ""

    def plan(self, rig: Rig, random: Random) -> Injection:
        """Somebody must say which files."""
        nodes = running(rig, self.target, "corrupt the files of")
        disks_of(rig.cluster, nodes)
        data = {"files": self._patterns(rig.cluster), "seed": random.getrandbits(32)}
        return Injection(nodes, data)

    def _patterns(self, cluster: Cluster) -> Sequence[str]:
        if self.files:
            return [self.files]
        broker = managed(cluster).broker
        if not isinstance(broker, TellsFiles):
            raise FaultError("this broker does not tell its files: name them with `files`")
        return broker.files(managed(cluster).stream)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """All are dead before the first byte is flipped."""
        if self.how == "stop":
            stop(managed(cluster), injection.nodes, 60.0)
        for node in nodes_of(cluster, injection):
            node.kill()
        done: dict[str, Any] = {}
        for number, (name, disk) in enumerate(disks_of(cluster, injection.nodes).items()):
            seed = injection.data["seed"] + number
            done[name] = list(disk.corrupt(injection.data["files"], self.share, seed))
            if not done[name]:
                patterns = ", ".join(injection.data["files"])
                raise FaultError(f"{name} has no file with anything in it that matches {patterns}")
        injection.data[_DONE] = done
        for node in nodes_of(cluster, injection):
            node.start()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:  # noqa: ARG002
        """What was measured on the way."""
        done = injection.data.get(_DONE, {})
        figures = {
            f"{name} {each['file']}": f"{each['bytes']} bytes flipped, SHA-256 "
            f"{each['before'][:12]} -> {each['after'][:12]}"
            for name, files in done.items()
            for each in files
        }
        changed = [each["before"] != each["after"] for files in done.values() for each in files]
        if not done:
            return Effect(Presence.NONE, figures)
        full = all(changed) and set(done) == set(injection.nodes)
        return Effect(Presence.FULL if full else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """Start whatever is dead or about to be, once nobody flips anything any more."""
        try:
            attempt_all(lambda disk: disk.clear(), disks_of(cluster, injection.nodes).values())
        finally:
            start(cluster, injection)

    def residue(self, cluster: Cluster, injection: Injection) -> Effect:
        """Any process that does not run."""
        effect = all_are(NodeState.RUNNING, cluster, injection)
        left = {Presence.FULL: Presence.NONE, Presence.NONE: Presence.FULL}
        return Effect(left.get(effect.presence, Presence.PARTIAL), effect.figures)
