"""Undoing what a run left behind: for the reaper, `chaos heal`, and a cluster that is reused."""

from __future__ import annotations

from collections.abc import Callable

from chaos.clusters import Store
from chaos.errors import ChaosError, HealError
from chaos.guard import heal_entry
from chaos.load.strays import release
from chaos.spi import NodeState
from chaos.undo import UndoLog

Tell = Callable[[str], None]


def heal_cluster(store: Store, tell: Tell = lambda line: None) -> int:
    """Undo every pending fault of a cluster, latest first; how many there were.

    Goes on after a failure with the rest, then raises HealError with all of them. Frozen workers of
    the load are let go first, as that needs no cluster.
    """
    for client in release(store.directory):
        tell(f"let {client} go on")
    log = UndoLog(store.undo_path)
    pending = log.pending()
    if not pending:
        return 0
    cluster, problems = store.attach(), []
    for position, entry in enumerate(pending):
        held = {name for other in pending[position + 1 :] for name in other.nodes}
        try:
            heal_entry(cluster, entry, entry.build(), held)
            log.done(entry.undo)
            tell(f"healed {entry.fault} on {', '.join(entry.nodes)}")
        except ChaosError as error:
            problems.append(str(error))
    if problems:
        raise HealError("\n".join(problems))
    return len(pending)


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
