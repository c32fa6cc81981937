"""Nodes that answer as RabbitMQ's management API does, with what a test wants of them.

Formats: "RabbitMQ Management HTTP API", and what 3.13's `rabbit_mgmt_wm_nodes`,
`rabbit_amqqueue_process:format` (`slave_nodes`, `synchronised_slave_nodes`) and the like of quorum
queues and streams (`leader`, `members`, `online`) add with `disable_stats`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq.stream import Kind
from chaos_adapters.brokers.rabbitmq.topology import MANAGEMENT

NAMES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")


class Node:
    """One node's API."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: dict[str, Any] = {}
        """By path below /api/, without its query; what can be called, is; 404 is what is not here,
        and an int is a status."""
        self.asked: list[str] = []
        """Paths below /api/ with their queries."""
        self.made: dict[str, Any] = {}
        """What was put, by path."""
        self.deleted: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.node = self
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> Address:
        """As clients know it."""
        return Address("127.0.0.1", 1, ((MANAGEMENT, self._server.server_port),))

    def stop(self) -> None:
        """It listens no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    node: Node


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        node, path = self.server.node, self.path.removeprefix("/api/")
        node.asked.append(path)
        found = node.answers.get(path.partition("?")[0], 404)
        found = found() if callable(found) else found
        self._answer(*((found, None) if isinstance(found, int) else (200, found)))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.node.made[self.path.removeprefix("/api/")] = json.loads(body)
        self._answer(201, None)

    def do_DELETE(self) -> None:
        self.server.node.deleted.append(self.path.removeprefix("/api/"))
        self._answer(204, None)

    def _answer(self, status: int, found: Any) -> None:
        if b64decode(self.headers["Authorization"].removeprefix("Basic ")) != b"guest:guest":
            status, found = 401, None
        data = b"" if found is None else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def nodes() -> Iterator[list[Node]]:
    """Three of them, of which all run and none has queues."""
    three = [Node(name) for name in NAMES]
    for node in three:
        node.answers |= {"nodes": running(), "queues/%2F": [], "policies/%2F": []}
    try:
        yield three
    finally:
        for node in three:
            node.stop()


def running(names: Sequence[str] = NAMES, **more: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer to `nodes`: those run, the others of the three are known and do not. `more` is by
    number, as `n1`."""
    up = {"partitions": [], "mem_alarm": False, "disk_free_alarm": False}
    return [
        {"name": f"rabbit@{name}", "type": "disc", "running": name in names,
         **(up if name in names else {}), **more.get(f"n{number}", {})}
        for number, name in enumerate(NAMES, 1)
    ]  # fmt: skip


def queue(
    kind: Kind, number: int, leader: str, others: Sequence[str] = (), behind: Sequence[str] = ()
) -> dict[str, Any]:
    """One of the answer to `queues`: `others` have copies too, of whom those `behind` lack some
    messages, or are not there."""
    copies = sorted(f"rabbit@{name}" for name in {leader, *others})
    late = {f"rabbit@{name}" for name in behind}
    whole = [name for name in copies if name not in late]
    led, classic = f"rabbit@{leader}", kind in (Kind.CLASSIC, Kind.MIRRORED)
    told: dict[str, Any] = {
        "arguments": {}, "auto_delete": False, "durable": True, "exclusive": False, "node": led,
        "name": f"chaos.{number}", "state": "running", "vhost": "/",
        "type": "classic" if classic else str(kind),
    }  # fmt: skip
    if kind is Kind.MIRRORED:
        told["slave_nodes"] = [name for name in copies if name != led]
        told["synchronised_slave_nodes"] = [name for name in whole if name != led]
    if not classic:
        told |= {"leader": led, "members": copies, "online": whole}
    return told
