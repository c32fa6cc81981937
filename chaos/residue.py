"""What runs left on this machine, whoever's CHAOS_HOME they were of, and taking it away.

Everything of ours carries the id of its cluster. From there:

    no directory is known by its marks        told, never touched: nobody can say who uses it
    its lock is held, or not ours to take     in use, so no residue
    its directory is gone                     removed
    no readable state.json                    removed, unless it was made in this minute
    kept, and free of faults                  no residue
    kept                                      healed; removed if that does not free it
    else                                      healed and removed

Runtimes contribute what carries their marks (`Runtime.leftovers`) and what faults did to it
(`spi.Traced`); the load contributes workers whose tool is dead.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos import clusters, registry
from chaos.clusters import Store
from chaos.errors import ChaosError, ClusterError
from chaos.heal import clean_up, restore
from chaos.load.strays import frozen, orphans, put_down
from chaos.spi import (
    Clocked,
    Cluster,
    Disk,
    Disked,
    Lossy,
    Memoried,
    Meshed,
    NodeState,
    Runtime,
    Traced,
)
from chaos.undo import UndoLog

BEING_MADE_S = 60.0
"""A directory without a state that is younger than this may be a cluster in the making."""
_CLOCK_OFF_S = 0.5
LOAD = "load"
"""Stands in the place of a cluster's id for workers of the load."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Residue:
    """What is left of one cluster. `untouchable` says why nobody takes it away; empty: it can
    be."""

    cluster: str
    things: tuple[str, ...]
    directory: Path | None = None
    untouchable: str = ""


def scan(tell: Tell = lambda line: None) -> list[Residue]:
    """All of it; what cannot be seen is told. Raises ClusterError."""
    marked, places = leftovers(tell), dict[str, Path]()
    for runtime in runtimes():
        if isinstance(runtime, Traced):
            places |= runtime.directories()
    places |= {directory.name: directory for directory in clusters.directories()}
    found = [
        _of_cluster(identity, places.get(identity), marked.get(identity, ()))
        for identity in sorted({*marked, *places})
    ]
    workers = tuple(f"worker of a dead tool: {each}" for each in orphans())
    return [each for each in [*found, Residue(LOAD, workers)] if each and each.things]


def runtimes(tell: Tell = lambda line: None) -> Iterator[Runtime]:
    """Every runtime that can be loaded; what the others left cannot be seen, which is told."""
    for name in registry.names("runtimes"):
        try:
            yield registry.load("runtimes", name)()
        except ChaosError as error:
            tell(str(error))


def _of_cluster(identity: str, directory: Path | None, marked: Sequence[str]) -> Residue | None:
    if directory is None:
        why = "its marks do not tell its directory on this machine, so a run may use it"
        return Residue(identity, tuple(marked), None, why)
    if not directory.is_dir():
        return Residue(identity, tuple(marked), directory)
    if _unlocked(directory):
        return Residue(identity, tuple(_stateless(directory, marked)), directory)
    lock = clusters.lock(directory)
    if lock is None:
        return None
    try:
        return Residue(identity, tuple(_things(directory, marked)), directory)
    finally:
        clusters.unlock(lock)


def _things(directory: Path, marked: Sequence[str]) -> Iterator[str]:
    """What of a cluster that nobody uses should not be there."""
    state = clusters.read_state(directory)
    if state is None:
        yield from _stateless(directory, marked)
        return
    store = Store(directory, state, None)
    yield from _faults(store)
    if not (state.keep and state.ready):
        yield f"directory {directory}"
        yield from marked


def _unlocked(directory: Path) -> bool:
    """Whether it never had a lock, which is the first thing that its maker makes: to look for one
    would make it, and the directory look new."""
    return not (directory / "lock").exists()


def _stateless(directory: Path, marked: Sequence[str]) -> Iterator[str]:
    if not being_made(directory):
        yield f"directory {directory} without a state that can be read"
        yield from marked


def being_made(directory: Path) -> bool:
    """Whether a cluster without a state may be about to get one."""
    try:
        return time.time() - directory.stat().st_mtime <= BEING_MADE_S
    except OSError:
        return True  # it was removed just now


def _faults(store: Store) -> Iterator[str]:
    """What is on record as not undone, and what a healed cluster would not have."""
    try:
        for entry in UndoLog(store.undo_path).pending():
            yield f"not healed: {entry.fault} on {', '.join(entry.nodes)}"
        for client in frozen(store.directory):
            yield f"frozen {client}"
        yield from marks_of_faults(store.attach(), store.runtime())
    except ChaosError as error:
        if store.state.keep and store.state.ready:
            yield f"cannot be looked at: {error}"


