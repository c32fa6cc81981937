"""Getting hold of a cluster that is ready: a kept one that was proved clean, or a new one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from chaos.attached import Attached
from chaos.clusters import Store, create, directories, find_kept, open_store, read_state
from chaos.errors import ChaosError, ClusterError, DeadlineExceeded, Unavailable, UsageError
from chaos.experiment import AUTO, Experiment, place_problems
from chaos.heal import clean_up, restore
from chaos.reaper import Reaper
from chaos.recorded import fields_of
from chaos.registry import load, names
from chaos.residue import Residue, being_made, prove_free, remove
from chaos.spi import Cluster, Json, NodeState, Runtime
from chaos.timing import Interrupted, wait_until

READY_WITHIN_S = 300.0  # RabbitMQ needs 10 s of two idle cores, and may get a tenth of them
_READY_AGAIN_WITHIN_S = 90.0
"""For a kept cluster, of which at most some nodes are started again: a new one is sooner there."""
_LOOK_S = 2.0
Tell = Callable[[str], None]


def choose_runtime(experiment: Experiment, wanted: str | None) -> str:
    """The runtime by name: the one asked for, or with `auto` the fullest one that works here.

    Raises Unavailable with what would help, UsageError when a fault cannot be done there.
    """
    name = wanted or experiment.runtime
    if name == AUTO:
        name = _first_that_works(experiment)
    runtime = load("runtimes", name)
    if problems := place_problems(experiment, name, runtime):
        raise UsageError(problems)
    if reasons := experiment.machine.on(runtime()).check(experiment.broker):
        raise Unavailable(f"runtime {name} cannot be used: " + "; ".join(reasons))
    return name


def _first_that_works(experiment: Experiment) -> str:
    """Meshed runtimes first, as they can do every fault."""
    usable: dict[str, type[Runtime]] = {}
    reasons = []
    for name in names("runtimes"):
        try:
            usable[name] = load("runtimes", name)
        except ChaosError as error:
            reasons.append(f"{name}: {error}")
    for name in sorted(usable, key=lambda name: (not usable[name].meshed, name)):
        try:
            why = experiment.machine.on(usable[name]()).check(experiment.broker)
        except Unavailable as error:
            why = [str(error)]
        if not why:
            return name
        reasons.append(f"{name}: {'; '.join(why)}")
    raise Unavailable("no runtime works here. " + ". ".join(reasons))


def sweep(tell: Tell) -> None:
    """Heal and remove what earlier runs left; kept clusters stay as they are.

    What cannot be cleaned up is told and left to `chaos heal`: it is no reason not to run.
    """
    for directory in directories():
        state = read_state(directory)
        if state and state.keep and state.ready:
            continue  # healed when it is reused; not even locked, as another run may want it now
        try:
            if state is None and not being_made(directory):
                remove(Residue(directory.name, ("its directory",), directory), tell)
            elif store := open_store(directory):
                clean_up(store, tell)
        except ChaosError as error:
            tell(f"cluster {directory.name} of an earlier run is not cleaned up: {error}")


class Provision:
    """A cluster for one run, with its lock, its reaper and its end."""

    def __init__(self, experiment: Experiment, runtime: str, keep: bool, tell: Tell) -> None:
        self._experiment, self._runtime, self._keep, self._tell = experiment, runtime, keep, tell
        self._reaper: Reaper | None = None
        self.store: Store | None = None
        self.reused = False

    def start(self, stop: threading.Event) -> Attached:
        """Reuse or start; it may not be ready yet. Raises ClusterError, Interrupted."""
        for note in self._experiment.notes():
            self._tell(f"note: {note}")
        broker = {"broker": self._experiment.broker_name, **fields_of(self._experiment.broker)}
        cluster = self._reuse(broker, stop)
        if cluster is None:
            self.store = create(self._runtime, broker, self._keep, self._experiment.machine)
            self._reaper = Reaper(self.store.directory)
            cluster = self._start(self.store, stop)
        return cluster

    def _start(self, store: Store, stop: threading.Event) -> Attached:
        """Start a cluster; images or jars may have to be fetched, which must not hold up a stop."""
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(store.start)
            while not starting.done():
                if stop.wait(0.05):
                    # Takes away what is being started, so the start ends too, in whatever error.
                    store.runtime().remove(store.state.id, store.directory / "runtime")
                    wait([starting])
                    raise Interrupted("the cluster to start")
            return starting.result()

    def _reuse(self, broker: Json, stop: threading.Event) -> Attached | None:
        store = find_kept(self._runtime, broker, self._experiment.machine)
        if store is None:
            return None
        self.store, self._reaper = store, Reaper(store.directory)
        try:
            restore(store, self._tell)
            cluster = store.attach()
            self.await_ready(cluster, stop, _READY_AGAIN_WITHIN_S)
            self._experiment.broker.reset(cluster.clients, READY_WITHIN_S)
            prove_free(cluster, store.runtime())
        except ChaosError as error:
            self._tell(f"kept cluster {store.state.id} is not clean, starting anew: {error}")
            store.remove()
            self._reaper.dismiss()
            self.store = self._reaper = None
            return None
        self._tell(f"reusing kept cluster {store.state.id}, proved clean")
        self.reused = True
        return cluster

    def await_ready(
        self, cluster: Cluster, stop: threading.Event, within_s: float | None = None
    ) -> None:
        """Wait until the broker says that nothing is missing (READY_WITHIN_S unless said
        otherwise). Raises ClusterError with the last log lines of whoever is to blame."""
        missing = "nothing was seen yet"

        def ready() -> bool:
            nonlocal missing
            if dead := [n.name for n in cluster.nodes.values() if n.state() is NodeState.DEAD]:
                raise ClusterError(f"ended while starting: {', '.join(dead)}{_logs(cluster, dead)}")
            missing = self._experiment.broker.ready(cluster.clients, _LOOK_S)
            return not missing

        try:
            wait_until(ready, "cluster to be ready", within_s or READY_WITHIN_S, stop=stop)
        except DeadlineExceeded as error:
            logs = _logs(cluster, list(cluster.nodes))
            raise ClusterError(f"{error}: {missing}{logs}") from error

    def guard(self) -> None:
        """Have a reaper in place: somebody may have killed the last one."""
        if self.store and self._reaper and not self._reaper.alive:
            self._tell(f"the reaper (process {self._reaper.pid}) is gone; starting another one")
            self._reaper = Reaper(self.store.directory)

    def mark_ready(self) -> None:
        """From now on it may be kept."""
        if self.store:
            self.store.update(ready=True, keep=self.store.state.keep or self._keep)

    def end(self) -> None:
        """Remove it, or leave it healed when it is to be kept. Raises HealError, ClusterError."""
        try:
            if self.store:
                clean_up(self.store, self._tell)
        finally:
            if self._reaper:
                self._reaper.dismiss()
            self.store = self._reaper = None


def _logs(cluster: Cluster, names: list[str]) -> str:
    parts = []
    for name in names:
        lines = "\n    ".join(cluster.nodes[name].log_tail(12))
        parts.append(f"\n  last lines of {name}:\n    {lines}")
    return "".join(parts)
