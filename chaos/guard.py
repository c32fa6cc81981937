"""The life of one fault, held in one place so that no fault has to care.

    planned ──record──> recorded ──inject──> injected ──in_effect FULL──> proved
                           │                    │             └─ not in time ─> unproved
                           └──────── error ─────┴──────────────────────> unproved
    recorded | injected | proved | unproved ──heal──> healing ──in_effect NONE──> gone
                                                         └─ not in time ────────> failed

`heal` may be called in every state, any number of times, and from another process through
`heal_entry`, which is all that the reaper and `chaos heal` do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from random import Random

from chaos.errors import ChaosError, DeadlineExceeded, FaultError, HealError, attempt_all
from chaos.history.events import EventLog
from chaos.spi import (
    Cluster,
    Effect,
    Fault,
    HealsByBrokers,
    Injection,
    Json,
    Momentary,
    NodeState,
    Presence,
    Rig,
)
from chaos.timing import Interrupted, now_ns, wait_until
from chaos.undo import Entry, UndoLog

PROVE_WITHIN_S = 10.0
HEAL_WITHIN_S = 60.0


class Stage(StrEnum):
    """Where a fault is in its life; see the drawing above."""

    NEW = "new"
    PLANNED = "planned"
    RECORDED = "recorded"
    INJECTED = "injected"
    PROVED = "proved"
    UNPROVED = "unproved"
    HEALING = "healing"
    GONE = "gone"
    FAILED = "failed"


class Guard:
    """Takes one fault through its life, writing each step to the events of the run."""

    def __init__(
        self,
        identity: str,
        name: str,
        parameters: Json,
        fault: Fault,
        events: EventLog,
        undo: UndoLog,
    ) -> None:
        self.id, self.name, self.fault, self.stage = identity, name, fault, Stage.NEW
        self.injection = Injection(())
        self.look_s = 0.0
        """How long it took to measure its effect the last time."""
        self._parameters, self._events, self._undo = parameters, events, undo
        self._entry: Entry | None = None
        self._running: tuple[str, ...] = ()
        self._undone_ns: int | None = None

    def plan(self, rig: Rig, random: Random) -> None:
        """Let the fault decide; nothing is changed. Raises FaultError, ClusterError."""
        self.injection = self.fault.plan(rig, random)
        nodes = rig.cluster.nodes.values()
        self._running = tuple(n.name for n in nodes if n.state() is not NodeState.DEAD)
        self._move(Stage.PLANNED, "planned", nodes=self.injection.nodes)

    def inject(self, cluster: Cluster, stop: threading.Event) -> bool:
        """Record, inject, and wait for the proof; whether it was proved.

        What cannot be recorded is not injected.
        """
        entry = Entry(
            self.id, self.name, self._parameters, self.injection.nodes, self.injection.data,
            self._running,
        )  # fmt: skip
        try:
            self._undo.record(entry)
        except FaultError as error:
            self.skip(str(error))
            return False
        self._entry = entry
        self._move(Stage.RECORDED, "attempt", nodes=self.injection.nodes)
        try:
            self.fault.inject(cluster, self.injection)
            self._move(Stage.INJECTED, "injected")
            effect = self._await(cluster, Presence.FULL, PROVE_WITHIN_S, stop)
        except Interrupted:
            self._move(Stage.UNPROVED, "unproved", why="interrupted before the effect was measured")
        except ChaosError as error:
            self._move(Stage.UNPROVED, "unproved", why=str(error))
        else:
            self._move(Stage.PROVED, "effect", figures=effect.figures)
        return self.stage is Stage.PROVED

    def look_again(self, cluster: Cluster) -> None:
        """Measure once more before the heal: a fault that vanished half-way proves nothing."""
        if self.stage is not Stage.PROVED or isinstance(self.fault, Momentary):
            return
        try:
            effect = self.fault.in_effect(cluster, self.injection)
        except ChaosError as error:
            self._move(Stage.UNPROVED, "unproved", why=f"at its end: {error}")
            return
        if effect.presence is not Presence.FULL:
            why = f"at its end only {effect.presence} of it was left"
            self._move(Stage.UNPROVED, "unproved", why=why, figures=effect.figures)

    def heal(self, cluster: Cluster, held: Collection[str]) -> None:
        """Undo and wait for the proof. `held` are nodes that other faults hold down meanwhile.

        Raises HealError when it is not gone in time.
        """
        if self._entry is None or self.stage is Stage.GONE:
            return
        self._move(Stage.HEALING, "heal")
        try:
            effect = heal_entry(
                cluster, self._entry, self.fault, held, self._consequence, self._undone
            )
            self._undo.done(self.id)
        except HealError as error:
            self._move(Stage.FAILED, "failed", why=str(error))
            raise
        self._move(Stage.GONE, "gone", figures=effect.figures, undone_ns=self._undone_ns)

    def skip(self, why: str) -> None:
        """It will not be injected, so there is nothing of it."""
        self._move(Stage.GONE, "skipped", why=why)

    def _consequence(self, node: str) -> None:
        self._events.add("node", node=node, what="consequence", id=self.id)

    def _undone(self) -> None:
        # Later calls are tries while brokers have not shown yet that it is gone.
        if not isinstance(self.fault, HealsByBrokers):
            self._undone_ns = self._undone_ns or now_ns()

    def _move(self, stage: Stage, what: str, **fields: object) -> None:
        self.stage = stage
        self._events.add("fault", id=self.id, fault=self.name, what=what, **fields)

    def _await(
        self, cluster: Cluster, wanted: Presence, timeout_s: float, stop: threading.Event
    ) -> Effect:
        last: list[Effect] = []

        def look() -> Effect | None:
            started_s = time.monotonic()
            effect = self.fault.in_effect(cluster, self.injection)
            self.look_s = time.monotonic() - started_s
            last[:] = [effect]
            return effect if effect.presence is wanted else None

        try:
            return wait_until(look, f"effect of {self.name}", timeout_s, every_s=0.05, stop=stop)
        except DeadlineExceeded as error:
            if not last:  # a deadline of the measurement's own
                raise
            raise DeadlineExceeded(error.what, timeout_s, str(last[-1].figures)) from error


def heal_entry(
    cluster: Cluster,
    entry: Entry,
    fault: Fault,
    held: Collection[str],
    consequence: Callable[[str], None] = lambda node: None,
    undone: Callable[[], None] = lambda: None,
) -> Effect:
    """Undo one recorded fault, try after try, until it is measured to be gone.

    Nodes that ran before it and are dead now, ended by its consequences, are started again, except
    those in `held`; `consequence` is told of each. `undone` is called when all was undone and has
    yet to be measured. Raises HealError with the last reason after HEAL_WITHIN_S.
    """
    failed: HealError | None = None
    for _ in tries():
        try:
            return try_heal(cluster, entry, fault, held, consequence, undone)
        except HealError as error:
            failed = error
    assert failed
    raise failed


def tries(within_s: float | None = None) -> Iterator[None]:
    """The moments at which to try a heal, ever further apart, until so many seconds are over, else
    HEAL_WITHIN_S. They count from the end of the first try: on a busy machine that takes a minute
    where disks are mended and nodes started, which then have their time to come up."""
    yield
    deadline, pause_s = time.monotonic() + (within_s or HEAL_WITHIN_S), 0.05
    while time.monotonic() < deadline:
        threading.Event().wait(pause_s)
        pause_s = min(2 * pause_s, 2.0)
        yield


def try_heal(
    cluster: Cluster,
    entry: Entry,
    fault: Fault,
    held: Collection[str],
    consequence: Callable[[str], None] = lambda node: None,
    undone: Callable[[], None] = lambda: None,
) -> Effect:
    """One try. Raises HealError when it is not gone after it."""
    left = fault.residue if isinstance(fault, Momentary) else fault.in_effect
    try:
        fault.heal(cluster, entry.injection)
        undone()
        _restart(cluster, set(entry.running) - set(held), consequence)
        effect = left(cluster, entry.injection)
    except Exception as error:  # noqa: BLE001 - the heal loop: whatever it is, try again
        why = f"{type(error).__name__}: {error}"
    else:
        if effect.presence is Presence.NONE:
            return effect
        why = f"still {effect.presence}: {effect.figures}"
    raise HealError(f"{entry.fault} on {', '.join(entry.nodes)} is not healed: {why}")


def _restart(cluster: Cluster, names: set[str], consequence: Callable[[str], None]) -> None:
    def restart(name: str) -> None:
        if cluster.nodes[name].state() is NodeState.DEAD:
            consequence(name)
            cluster.nodes[name].start()

    attempt_all(restart, sorted(names))