def marks_of_faults(cluster: Cluster, runtime: Runtime) -> Iterator[str]:
    """What is on a cluster that no fault is on, as nodes, links, rules, disks and clocks themselves
    tell it, whatever is on record. Raises ClusterError."""
    states = {name: node.state() for name, node in cluster.nodes.items()}
    running = [name for name, state in states.items() if state is NodeState.RUNNING]
    yield from (f"{name} is {states[name]}" for name in states if name not in running)
    if isinstance(cluster, Meshed):
        yield from _on_links(cluster)
    if isinstance(cluster, Lossy):
        for name, ways in sorted(cluster.packets.losses().items()):
            yield f"packet rules {name} on {len(ways)} ways"
    if isinstance(cluster, Disked):
        for owner, disk in cluster.disks.items():
            yield from (f"{what} on the disk of {owner}" for what in _on_disk(disk))
    yield from _in_running(cluster, running)
    if isinstance(runtime, Traced):
        yield from runtime.traces(cluster.id)


def prove_free(cluster: Cluster, runtime: Runtime) -> None:
    """Raises ClusterError when some fault left its marks on a cluster."""
    if left := list(marks_of_faults(cluster, runtime)):
        raise ClusterError(f"some fault left {'; '.join(left)}")


def _on_links(cluster: Meshed) -> Iterator[str]:
    for (source, target), link in cluster.links.items():
        for name in sorted(link.imposed()):
            yield f"toxic {name} on {source} -> {target}"


def _in_running(cluster: Cluster, nodes: Sequence[str]) -> Iterator[str]:
    """A limit of memory goes with a process, and a clock is told by one. All nodes at once: Docker
    takes a second to tell the memory of one."""

    def told(name: str) -> Iterator[str]:
        if isinstance(cluster, Memoried) and (limit := cluster.memories.limit(name)):
            yield f"{name} may have only {limit} bytes of memory"
        if isinstance(cluster, Clocked) and abs(off := cluster.clocks.read(name)) > _CLOCK_OFF_S:
            yield f"the clock of {name} is off by {off:+.1f} s"

    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        for found in pool.map(lambda name: list(told(name)), nodes):
            yield from found


def _on_disk(disk: Disk) -> Iterator[str]:
    for rate in sorted(disk.limits()):
        yield f"limit {rate}"
    for name in disk.leftovers():
        yield f"our file {name}"


def remove(residue: Residue, tell: Tell) -> None:
    """Take it away; what is used again by now is left alone, and what cannot be touched too. Raises
    ClusterError or HealError with what stays."""
    if residue.cluster == LOAD:
        for worker in put_down():
            tell(f"ended {worker}")
    elif residue.directory is not None and not residue.untouchable:
        _remove(residue.cluster, residue.directory, tell)


def _remove(identity: str, directory: Path, tell: Tell) -> None:
    if not directory.is_dir() or (_unlocked(directory) and not being_made(directory)):
        wipe(identity, directory, tell)
        return
    lock = clusters.lock(directory)
    if lock is None:
        tell(f"cluster {identity} is used by now; it is left alone")
        return
    state = clusters.read_state(directory)
    if state is None:
        try:
            wipe(identity, directory, tell)
        finally:
            clusters.unlock(lock)
        return
    store = Store(directory, state, lock)
    if state.keep and state.ready:
        _free(store, tell)
    else:
        clean_up(store, tell)


def _free(store: Store, tell: Tell) -> None:
    """Heal a kept cluster; it goes if that leaves it with something that no undo log explains."""
    try:
        restore(store, tell)
        if left := list(_faults(store)):
            tell(f"cluster {store.state.id} is not free of {'; '.join(left)}")
            store.remove()
            tell(f"removed cluster {store.state.id}")
    finally:
        store.release()


def wipe(identity: str, directory: Path, tell: Tell) -> None:
    """Remove a cluster that has no state: nothing but marks tells what belongs to it."""
    for runtime in runtimes():
        if identity in runtime.leftovers():
            runtime.remove(identity, directory / "runtime")
    shutil.rmtree(directory, ignore_errors=True)
    tell(f"removed cluster {identity}")


def leftovers(tell: Tell = lambda line: None) -> Mapping[str, Sequence[str]]:
    """What carries our mark, of all runtimes, by the cluster's id."""
    marked: dict[str, list[str]] = {}
    for runtime in runtimes(tell):
        for identity, things in runtime.leftovers().items():
            marked.setdefault(identity, []).extend(things)
    return marked
