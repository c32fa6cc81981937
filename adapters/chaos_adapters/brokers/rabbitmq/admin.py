"""Looking at and preparing a RabbitMQ cluster through its management API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote

import pika
from pika.exceptions import AMQPError, ChannelClosed

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Node
from chaos.timing import wait_until
from chaos_adapters.brokers.rabbitmq.api import VHOST, Api
from chaos_adapters.brokers.rabbitmq.stream import Queues
from chaos_adapters.brokers.rabbitmq.tales import told
from chaos_adapters.brokers.rabbitmq.topology import PASSWORD, USER, short_name
from chaos_adapters.brokers.rabbitmq.versions import hang, mismatch

_ASK_S = 10.0
_EVALUATE_S = 60.0
"""An Erlang machine is started for it."""


def missing(clients: Mapping[str, Address], timeout_s: float, version: str) -> str:
    """What the cluster still lacks: nodes that do not run, or do not know each other. Raises
    ClusterError when a node is not of `version`, which no waiting mends."""
    for name, address in clients.items():
        with closing(Api(name, address)) as api:
            try:
                nodes = api.listed("nodes?columns=name,running,partitions", timeout_s)
                running_version = (api.get("overview", timeout_s) or {}).get("rabbitmq_version", "")
            except ClusterError as error:
                hint = _known_hang([a for n, a in clients.items() if n != name], timeout_s)
                return f"{name} does not serve yet: {error}{hint and f' ({hint})'}"
        if what := mismatch(version, running_version):
            raise ClusterError(f"{name} {what}")
        running = {short_name(node["name"]) for node in nodes if node["running"]}
        if absent := sorted(set(clients) - running):
            return f"{name} does not see {', '.join(absent)}"
        if apart := [short_name(node["name"]) for node in nodes if node.get("partitions")]:
            return f"{', '.join(apart)} was parted from others, and has to be restarted"
    return ""


def _known_hang(others: Sequence[Address], timeout_s: float) -> str:
    """Whether the version of the others, says the first of them, is known to hang; empty: no, or it
    does not serve."""
    if not others:
        return ""
    with closing(Api("", others[0])) as api, suppress(ClusterError):
        overview = api.get("overview?columns=rabbitmq_version,erlang_version", timeout_s) or {}
        return hang(overview.get("rabbitmq_version", ""), overview.get("erlang_version", ""))
    return ""


def prepare(clients: Mapping[str, Address], stream: Queues, timeout_s: float) -> None:
    """Declare the queues, each through another node, which becomes its leader; then wait until all
    their members are there and in sync."""
    apis = [Api(name, address) for name, address in clients.items()]
    try:
        if stream.in_force:
            policy = {
                "pattern": f"^{re.escape(stream.name)}\\.", "apply-to": "queues",
                "definition": stream.in_force,
            }  # fmt: skip
            apis[0].put(f"policies/{VHOST}/{quote(stream.name, safe='')}", policy, _ASK_S)
        for number, queue in enumerate(stream.names):
            body = {"durable": stream.durable, "arguments": stream.declared(number)}
            apis[number % len(apis)].put(f"queues/{VHOST}/{quote(queue, safe='')}", body, _ASK_S)
        wait_until(
            lambda: all(_whole(api, clients, stream) for api in apis),
            f"all members of {stream.name} in sync", timeout_s, every_s=0.1,
        )  # fmt: skip
    finally:
        for api in apis:
            api.close()


def _whole(api: Api, clients: Mapping[str, Address], stream: Queues) -> bool:
    tale = told(api, stream, tuple(clients), _ASK_S)
    return len(tale.queues) == stream.queues and all(
        set(queue.members) <= set(queue.in_sync) and queue.leader in clients
        for queue in tale.queues.values()
    )


def reset(clients: Mapping[str, Address], timeout_s: float) -> None:
    """Delete all queues and policies; prove that none is left."""
    name, address = next(iter(clients.items()))
    with closing(Api(name, address)) as api:

        def clean() -> bool:
            found = 0
            for what in ("queues", "policies"):
                things = api.listed(f"{what}/{VHOST}?columns=name", _ASK_S)
                found += len(things)
                for thing in things:
                    api.delete(f"{what}/{VHOST}/{quote(thing['name'], safe='')}", _ASK_S)
            return not found

        wait_until(clean, "an empty cluster", timeout_s, every_s=0.2)


def counts(clients: Mapping[str, Address], streams: Sequence[str]) -> dict[int, int]:
    """How many messages each stream has, by its number: the most that a node says, as one that
    cannot ask the leader says 0, and one that led before may say what it had then
    (rabbit_stream_queue: stat). One that nobody serves is left out. The management API knows no
    totals of streams (3.10)."""
    found: dict[int, int] = {}
    for address in clients.values():
        for number, count in _counts(address, streams).items():
            found[number] = max(count, found.get(number, 0))
    return found


def _counts(address: Address, streams: Sequence[str]) -> dict[int, int]:
    """What one node says, on one connection; whatever it says no more is left out."""
    parameters = pika.ConnectionParameters(
        address.host, address.port, "/", pika.PlainCredentials(USER, PASSWORD),
        socket_timeout=_ASK_S, stack_timeout=_ASK_S, blocked_connection_timeout=_ASK_S,
    )  # fmt: skip
    found: dict[int, int] = {}
    with suppress(AMQPError, OSError), closing(pika.BlockingConnection(parameters)) as connection:
        for number, stream in enumerate(streams):
            with suppress(ChannelClosed):  # it knows no such stream, or nobody serves it
                declared: Any = connection.channel().queue_declare(stream, passive=True)
                found[number] = int(declared.method.message_count)
    return found


def memory_limit(node: Node) -> str:
    """The watermark of a running node, as an Erlang term."""
    return _evaluated(node, "vm_memory_monitor:get_vm_memory_high_watermark()")


def limit_memory(node: Node, limit: str) -> None:
    """Set it, until the node is started anew, as `rabbitmqctl set_vm_memory_high_watermark` does;
    0 raises the alarm at once (RabbitMQ documentation, "Memory Threshold and Limit")."""
    _evaluated(node, f"vm_memory_monitor:set_vm_memory_high_watermark({limit or '0.0'})")


def _evaluated(node: Node, expression: str) -> str:
    """What it is, as an Erlang term on one line. The tool says more on its standard output, such as
    that a cookie in the environment is out of date, so the term is marked. Raises ClusterError."""
    said = node.run(["rabbitmqctl", "eval", f"{{mqchaos, {expression}}}."], _EVALUATE_S)
    if not (found := re.search(r"\{mqchaos,\s*(.+)\}", said)):
        raise ClusterError(f"{node.name} evaluated {expression} to nothing: {said}")
    return found[1]


def memory_alarms(clients: Mapping[str, Address], timeout_s: float) -> Sequence[str]:
    """Who has raised it, says the first node that answers."""
    failed: ClusterError | None = None
    for name, address in clients.items():
        with closing(Api(name, address)) as api:
            try:
                nodes = api.listed("nodes?columns=name,running,mem_alarm", timeout_s)
            except ClusterError as error:
                failed = error
            else:
                return [short_name(node["name"]) for node in nodes if node.get("mem_alarm") is True]
    raise failed or DeadlineExceeded("an answer of any node", timeout_s)
