"""What faults on clients of the load have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from chaos.errors import DeadlineExceeded, FaultError
from chaos.spi import Client, Cluster, Effect, Injection, Loaded, NodeState, Presence, Rig
from chaos.timing import wait_until

FIRST_DELIVERY_S = 5.0
"""How long a fault waits for a consumer to be at work. On a busy machine one that joined its group
in good time may have had its first messages only then."""


def running(rig: Rig, target: str, act: str) -> tuple[str, ...]:
    """The names of the clients that a target means, all of which run and have had something to do.
    Raises FaultError."""
    names = rig.resolve_clients(target)
    if not isinstance(rig.cluster, Loaded):
        raise FaultError("there is no load, so no client to act on")
    for name in names:
        if (state := rig.cluster.load[name].state()) is not NodeState.RUNNING:
            raise FaultError(f"cannot {act} {name}: it is {state} already")
    for name in names:
        try:
            wait_until(partial(_at_work, rig.cluster.load[name]), "a delivery", FIRST_DELIVERY_S)
        except DeadlineExceeded:
            raise FaultError(
                f"cannot {act} {name} to any effect: it has received nothing so far"
            ) from None
    return names


def _at_work(client: Client) -> bool:
    """A producer always is."""
    return client.told().get("received") != 0


def targets(cluster: Cluster, injection: Injection) -> Sequence[Client]:
    """The clients that a fault acts on.

    None in a process that heals what a dead tool left: the load died with the tool (frozen workers
    are let go before any fault is healed), so nothing of the fault is left either.
    """
    if not isinstance(cluster, Loaded):
        return ()
    return [cluster.load[name] for name in injection.nodes]


def may_hit_consumers(target: str) -> bool:
    """As far as its words tell, before there are clients."""
    return not target.strip().startswith("producer")


def share(clients: Sequence[Client], state: NodeState) -> Effect:
    """The effect that is there for the clients in this state."""
    states = {client.name: client.state() for client in clients}
    hit = sum(found is state for found in states.values())
    if states and hit == len(states):
        return Effect(Presence.FULL, dict(states))
    return Effect(Presence.PARTIAL if hit else Presence.NONE, dict(states))


def at_once(act: Callable[[Client], None], clients: Sequence[Client]) -> None:
    """Do it to all of them at the same time: a new process takes seconds to come up. All are tried,
    whatever becomes of the others. Raises what the first of them raised."""
    with ThreadPoolExecutor(max(1, len(clients))) as pool:
        acts = [pool.submit(act, client) for client in clients]
    for done in acts:
        done.result()
