"""The faults of a run, each on a thread of its own, so that they may overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

from chaos.errors import HealError, UsageError
from chaos.experiment import Experiment, Step
from chaos.guard import Guard, Stage
from chaos.history.events import EventLog
from chaos.recorded import fields_of
from chaos.spi import OF_THE_STREAM, Cluster, Loaded, View, contested, holds_down
from chaos.targets import client_names, parse_target, resolve, resolve_clients
from chaos.timing import now_ns
from chaos.undo import UndoLog

_LOOK_S = 0.02


@dataclass
class Rig:
    """spi.Rig: every target means what it meant in `view`, whenever it is asked for."""

    cluster: Cluster
    experiment: Experiment
    view: View
    random: Random
    _resolved: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _clients: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def resolve(self, target: str) -> tuple[str, ...]:
        """See spi.Rig."""
        if target not in self._resolved:
            self._resolved[target] = resolve(
                parse_target(target), self.experiment.broker, self.view,
                list(self.cluster.nodes), self.random,
            )  # fmt: skip
        return self._resolved[target]

    def resolve_clients(self, target: str) -> tuple[str, ...]:
        """See spi.Rig."""
        if target not in self._clients:
            load = self.experiment.load
            names = client_names(load.producers.count, load.consumers.count)
            running = self.cluster.load if isinstance(self.cluster, Loaded) else {}
            idle = [name for name, each in running.items() if each.told().get("received") == 0]
            self._clients[target] = resolve_clients(target, names, self.random, idle)
        return self._clients[target]


class Schedule:
    """All faults: planned together before the first act, then each injected and healed in time."""

    def __init__(self, experiment: Experiment, events: EventLog, undo: UndoLog) -> None:
        self.over = threading.Event()
        """Set when nothing is to be injected any more, and what is on is to be healed."""
        self._lives: dict[str, Future[None]] = {}
        self._guards: Mapping[str, tuple[Step, Guard]] = {
            step.id: (
                step,
                Guard(step.id, step.name, fields_of(step.fault), step.fault, events, undo),
            )
            for step in experiment.faults
        }

    @property
    def active(self) -> Sequence[str]:
        """What is on now, for people."""
        stages = {Stage.RECORDED, Stage.INJECTED, Stage.PROVED, Stage.UNPROVED, Stage.HEALING}
        return [
            f"{guard.name} on {', '.join(guard.injection.nodes)}"
            for _, guard in self._guards.values()
            if guard.stage in stages and guard.injection.nodes
        ]

    def plan(self, rig: Rig) -> None:
        """Decide everything. Raises FaultError, or UsageError when two faults would fight."""
        for _, guard in self._guards.values():
            guard.plan(rig, rig.random)
        steps = list(self._guards.values())
        for (step, guard), (other, another) in combinations(steps, 2):
            both = clash(guard, another)
            if both and step.at_s < other.until_s and other.at_s < step.until_s:
                raise UsageError(
                    f"{step.id} and {other.id} overlap in time and would both act on the "
                    f"{step.fault.claims} of {', '.join(sorted(both))}: move one of them"
                )

    def start(self, cluster: Cluster, start_ns: int) -> None:
        """Let each fault wait for its time, counted from `start_ns`."""
        if not self._guards:
            return
        pool = ThreadPoolExecutor(len(self._guards), "fault")
        for step, guard in self._guards.values():
            self._lives[step.id] = pool.submit(self._live, step, guard, cluster, start_ns)
        pool.shutdown(wait=False)

    def timed_over(self) -> bool:
        """Whether all faults with an end of their own are over."""
        timed = [step.id for step, _ in self._guards.values() if not step.stays]
        return all(self._lives[identity].done() for identity in timed)

    def end(self) -> None:
        """The load is over, or the run breaks off: heal now what is still on, inject nothing more.
        Raises HealError."""
        self.over.set()
        wait(self._lives.values())
        raised = [error for life in self._lives.values() if (error := life.exception())]
        bugs = [error for error in raised if not isinstance(error, HealError)]
        if len(bugs) < len(raised):
            # A bug must not hide what is still on, nor the other way round.
            why = [str(e) if isinstance(e, HealError) else f"a bug: {e!r}" for e in raised]
            raise HealError("\n".join(why)) from (bugs[0] if bugs else None)
        if bugs:
            raise bugs[0]

    def _live(self, step: Step, guard: Guard, cluster: Cluster, start_ns: int) -> None:
        earlier = self._earlier(step, guard)
        in_time = self._sleep_until(start_ns + int(step.at_s * 1e9))
        if not in_time or not self._await_end(earlier):
            guard.skip("the run ended before its time")
            return
        if stuck := [other.id for other in earlier if other.stage is Stage.FAILED]:
            guard.skip(f"{', '.join(stuck)}, with which it would fight, is not healed")
            return
        begin_ns = now_ns()
        try:
            guard.inject(cluster, self.over)
            if step.stays:
                self.over.wait()
            elif step.for_s is not None:
                # The last look takes its time; the heal is to be punctual.
                self._sleep_until(begin_ns + int((step.for_s - guard.look_s) * 1e9))
            guard.look_again(cluster)
            if step.for_s is not None:
                self._sleep_until(begin_ns + int(step.for_s * 1e9))
        finally:
            guard.heal(cluster, _Held(self._others(guard)))

    def _earlier(self, step: Step, guard: Guard) -> Sequence[Guard]:
        """Those that are to be over by its time, and would fight with it if they are not: on a busy
        machine a heal takes its time."""
        return [
            another
            for other, another in self._guards.values()
            if other.at_s < step.at_s and other.until_s <= step.at_s and clash(guard, another)
        ]

    def _await_end(self, guards: Sequence[Guard]) -> bool:
        """Wait until these are healed, or have failed to; False when the end came first."""
        # Another thread may still be about to enter the last of them.
        while not all(g.id in self._lives and self._lives[g.id].done() for g in guards):
            if self.over.wait(_LOOK_S):
                return False
        return not self.over.is_set()

    def _sleep_until(self, time_ns: int) -> bool:
        """False when the end came first."""
        return not self.over.wait(max(0, time_ns - now_ns()) / 1e9)

    def _others(self, own: Guard) -> Sequence[Guard]:
        return [guard for _, guard in self._guards.values() if guard is not own]


def clash(one: Guard, other: Guard) -> set[str]:
    """What two faults would both take hold of."""
    if not contested(one.fault.claims, other.fault.claims):
        return set()
    if one.fault.claims in OF_THE_STREAM:
        return {"the stream"}
    a, b = one.injection, other.injection
    if a.holds and b.holds:
        return set(a.holds) & set(b.holds)
    return set(a.nodes) & set(b.nodes)


@dataclass(frozen=True)
class _Held(Set[str]):
    """The nodes that other faults hold down, asked anew each time: a heal may take a while."""

    others: Sequence[Guard]

    def _now(self) -> set[str]:
        on = {Stage.RECORDED, Stage.INJECTED, Stage.PROVED, Stage.UNPROVED}
        holding = [g for g in self.others if g.stage in on and holds_down(g.fault.claims)]
        return {name for guard in holding for name in guard.injection.nodes}

    def __contains__(self, name: object) -> bool:
        return name in self._now()

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
