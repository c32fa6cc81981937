"""The workers that receive: members of a consumer group, and the reader of what is stored."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from chaos.history.schema import ENDS
from chaos.history.writer import FLUSH_EVERY_S
from chaos.load.application import Application
from chaos.load.assignment import Assignment, group_name
from chaos.load.control import STATS_EVERY_S, Control
from chaos.load.dead_letters import DeadLetters, dead_letter_stream
from chaos.load.recorder import Recorder
from chaos.load.replicas import read_replicas
from chaos.spi import (
    Deliveries,
    HandsBack,
    Json,
    PartitionEnd,
    Replicas,
    TellsItself,
    WaitsForSettling,
)

READ_BACK_WITHIN_S = 120.0
_RECEIVE_S = 0.1
_LOOK_S = 0.05
"""How often a consumer that is busy with one message looks after everything else."""


def _every(seconds: float) -> Callable[[], bool]:
    """A function that is true once in so many seconds."""
    due_s = time.monotonic() + seconds

    def due() -> bool:
        nonlocal due_s
        if time.monotonic() < due_s:
            return False
        due_s = time.monotonic() + seconds
        return True

    return due


def consume(work: Assignment, control: Control) -> Json:
    """Receive, handle, record, settle, until told to stop."""
    return _Loop(work, control).run()


class _Loop:
    """A consumer at work, and what it does beside its messages."""

    def __init__(self, work: Assignment, control: Control) -> None:
        experiment, self._control = work.experiment, control
        broker, stream, self._settings = (
            experiment.broker, experiment.stream, experiment.load.consumers
        )  # fmt: skip
        self._recorder = Recorder(work.run, work.directory, work.client, "deliveries")
        dead_letters = None
        if self._settings.dead_letter and not self._settings.hand_back:
            producing = experiment.load.producers.settings
            dead_letters = DeadLetters(broker, work.clients, stream, producing)
        settings, group = self._settings.settings, group_name(work.run)
        self._consumer = broker.consumer(work.clients, stream, settings, group)
        hand_back: Callable[[int], None] | None = None
        if self._settings.hand_back:
            assert isinstance(self._consumer, HandsBack)
            hand_back = self._consumer.hand_back
        self._app = Application(self._settings, self._recorder, dead_letters, self._wait, hand_back)
        self._settle_now: Callable[[], None] = getattr(
            self._consumer, "settle_durably", self._consumer.settle
        )
        self._over = False
        self._stats_due, self._flush_due = _every(STATS_EVERY_S), _every(FLUSH_EVERY_S)

    def run(self) -> Json:
        """The last stats."""
        self._control.tell(ready=True)
        whole, before = True, self._settings.settle == "before"
        settle_due = _every(FLUSH_EVERY_S)
        at_once = isinstance(self._consumer, WaitsForSettling)
        while whole and self._obey():
            deliveries = self._consumer.receive(self._app.most, _RECEIVE_S)
            if deliveries:
                if before:
                    self._settle_now()
                whole = self._app.take(deliveries)
                if before:
                    self._recorder.flush()
            if whole and (settle_due() or (at_once and deliveries)):
                self._recorder.flush()
                self._consumer.settle()
            self._tell_when_due()
        while whole and at_once and (rest := self._consumer.receive(self._app.most, _RECEIVE_S)):
            # Several of its threads receive: one may come after another that the end was told by.
            whole = self._app.take(rest)
            self._recorder.flush()
            self._consumer.settle()
        self._recorder.finish()
        if whole:
            # Else it ends in the middle of a batch, the rest of which it may not call settled.
            self._consumer.close()
        if self._app.dead_letters:
            self._app.dead_letters.close()
        return self._stats()

    def _obey(self) -> bool:
        """Take orders in; whether to go on."""
        while not self._over:
            try:
                order = self._control.orders.get_nowait()
            except queue.Empty:
                break
            self._over = "stop" in order
            if "slow_s" in order:
                self._app.pace.set(order["slow_s"])
        return not self._over

    def _wait(self, seconds: float) -> bool:
        """Be busy for so long; False when the run is over before."""
        until_s = time.monotonic() + seconds
        while self._obey():
            self._tell_when_due()
            if self._flush_due():
                self._recorder.flush()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return True
            time.sleep(min(left_s, _LOOK_S))
        return False

    def _tell_when_due(self) -> None:
        if self._stats_due():
            self._control.tell(stats=self._stats())

    def _stats(self) -> Json:
        told = self._consumer.told() if isinstance(self._consumer, TellsItself) else {}
        return {**self._recorder.stats(), **self._app.told(), **told}


def read_back(work: Assignment, control: Control) -> Json:
    """Read all that the stream holds, when told to, and then what the dead-letter stream holds;
    consumers must reach the `highest` of the stream."""
    experiment = work.experiment
    stored = getattr(experiment.broker, "stored", None)
    control.tell(ready=True)
    if stored is None or "go" not in control.orders.get():
        return {}
    found, stopped = _read(work, control, "stored", experiment.stream)
    if experiment.load.consumers.dead_letter and not stopped:
        _, stopped = _read(work, control, "dead", dead_letter_stream(experiment.stream))
    if isinstance(experiment.broker, Replicas) and not stopped:
        read_replicas(work, experiment.broker, control)
    return found


def _read(
    work: Assignment,
    control: Control,
    table: str,
    stream: Any,  # noqa: ANN401 - the broker's own type
) -> tuple[Json, bool]:
    """What was found, and whether the order to stop came meanwhile."""
    recorder = Recorder(work.run, work.directory, work.client, table)
    ends, stats_due, stopped = [], _every(STATS_EVERY_S), False
    flush_due = _every(FLUSH_EVERY_S)
    stored: Callable[..., Iterator[Deliveries | PartitionEnd]] = work.experiment.broker.stored  # type: ignore[attr-defined]
    for found in stored(work.clients, stream, READ_BACK_WITHIN_S):
        if isinstance(found, PartitionEnd):
            ends.append([found.partition, found.first, found.end, found.read])
        else:
            recorder.add(found, -1)
        if flush_due():
            recorder.flush()
        if stats_due():
            control.tell(stats=recorder.stats())
        if stopped := control.stopped():
            break
    recorder.finish({ENDS: json.dumps(ends).encode()})
    return {**recorder.stats(), "ends": ends}, stopped
