"""Undoing what a run left behind: for the reaper, `chaos heal`, and a cluster that is reused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chaos import guard
from chaos.clusters import Store
from chaos.errors import ChaosError, HealError, attempt_all
from chaos.load.strays import release
from chaos.spi import Cluster, Fault, Node, NodeState, Revives, holds_down
from chaos.undo import Entry, UndoLog

Tell = Callable[[str], None]


def heal_cluster(
    store: Store, tell: Tell = lambda line: None, within_s: float | None = None
) -> int:
    """Undo every pending fault of a cluster, latest first; how many there were.

    One may need that another is healed before (replicas move back to a node that runs), so all are
    tried in turn for `within_s` (guard.HEAL_WITHIN_S). Raises HealError with all that are left.
    Frozen workers of the load are let go first, as that needs no cluster.
    """
    for client in release(store.directory):
        tell(f"let {client} go on")
    log = UndoLog(store.undo_path)
    pending = log.pending()
    if not pending:
        return 0
    faults, hopeless = _built(pending)
    problems: list[str] = []
    for _ in guard.tries(within_s):
        problems = _try_all(store, log, faults, tell)
        if not problems:
            break
    if problems or hopeless:
        raise HealError("\n".join(problems + hopeless))
    return len(pending)


def _built(pending: Sequence[Entry]) -> tuple[dict[str, Fault], list[str]]:
    """By their ids; and why some cannot be built, which no further try would change."""
    faults, hopeless = {}, []
    for entry in pending:
        try:
            faults[entry.undo] = entry.build()
        except ChaosError as error:
            hopeless.append(str(error))
    return faults, hopeless


def _try_all(store: Store, log: UndoLog, faults: Mapping[str, Fault], tell: Tell) -> list[str]:
    """One try for each that is pending; why some are left."""
    pending, problems = log.pending(), []
    try:
        cluster = _revived(store, tell)
    except ChaosError as error:  # a daemon that is being restarted, maybe
        return [str(error)]
    for position, entry in enumerate(pending):
        fault = faults.get(entry.undo)
        if fault is None:
            continue
        held = {name for other in pending[position + 1 :] for name in _held(other, faults)}
        try:
            guard.try_heal(cluster, entry, fault, held)
            log.done(entry.undo)
            tell(f"healed {entry.fault} on {', '.join(entry.nodes)}")
        except ChaosError as error:
            problems.append(str(error))
    return problems


def _revived(store: Store, tell: Tell) -> Cluster:
    """The cluster, in which everything beside the nodes runs. Raises ClusterError."""
    runtime = store.runtime()
    if isinstance(runtime, Revives):
        for what in runtime.revive(store.state.id):
            tell(f"started {what}")
    return store.attach()


def _held(entry: Entry, faults: Mapping[str, Fault]) -> Sequence[str]:
    fault = faults.get(entry.undo)
    return entry.nodes if fault is None or holds_down(fault.claims) else ()


def restore(store: Store, tell: Tell = lambda line: None, within_s: float | None = None) -> None:
    """Heal, and have every node of a kept cluster running. Raises HealError or ClusterError."""
    heal_cluster(store, tell, within_s)

    def have_running(node: Node) -> None:
        node.resume()
        if node.state() is NodeState.DEAD:
            node.start()
            tell(f"started {node.name}")

    attempt_all(have_running, _revived(store, tell).nodes.values())


def clean_up(store: Store, tell: Tell = lambda line: None, within_s: float | None = None) -> None:
    """Heal what is to be kept, remove what is not; always gives up the lock.

    A cluster that is to be removed needs no healing of its own nodes, but what faults did outside
    them (packet rules, throttles) must go too, so it is healed all the same, as far as it goes.
    """
    try:
        if store.state.keep and store.state.ready:
            restore(store, tell, within_s)
            return
        try:
            heal_cluster(store, tell, within_s)
        except ChaosError as error:
            tell(f"not healed, but removed with its cluster: {error}")
        store.remove()
        tell(f"removed cluster {store.state.id}")
    finally:
        store.release()
