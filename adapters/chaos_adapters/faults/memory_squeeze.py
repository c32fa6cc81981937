"""`memory.squeeze`: a broker has to live with a heap that is too small for it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import ClassVar

from chaos.errors import FaultError, attempt_all
from chaos.spi import (
    Broker,
    Cluster,
    Effect,
    Injection,
    Json,
    NodeState,
    Presence,
    Rig,
    Size,
    Target,
    Tunable,
)
from chaos_adapters.faults.process import managed, running, stop

_MIB = 1 << 20
_LEAST = 0.05
"""Of the time. The throughput collector's own goal is 0.01 (`-XX:GCTimeRatio=99`); a broker of ours
that has memory enough spends less than that."""
_WINDOW_S = 5.0
_SINCE = "since"
_STOPPED_WITHIN_S = 30.0
_LAST_LINES = 2000
_ERROR = "java.lang.OutOfMemoryError"
_COLLECTION = re.compile(r"\[(?P<at>\S+)\] GC\(\d+\) ")
_PAUSE = re.compile(_COLLECTION.pattern + r"Pause .*\((?P<heap>\d+)M\) (?P<ms>\d+\.\d+)ms")
"""Such as "[2026-11-28T11:26:49.123+0000] GC(3) Pause Young (Allocation Failure) 23M->12M(92M)
3.215ms", of unified logging with the decoration `utctime` (JEP 158, JEP 271)."""


@dataclass(frozen=True)
class Squeeze:
    """Restarts the broker of the target nodes with a Java heap that is too small for it; heal
    restarts it with the one that it had.

    It collects garbage again and again and stands still meanwhile, at its worst so long that others
    take it for dead; smaller still, and it gets an OutOfMemoryError. Both are seen in its log, as
    the Java machine then tells each collection. Proof: its collections took more than 5 % of the
    last 5 seconds, in a heap no larger than this one, or that error; after heal: it runs with the
    options that it had.
    """

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False
    example: ClassVar[Json] = {"heap": "64MiB"}

    target: Target
    """Whose heap it is; several are restarted one after the other."""
    heap: Size
    """How large it is, such as `64MiB`; a part of a MiB counts for nothing."""

    def __post_init__(self) -> None:
        """The Java machine needs 2 MiB at least."""
        if self.heap < 2 * _MIB:
            raise ValueError("heap should be at least 2MiB")

    def broker_problem(self, broker: Broker) -> str:
        """Others have no such heap."""
        return "" if getattr(broker, "java", False) else "needs a broker that is a Java program"

    def plan(self, rig: Rig, random: Random) -> Injection:  # noqa: ARG002
        """Nobody else's options may be there: heal would take them for this one's."""
        nodes = running(rig, self.target, "squeeze")
        for name, node in _tunable(rig.cluster, nodes):
            if options := node.java_options():
                raise FaultError(f"{name} has options of its own even now: {' '.join(options)}")
        return Injection(nodes)

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """The end is an orderly one, so that it costs no more than a restart."""
        size = f"{self.heap // _MIB}m"
        options = (f"-Xms{size}", f"-Xmx{size}", "-Xlog:gc:stdout:utctime")
        for name, node in _tunable(cluster, injection.nodes):
            node.set_java_options(options)
            injection.data.setdefault(_SINCE, {})[name] = time.time()
            stop(managed(cluster), (name,), _STOPPED_WITHIN_S)
            cluster.nodes[name].start()

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        """What the log says; the options tell whether the next start would be squeezed."""
        figures, on, off = {}, [], []
        for name, node in _tunable(cluster, injection.nodes):
            options, state = node.java_options(), cluster.nodes[name].state()
            since_s = injection.data.get(_SINCE, {}).get(name, 0.0)
            told = Told.of(cluster.nodes[name].log_tail(_LAST_LINES), since_s, time.time())
            figures[name] = str(told) if options else f"{state}, with the heap that it had"
            fits = 0 < told.heap_mib <= self.heap // _MIB
            on.append(bool(options) and (told.out_of_memory or (fits and told.share > _LEAST)))
            off.append(not options and state is NodeState.RUNNING)
        if all(on):
            return Effect(Presence.FULL, figures)
        return Effect(Presence.NONE if all(off) else Presence.PARTIAL, figures)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        """It is killed first: whatever has no options any more runs without them, or not at all."""
        tunable = dict(_tunable(cluster, injection.nodes))

        def loosen(name: str) -> None:
            if tunable[name].java_options():
                cluster.nodes[name].kill()
                tunable[name].set_java_options(())
            cluster.nodes[name].start()

        attempt_all(loosen, injection.nodes)


@dataclass(frozen=True)
class Told:
    """What a Java machine said of its heap of late: its size in MiB (0: nothing was said), the
    share of the time that collections took, the longest one, and whether it ran out."""

    heap_mib: int = 0
    share: float = 0.0
    longest_ms: float = 0.0
    out_of_memory: bool = False

    def __str__(self) -> str:
        """For people."""
        error = ", OutOfMemoryError" if self.out_of_memory else ""
        return (
            f"{self.share:.0%} of the time in collections, up to {self.longest_ms:.0f} ms, in a "
            f"heap of {self.heap_mib} MiB{error}"
        )

    @classmethod
    def of(cls, lines: Sequence[str], since_s: float, now_s: float) -> Told:
        """From the end of a log, at a moment. Nothing counts that stands before the first
        collection after `since_s` (both in seconds since 1970): an error there is of an earlier
        start."""
        late = (n for n, line in enumerate(lines) if since_s <= _at(_COLLECTION.match(line)))
        lines = lines[next(late, len(lines)) :]
        pauses = [
            (float(found["ms"]), int(found["heap"]))
            for found in filter(None, map(_PAUSE.match, lines))
            if _at(found) > now_s - _WINDOW_S
        ]
        error = any(_ERROR in line for line in lines)
        if not pauses:
            return cls(out_of_memory=error)
        took_ms = sum(each for each, _ in pauses)
        return cls(pauses[-1][1], took_ms / 1000 / _WINDOW_S, max(pauses)[0], error)


def _at(collection: re.Match[str] | None) -> float:
    """When it was, in seconds since 1970; of what is none, before everything."""
    return datetime.fromisoformat(collection["at"]).timestamp() if collection else -1.0


def _tunable(cluster: Cluster, names: Sequence[str]) -> Iterator[tuple[str, Tunable]]:
    for name in names:
        node = cluster.nodes[name]
        if not isinstance(node, Tunable):
            raise FaultError("this runtime does not start the broker, so it cannot change its heap")
        yield name, node
