"""Undoing what a run left behind: for the reaper, `chaos heal`, and a cluster that is reused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from chaos import guard
from chaos.clusters import Store
from chaos.errors import ChaosError, HealError
from chaos.spi import Cluster, NodeState
from chaos.undo import Entry, UndoLog

Tell = Callable[[str], None]


def heal_cluster(store: Store, tell: Tell = lambda line: None) -> int:
    """Undo every pending fault of a cluster, latest first; how many there were.

    One may need that another is healed before (replicas move back to a node that runs), so all are
    tried in turn until the deadline. Raises HealError with all that are left then.
    """
    log = UndoLog(store.undo_path)
    pending = log.pending()
    if not pending:
        return 0
    cluster, deadline = store.attach(), time.monotonic() + guard.HEAL_WITHIN_S
    left, pause_s = pending, 0.05
    while problems := _try_all(cluster, log, left, tell):
        if time.monotonic() > deadline:
            raise HealError("\n".join(problems))
        left = log.pending()
        threading.Event().wait(pause_s)
        pause_s = min(2 * pause_s, 2.0)
    return len(pending)


def _try_all(cluster: Cluster, log: UndoLog, pending: Sequence[Entry], tell: Tell) -> list[str]:
    """One try for each; why some are left."""
    problems = []
    for position, entry in enumerate(pending):
        try:
            held = {name for other in pending[position + 1 :] for name in _held(other)}
            guard.try_heal(cluster, entry, entry.build(), held)
            log.done(entry.undo)
            tell(f"healed {entry.fault} on {', '.join(entry.nodes)}")
        except ChaosError as error:
            problems.append(str(error))
    return problems


def _held(entry: Entry) -> Sequence[str]:
    return entry.nodes if guard.holds_nodes(entry.build()) else ()


def restore(store: Store, tell: Tell = lambda line: None) -> None:
    """Heal, and have every node of a kept cluster running. Raises HealError or ClusterError."""
    heal_cluster(store, tell)
    for node in store.attach().nodes.values():
        node.resume()
        if node.state() is NodeState.DEAD:
            node.start()
            tell(f"started {node.name}")


def clean_up(store: Store, tell: Tell = lambda line: None) -> None:
    """Heal what is to be kept, remove what is not; always gives up the lock.

    A cluster that is to be removed needs no healing of its own nodes, but what faults did outside
    them (packet rules, throttles) must go too, so it is healed all the same, as far as it goes.
    """
    try:
        if store.state.keep and store.state.ready:
            restore(store, tell)
            return
        try:
            heal_cluster(store, tell)
        except ChaosError as error:
            tell(f"not healed, but removed with its cluster: {error}")
        store.remove()
        tell(f"removed cluster {store.state.id}")
    finally:
        store.release()
