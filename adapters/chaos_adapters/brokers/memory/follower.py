"""Copies a partition from the node that leads it: a thread of the node that follows.

It pulls with the request that clients read with, from where its copy ends, and starts over with
nothing when its node was started again; so a copy lags a little and catches up, as replicas do.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from chaos_adapters.brokers.memory.wire import Frames, Head, pack, split

AGAIN_S = 0.05
_SILENT_S = 1.0
_MOST = 1000
_READ_SIZE = 1 << 20


class Follower(threading.Thread):
    """Appends to `copy`, which nobody else changes, until `wanted` says no more."""

    def __init__(
        self,
        leader: tuple[str, int],
        stream: str,
        partition: int,
        copy: list[bytes],
        change: Callable[[int, bytes], bytes],
        wanted: Callable[[], bool],
    ) -> None:
        """`change` is given the number (from 1) and the body of each message to be copied."""
        super().__init__(daemon=True)
        self._leader, self._copy, self._change, self._wanted = leader, copy, change, wanted
        self._request: Head = {
            "op": "read", "id": 1, "stream": stream, "partition": partition, "most": _MOST,
        }  # fmt: skip

    def run(self) -> None:
        """Pull; after trouble of any kind with the connection, make a new one."""
        while self._wanted():
            try:
                with socket.create_connection(self._leader, _SILENT_S) as connection:
                    self._pull(connection)
            except (OSError, ValueError):
                time.sleep(AGAIN_S)

    def _pull(self, connection: socket.socket) -> None:
        frames = Frames()
        while self._wanted():
            connection.sendall(pack({**self._request, "from": len(self._copy)}))
            answers: list[tuple[Head, bytes]] = []
            while not answers:
                data = connection.recv(_READ_SIZE)
                if not data:
                    raise ConnectionError("closed by the leader")
                answers = list(frames.feed(data))
            for head, blob in answers:
                bodies = split(blob, head.get("lengths", []))
                first = len(self._copy) + 1
                self._copy += [self._change(first + at, body) for at, body in enumerate(bodies)]
                if not bodies:
                    time.sleep(AGAIN_S)
