"""The observer: which nodes answer, and so which partitions have a leader."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from chaos.errors import DeadlineExceeded
from chaos.spi import Address, View
from chaos_adapters.brokers.memory.client import GREETING, LOST, Connection, exchange
from chaos_adapters.brokers.memory.wire import pack

PING = pack({"op": "ping", "id": GREETING})


class MemoryObserver:
    """Keeps one connection to each node. One that is silent for `patience_s` counts as down.

    It is waited for only once, so that looking stays cheap while it is down.
    """

    def __init__(
        self,
        clients: Mapping[str, Address],
        owners: Sequence[str],
        patience_s: float,
        followers: Sequence[Sequence[str]] = (),
    ) -> None:
        """`owners` and `followers` are by partition."""
        self._followers = followers or [()] * len(owners)
        self._connections = {node: Connection(clients[node], {"op": "ping"}) for node in clients}
        self._names = {connection: node for node, connection in self._connections.items()}
        self._owners, self._patience_s = owners, patience_s
        self._asked: dict[Connection, float] = {}

    def observe(self, timeout_s: float) -> View:
        """One look. Raises DeadlineExceeded when no node answers in time."""
        start = now = time.monotonic()
        heard: set[str] = set()
        self._ask(now)
        while True:
            for connection, head, _ in exchange(list(self._names), self._wait_s(now, heard)):
                self._asked.pop(connection, None)
                if head is not LOST:
                    heard.add(self._names[connection])
            now = time.monotonic()
            self._note_greetings()
            if now >= start + timeout_s or self._wait_s(now, heard) <= 0:
                break
        if not heard:
            raise DeadlineExceeded("an answer of any node", timeout_s)
        return self._view(heard)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._names:
            connection.close()

    def _ask(self, now: float) -> None:
        for connection in self._names:
            if connection.up and connection not in self._asked:
                connection.write(PING)
                self._asked[connection] = now

    def _note_greetings(self) -> None:
        for connection in self._names:
            if connection.open and not connection.up:
                self._asked.setdefault(connection, connection.tried_at)

    def _wait_s(self, now: float, heard: set[str]) -> float:
        """How long to wait at most for the nodes whose patience is not used up."""
        left = [
            asked + self._patience_s - now
            for connection, asked in self._asked.items()
            if self._names[connection] not in heard
        ]
        return max([0.0, *left])

    def _view(self, heard: set[str]) -> View:
        partitions = dict(enumerate(self._owners))
        return View(
            controller=next(node for node in self._connections if node in heard),
            leaders={p: node if node in heard else None for p, node in partitions.items()},
            replicas={p: (node, *self._followers[p]) for p, node in partitions.items()},
            in_sync={
                p: tuple(each for each in (node, *self._followers[p]) if each in heard)
                for p, node in partitions.items()
            },
            alive=tuple(node for node in self._connections if node in heard),
        )
