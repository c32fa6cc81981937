"""`chaos up`, `chaos down`, `chaos heal`: clusters by hand, and whatever a crash left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import typer

from chaos import clusters, reaper, residue
from chaos.cli.codes import worst
from chaos.cli.paths import find_experiment
from chaos.cli.stopping import supervised
from chaos.clusters import Store
from chaos.errors import ChaosError, HealError, Problem, UsageError
from chaos.experiment import Experiment, load_experiment
from chaos.heal import clean_up, heal_cluster
from chaos.run.engine import INTERRUPTED
from chaos.run.provision import Provision, choose_runtime, sweep
from chaos.timing import Interrupted
from chaos.ui.screen import Screen, complain
from chaos.ui.text import listed
from chaos.wording import unknown


def up(file: str, runtime: str | None, overrides: Sequence[str]) -> None:
    """Start the cluster of an experiment and leave it running."""
    experiment = load_experiment(find_experiment(file), overrides)
    place = choose_runtime(experiment, runtime)
    screen = Screen()
    code = supervised(
        lambda stop: _up(experiment, place, screen, stop),
        screen.say,
        "stopping: removing what was started",
    )
    raise typer.Exit(code)


def _up(experiment: Experiment, runtime: str, screen: Screen, stop: threading.Event) -> int:
    sweep(screen.say)
    provision = Provision(experiment, runtime, keep=True, tell=screen.say)
    try:
        screen.say(f"starting the cluster of {experiment.name} on the {runtime} runtime")
        cluster = provision.start(stop)
        provision.await_ready(cluster, stop)
        if stop.is_set():
            raise Interrupted("the cluster")
        provision.mark_ready()
    except Interrupted:
        return INTERRUPTED
    finally:
        provision.end()
    screen.say(f"cluster {cluster.id} is up:")
    for name, address in cluster.clients.items():
        screen.say(f"  {name}  {address}")
    screen.say(f"take it down with: chaos down {cluster.id}")
    return 0


def down(ids: Sequence[str]) -> None:
    """Remove these clusters; without an ID all of this user's, and tell about others."""
    everywhere = _Machine()
    wanted = everywhere.chosen(ids, with_strangers=True)
    for identity in wanted:
        everywhere.attempt(identity, _remove)
    if not ids:
        for identity, things in everywhere.strangers.items():
            _say(
                f"cluster {identity} is not in {clusters.home()}: {listed(things, 3)}\n"
                f"  if nobody else on this machine uses it: chaos down {identity}"
            )
    if not wanted:
        _say("no clusters of yours")
    raise typer.Exit(everywhere.code)


def _remove(store: Store) -> None:
    store.update(keep=False)
    clean_up(store, _say)


def heal(ids: Sequence[str]) -> None:
    """Heal these clusters; without an ID all of this user's."""
    everywhere = _Machine()
    healed: list[int] = []
    for identity in everywhere.chosen(ids, with_strangers=False):
        everywhere.attempt(identity, lambda store: healed.append(_heal(store)))
    if not sum(healed) and not everywhere.code:
        _say("nothing to heal")
    raise typer.Exit(HealError.exit_code if everywhere.code else 0)


def _heal(store: Store) -> int:
    try:
        return heal_cluster(store, lambda line: _say(f"cluster {store.state.id}: {line}"))
    finally:
        store.release()


def _after_reaper(directory: Path) -> Store | None:
    """The cluster, when the reaper of a dead run is done with it; None where no reaper has it, or
    where it removed it."""
    pid = clusters.holder(directory)
    if pid is None or not reaper.is_one(pid):
        return None
    _say(f"cluster {directory.name}: the reaper of a dead run heals it; waiting for it")
    return clusters.open_store(directory, reaper.HEAL_WITHIN_S)


def _say(text: str) -> None:
    Screen().say(text)


class _Machine:
    """All clusters that can be seen from here, and the worst that happened to a command so far."""

    def __init__(self) -> None:
        self.code = 0
        self._known = {directory.name: directory for directory in clusters.directories()}

    @cached_property
    def strangers(self) -> Mapping[str, Sequence[str]]:
        """What carries our mark but has no state here, by the cluster's ID."""
        here = {directory.name for directory in clusters.directories()}
        marked = residue.leftovers(complain)
        return {identity: things for identity, things in marked.items() if identity not in here}

    def chosen(self, ids: Sequence[str], with_strangers: bool) -> list[str]:
        """The clusters that are meant. Raises UsageError with every ID that is none."""
        known = [*self._known, *(self.strangers if with_strangers else ())]
        problems = [
            Problem("", unknown("cluster", identity, known, "clusters"))
            for identity in ids
            if identity not in known
        ]
        if problems:
            raise UsageError(problems)
        return list(dict.fromkeys(ids)) or list(self._known)

    def attempt(self, identity: str, act: Callable[[Store], object]) -> None:
        """Do something to a cluster, unless a run uses it; what goes wrong is told."""
        try:
            if directory := self._known.get(identity):
                self._to_known(directory, act)
            else:
                residue.wipe(identity, clusters.home() / "clusters" / identity, _say)
        except ChaosError as error:
            complain(f"cluster {identity}: {error}")
            self.code = worst([self.code, error.exit_code])

    def _to_known(self, directory: Path, act: Callable[[Store], object]) -> None:
        if clusters.read_state(directory) is None:
            if not residue.being_made(directory):
                residue.wipe(directory.name, directory, _say)
        elif store := clusters.open_store(directory) or _after_reaper(directory):
            act(store)
        elif directory.is_dir():
            _say(f"cluster {directory.name} is used by a run now; it is left alone")
