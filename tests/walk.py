"""A random walk over the lives of all registered faults, on whatever cluster it is given.

    begin   plan, record, inject, prove a fault of any kind on nodes that nobody else has
    look    measure once more
    heal    by the guard
    die     a node ends by itself, in consequence of a fault that is on
    crash   the tool is dead; a new process heals all that the undo log has, as often as it takes

Errors and the death of the tool come before, in the middle of and after what a step does. After
each step all that is on is on record; after each crash, and in the end, nothing is on.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Protocol

from chaos.errors import ClusterError, DeadlineExceeded, FaultError, HealError
from chaos.guard import Guard, Stage
from chaos.heal import heal_cluster
from chaos.history.events import EventLog
from chaos.plugin import shape
from chaos.registry import load, names
from chaos.run.schedule import clash
from chaos.spi import OF_THE_STREAM, Json, NodeState, contested, holds_down
from chaos.undo import Entry, UndoLog
from tests.rig import FakeRig, Trouble, aimed

ALLOWED = {
    Stage.NEW: {Stage.PLANNED},
    Stage.PLANNED: {Stage.RECORDED, Stage.UNPROVED},
    Stage.RECORDED: {Stage.INJECTED, Stage.UNPROVED, Stage.HEALING},
    Stage.INJECTED: {Stage.PROVED, Stage.UNPROVED, Stage.HEALING},
    Stage.PROVED: {Stage.UNPROVED, Stage.HEALING},
    Stage.UNPROVED: {Stage.HEALING},
    Stage.HEALING: {Stage.GONE, Stage.FAILED, Stage.HEALING},
    Stage.FAILED: {Stage.HEALING},
    Stage.GONE: set[Stage](),
}
"""The drawing in `chaos.guard`; a heal may also end by an exception of the disk."""
STAGE_OF = {
    "planned": Stage.PLANNED, "attempt": Stage.RECORDED, "injected": Stage.INJECTED,
    "effect": Stage.PROVED, "unproved": Stage.UNPROVED, "skipped": Stage.UNPROVED,
    "heal": Stage.HEALING, "gone": Stage.GONE, "failed": Stage.FAILED,
}  # fmt: skip
_HEALS_AT_MOST = 30
_TOLD = 60


class Killed(BaseException):
    """`kill -9` of the process at this moment: nothing that it would do after it is done."""


class World(Protocol):
    """What is walked on. `trouble` is asked at every act on it."""

    trouble: Trouble

    @property
    def cluster(self) -> Any:
        """What faults get while the tool lives."""

    @property
    def bare(self) -> Any:
        """What they get in a process that heals after it."""

    def aim(self, name: str, nodes: Sequence[str]) -> Any:
        """A fault of this name on these nodes."""

    def forget(self) -> None:
        """The tool is dead, and its load with it."""

    def left_on(self) -> list[str]:
        """What is not as it was at the start."""


@dataclass
class Walk:
    """Takes random steps with several faults at once, as a schedule, a user and bad luck would."""

    directory: Path
    seed: int
    world: World
    lives: dict[str, Guard] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    seen: dict[str, Stage] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.events = EventLog(self.directory / "events")
        self.events.listen(self._hear)
        self.path = self.directory / "undo.jsonl"
        self.undo = UndoLog(self.path)
        self.classes = {name: load("faults", name) for name in names("faults")}

    def _hear(self, event: Json) -> None:
        if event["kind"] == "fault":
            before, after = self.seen.get(event["id"], Stage.NEW), STAGE_OF[event["what"]]
            assert after in ALLOWED[before], event
            self.seen[event["id"]] = after

    @property
    def pending(self) -> list[Entry]:
        return self.undo.pending()

    # ------------------------------------------------------------------------------- the steps

    def walk(self, steps: int) -> None:
        """So many steps, and then all is healed. A failure tells the seed and the last steps."""
        try:
            for _ in range(steps):
                self.step()
            self.finish()
        except Exception as error:
            last = "\n  ".join(self.steps[-_TOLD:])
            raise AssertionError(
                f"seed {self.seed}, step {len(self.steps)}: {error!r}\n"
                f"still on: {self.world.left_on()}; the last steps:\n  {last}"
            ) from error

    def step(self) -> None:
        """One step, with trouble somewhere in it more often than not, and then the invariant."""
        act = self.random.choice([
            self.begin, self.begin, self.look, self.heal, self.heal, self.die, self.crash,
        ])  # fmt: skip
        self.steps.append(act.__name__)
        self._arm(act in (self.heal, self.crash))
        try:
            act()
        except Killed:
            self._tell("killed")
            self.done["killed"] += 1
            self.recover()
        finally:
            self.world.trouble.disarm()
        self.check()
        self._compact()

    def _arm(self, heals: bool) -> None:
        errors: list[Callable[[str], BaseException]] = [
            ClusterError, FaultError, lambda why: DeadlineExceeded(why, 1.0), Killed,
        ]  # fmt: skip
        if heals:
            errors += [HealError, OSError, KeyError]
        if self.random.random() < 0.6:
            moments, error = self.random.randrange(14), self.random.choice(errors)
            self.world.trouble.arm(moments, error)
            self._tell(f"{getattr(error, '__name__', 'error')} at moment {moments}")

    def begin(self) -> None:
        """Plan, record, inject, prove a fault of any kind on nodes that nobody else has."""
        # One of those that came up least often, so that chance leaves out none of them.
        rare = sorted(self.classes, key=lambda name: (self.done[f"{name} begun"], name))
        name = self.random.choice(rare[: len(rare) // 2])
        nodes = self._free(name)
        if not nodes:
            return
        fault = self.world.aim(name, nodes)
        identity = f"{next(self.numbers)}-{name}"
        self._tell(f"{identity} on {', '.join(nodes)}")
        parameters = shape(type(fault)).dump(fault)
        guard = Guard(identity, name, parameters, fault, self.events, self.undo)
        stop = threading.Event()
        if self.random.random() < 0.1:
            stop.set()
        try:
            guard.plan(FakeRig(self.world.cluster), self.random)
        except (ClusterError, FaultError) as error:
            self._tell(f"not planned: {error}")
            self.done["not planned"] += 1
            return
        if any(clash(guard, other) for other in self.lives.values()):
            self._tell("not planned: it would share a link")
            return
        self.lives[identity] = guard
        self.done[f"{name} begun"] += 1
        proved = guard.inject(self.world.cluster, stop)
        assert proved is (guard.stage is Stage.PROVED)
        self._tell(str(guard.stage))
        self.done[f"{name} {guard.stage}"] += 1

    def _free(self, name: str) -> list[str]:
        """Nodes on which nobody claims what this one claims, as a schedule would have it."""
        claims, taken = self.classes[name].claims, set()
        for other in self.lives.values():
            if contested(other.fault.claims, claims):
                taken.update(other.injection.nodes)
        if claims in OF_THE_STREAM and taken:
            return []
        everybody = list(self.world.cluster.nodes)
        free = [node for node in everybody if node not in taken]
        if not free:
            return []
        # The replicas of one node have to go somewhere.
        most = min(len(free), len(everybody) - 1) if claims == "replicas" else len(free)
        return sorted(self.random.sample(free, self.random.randint(1, most)))

    def look(self) -> None:
        """A last measurement before a heal; a fault that half vanished is not proved any more."""
        if guard := self._any():
            guard.look_again(self.world.cluster)
            self.done["looked"] += 1

    def heal(self) -> None:
        """One heal; one that fails may be tried again."""
        guard = self._any()
        if not guard:
            return
        self._tell(guard.id)
        try:
            guard.heal(self.world.cluster, self._held(guard))
        except HealError as error:
            assert guard.stage is Stage.FAILED
            self._tell(f"failed: {error}")
            self.done["heal failed"] += 1
        else:
            self.done["healed"] += 1
            del self.lives[guard.id]

    def die(self) -> None:
        """A node ends by itself, as Kafka does when its disk is full; one that ran when the fault
        that is to blame was planned, so its heal restores it."""
        self.world.trouble.disarm()  # it is nothing that the tool does
        proved = {guard.id for guard in self.lives.values() if guard.stage is Stage.PROVED}
        mortal = {name for entry in self.pending if entry.undo in proved for name in entry.running}
        if mortal:
            node = self.world.cluster.nodes[self.random.choice(sorted(mortal))]
            self._tell(node.name)
            if node.state() is NodeState.RUNNING:
                node.kill()
                self.done["died"] += 1

    def crash(self) -> None:
        """The tool is killed between two steps."""
        if self.random.random() < 0.3:
            self.done["crashed"] += 1
            self.recover()

    def recover(self) -> None:
        """All that the next process knows is on the disk. It heals everything, now or, when that
        fails or when it is killed too, later."""
        self.lives.clear()
        self.world.forget()
        store: Any = SimpleNamespace(
            directory=self.directory, undo_path=self.path, attach=lambda: self.world.bare,
            runtime=lambda: None,
        )  # fmt: skip
        for _ in range(_HEALS_AT_MOST):
            try:
                heal_cluster(store)
            except (HealError, Killed) as error:
                self._tell(f"not healed: {error!r}")
                self.done["heal after crash failed"] += 1
                self.world.trouble.disarm()
                if self.random.random() < 0.2:
                    self._arm(heals=True)
                continue
            break
        assert self.pending == []
        assert self.world.left_on() == []

    def _any(self) -> Guard | None:
        return self.random.choice(list(self.lives.values())) if self.lives else None

    def _held(self, own: Guard) -> set[str]:
        on = {Stage.RECORDED, Stage.INJECTED, Stage.PROVED, Stage.UNPROVED, Stage.FAILED}
        others = [guard for guard in self.lives.values() if guard is not own and guard.stage in on]
        holding = [guard for guard in others if holds_down(guard.fault.claims)]
        return {node for guard in holding for node in guard.injection.nodes}

    def _tell(self, what: str) -> None:
        self.steps[-1:] = [f"{''.join(self.steps[-1:])}; {what}"]

    def _compact(self) -> None:
        """A log of thousands of faults would be read at every step."""
        if self.path.exists() and self.path.stat().st_size > 1 << 12:
            entries = [asdict(entry) for entry in reversed(self.pending)]
            self.path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    # --------------------------------------------------------------------------- what must hold

    def check(self) -> None:
        """Whatever is on is on record; that lives go along the drawing is held by `_hear`."""
        pending = self.pending
        if left := self.world.left_on():
            assert pending, left
        covered = {node for entry in pending for node in (*entry.nodes, *entry.running)}
        for node in self.world.cluster.nodes.values():
            assert node.name in covered or node.state() is NodeState.RUNNING, node.name
        acted_on = {node for entry in pending for node in entry.nodes}
        for (source, target), link in getattr(self.world.cluster, "links", {}).items():
            assert {source, target} & acted_on or not link.imposed(), (source, target)

    def finish(self) -> None:
        """Heal all that is left; then nothing may be left."""
        for guard in list(self.lives.values()):
            guard.heal(self.world.cluster, self._held(guard))
            self.lives.pop(guard.id)
        assert self.world.left_on() == []
        assert self.pending == []


@dataclass
class Recorded:
    """A world of nodes, links and clients that only remember what was done to them."""

    make: Callable[[], Any]

    def __post_init__(self) -> None:
        self.cluster = self.make()
        self.trouble: Trouble = self.cluster.trouble
        self.faults: dict[tuple[str, ...], Any] = {}

    @property
    def bare(self) -> Any:
        """The same without the load."""
        every = {name: getattr(self.cluster, name) for name in dir(self.cluster) if name[0] != "_"}
        every.pop("load")
        return SimpleNamespace(**every)

    def aim(self, name: str, nodes: Sequence[str]) -> Any:
        self.cluster.broker.leaders = dict.fromkeys(range(3), "fake-2")  # so somebody is to elect
        key = (name, *nodes)
        if key not in self.faults:  # what a fault takes is read from its source, which takes time
            self.faults[key] = aimed(load("faults", name), *nodes)
        return self.faults[key]

    def forget(self) -> None:
        """Workers see the end of their pipe; the next tool starts others."""
        fresh = self.make().load
        for client in fresh.values():
            client.trouble, client.everybody = self.trouble, fresh
        self.cluster.load = fresh

    def left_on(self) -> list[str]:
        return list(self.cluster.left_on)


class Serial:
    """ThreadPoolExecutor that does everything at once and in order, so that a seed gives the same
    walk each time."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Of any size."""

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is under way."""

    def map(self, act: Callable[..., Any], *things: Any) -> list[Any]:
        return [act(*each) for each in zip(*things, strict=False)]

    def submit(self, act: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """What fails ends with its error, as in a thread; a dead process does nothing more."""
        done: Future[Any] = Future()
        try:
            done.set_result(act(*arguments))
        except Exception as error:  # noqa: BLE001 - as Future has it
            done.set_exception(error)
        return done
