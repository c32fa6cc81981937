"""spi.Client: a client of the load as faults take hold of it, whatever process it is by now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psutil

from chaos.errors import ClusterError
from chaos.load.strays import is_frozen
from chaos.load.workers import READY_WITHIN_S, Crew, Worker
from chaos.spi import Json, NodeState
from chaos.timing import wait_until

_ACTS_WITHIN_S = 5.0


class LoadClient:
    """One place in the load. A worker that was killed is followed by another one, with the next
    free number of its role: a producer's numbers must stay dense, and what the last moments of the
    one before came to is not known."""

    def __init__(self, worker: Worker, crew: Crew) -> None:
        self.name, self._worker, self._crew = worker.name, worker, crew
        self._gone: Worker | None = None
        self._zombie: Worker | None = None

    def state(self) -> NodeState:
        """See spi.Client."""
        return _state(self._worker)

    def zombie(self) -> NodeState | None:
        """See spi.Client."""
        return None if self._zombie is None else _state(self._zombie)

    def supplant(self) -> None:
        """See spi.Client."""
        if self.state() is NodeState.PAUSED:
            self._zombie = self._gone = self._worker
            self._crew.supplant(self._worker)
            self._worker = self._crew.replace(self._worker)
        self.start()

    def start(self) -> None:
        """See spi.Client. One that came up and is not connected yet is waited for."""
        if not self._worker.alive:
            self._gone, self._worker = self._worker, self._crew.replace(self._worker)
        worker = self._worker

        def connected() -> bool:
            if not worker.alive:
                raise ClusterError(f"{worker.name}: {worker.error or 'it ended'}")
            return worker.ready

        wait_until(connected, f"{worker.name} to connect", READY_WITHIN_S, every_s=0.02)
        if self._gone:
            self._crew.let_go(worker, self._gone)
            self._gone = None

    def kill(self) -> None:
        """See spi.Client."""
        self._worker.crash()

    def pause(self) -> None:
        """See spi.Client."""
        _signal(self._worker, psutil.Process.suspend)
        what = f"{self._worker.name} to be frozen"
        wait_until(lambda: self.state() is NodeState.PAUSED, what, _ACTS_WITHIN_S, every_s=0.01)

    def resume(self) -> None:
        """See spi.Client."""
        for worker in filter(None, (self._zombie, self._worker)):
            if _state(worker) is NodeState.PAUSED:
                _signal(worker, psutil.Process.resume)
                _await_awake(worker)

    def order(self, **what: Any) -> None:  # noqa: ANN401 - whatever JSON can say
        """See spi.Client."""
        self._worker.tell(**what)

    def told(self) -> Json:
        """See spi.Client."""
        return self._worker.stats


def _state(worker: Worker) -> NodeState:
    if not worker.alive:
        return NodeState.DEAD
    try:
        if is_frozen(psutil.Process(worker.pid)):
            return NodeState.PAUSED
    except psutil.Error:
        return NodeState.DEAD
    return NodeState.RUNNING if worker.ready else NodeState.DEAD


def _await_awake(worker: Worker) -> None:
    what = f"{worker.name} to go on"
    wait_until(lambda: _state(worker) is not NodeState.PAUSED, what, _ACTS_WITHIN_S, every_s=0.01)


def _signal(worker: Worker, act: Callable[[psutil.Process], None]) -> None:
    if not worker.alive:
        raise ClusterError(f"{worker.name} is dead")
    try:
        act(psutil.Process(worker.pid))
    except psutil.Error as error:
        raise ClusterError(f"{worker.name}: {error}") from error


def clients_of(crew: Crew) -> Mapping[str, LoadClient]:
    """spi.Loaded.load: everybody who sends or receives now."""
    workers = (*crew.producers, *crew.consumers)
    return {worker.name: LoadClient(worker, crew) for worker in workers}
