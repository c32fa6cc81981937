"""What of RabbitMQ's settings is refused at validation, and what is labelled."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.experiment import Consumers
from chaos.experiment.checks import Scene, target_flaws, use_flaws
from chaos.experiment.records import Load, Producers
from chaos.spi import Address, Settings
from chaos_adapters.brokers.rabbitmq import Rabbitmq, admin
from chaos_adapters.brokers.rabbitmq.api import Api
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from chaos_adapters.brokers.rabbitmq.topology import MANAGEMENT
from chaos_adapters.brokers.rabbitmq.versions import mismatch
from chaos_adapters.faults.process_kill import Kill

STREAM = Queues(kind=Kind.STREAM)


@pytest.mark.parametrize(("settings", "what"), [
    ({"cluster_partition_handling": "ignore"}, "write cluster.partition_handling"),
    ({"cluster_partition_handling.pause_if_all_down.recover": "ignore"}, "cluster.partition_h"),
    ({"listeners.tcp.1": 1}, "leave it out"), ({"log.console": False}, "leave it out"),
    ({"log.console.level": "error"}, "write debug or info"),
    ({"log.default.level": "none"}, "write debug or info"),
    ({"default_policies.operator.a.message_ttl": 1}, "write stream.policy"),
    ({"channel_max": "9\nloopback_users.guest = true"}, "one line"), ({"x y": 1}, "no key"),
])  # fmt: skip
def test_settings_that_go_past_the_labels_are_refused(settings: dict[str, Any], what: str) -> None:
    """The file that is written must be the one that the labels are drawn from."""
    ((path, said),) = Rabbitmq(settings=settings).problems(Queues())
    assert path == "cluster.settings"
    assert what in said


def test_other_settings_pass() -> None:
    fine: Any = {"vm_memory_high_watermark.relative": 0.5, "log.console.level": "debug"}
    assert not Rabbitmq(settings=fine).problems(Queues(arguments={"x-max-length": 3}))


MIRRORED = {"ha-mode": "exactly", "ha-params": 2}


@pytest.mark.parametrize(("stream", "path"), [
    (Queues(arguments={"x-queue-type": "classic"}), "stream.arguments.x-queue-type"),
    (Queues(arguments={"x-delivery-limit": 1}), "stream.arguments.x-delivery-limit"),
    (Queues(delivery_limit=1, policy={"overflow": "drop-head"}), "stream.policy.overflow"),
    (Queues(delivery_limit=1, arguments={"x-overflow": "drop-head"}),
     "stream.arguments.x-overflow"),
    (Queues(kind=Kind.CLASSIC, replicas=9), "stream.replicas"),
    (Queues(kind=Kind.MIRRORED, replicas=9), "stream.replicas"),
    (Queues(replicas=4), "stream.replicas"),
    (Queues(kind=Kind.MIRRORED, policy={"ha-mode": "foo"}), "stream.policy.ha-mode"),
    (Queues(kind=Kind.MIRRORED, policy={"ha-mode": "exactly"}), "stream.policy.ha-params"),
    (Queues(kind=Kind.MIRRORED, policy={**MIRRORED, "ha-params": -1}), "stream.policy.ha-params"),
    (Queues(kind=Kind.MIRRORED, policy={**MIRRORED, "ha-params": 4}), "stream.policy.ha-params"),
    (Queues(kind=Kind.MIRRORED, policy={"ha-params": 2}), "stream.policy.ha-params"),
    (Queues(kind=Kind.MIRRORED, policy={"ha-promot-on-failure": "always"}),
     "stream.policy.ha-promot-on-failure"),
    (Queues(kind=Kind.MIRRORED, policy={"ha-promote-on-failure": "never"}),
     "stream.policy.ha-promote-on-failure"),
    (Queues(policy={"max-age": "1h"}), "stream.policy.max-age"),
    (Queues(policy={"max-lenght": 3}), "stream.policy.max-lenght"),
    (Queues(arguments={"x-max-lenght": 3}), "stream.arguments.x-max-lenght"),
    (Queues(arguments={"x-queue-mode": "lazy"}), "stream.arguments.x-queue-mode"),
    (Queues(arguments={"max-length": 3}), "stream.arguments.max-length"),
    (Queues(kind=Kind.STREAM, policy={"max-length": 3}), "stream.policy.max-length"),
    (Queues(kind=Kind.STREAM, policy={"initial-cluster-size": 1}),
     "stream.policy.initial-cluster-size"),
    (Queues(kind=Kind.CLASSIC, policy={"delivery-limit": 3}), "stream.policy.delivery-limit"),
    (Queues(kind=Kind.MIRRORED, arguments={"x-max-age": "1h"}), "stream.arguments.x-max-age"),
    *((Queues(name=name), "stream.name")
      for name in ("", "a/b", "a(b", "amq.foo", "x" * 400, "a-dlt", ".a")),
])  # fmt: skip
def test_what_can_never_be_is_refused_at_its_place(stream: Queues, path: str) -> None:
    assert [where for where, _ in Rabbitmq().problems(stream)] == [path]


@pytest.mark.parametrize("stream", [
    Queues(kind=Kind.CLASSIC, arguments={"x-max-priority": 5, "x-queue-mode": "lazy"}),
    Queues(kind=Kind.MIRRORED, policy={"queue-version": 2, "consumer-timeout": 90_000}),
    Queues(policy={"delivery-limit": 3}, arguments={"x-queue-leader-locator": "balanced"}),
    Queues(kind=Kind.STREAM, policy={"max-age": "1h"}, arguments={"x-max-length-bytes": 9}),
])  # fmt: skip
def test_what_a_kind_goes_by_passes(stream: Queues) -> None:
    assert not Rabbitmq().problems(stream)


@pytest.mark.parametrize("client", ["pika", "rstream"])
def test_a_stream_has_a_replica_on_each_node(client: Any) -> None:
    """AMQP gives it out nowhere else, and what is stored is read back by that."""
    broker = Rabbitmq(nodes=3, client=client)
    assert not broker.problems(Queues(kind=Kind.STREAM, replicas=3))
    for replicas in (1, 2):
        ((path, what),) = broker.problems(Queues(kind=Kind.STREAM, replicas=replicas))
        assert (path, "write 3" in what) == ("stream.replicas", True)
    assert not Rabbitmq(nodes=3).problems(Queues(replicas=2))


TRANSIENT = Queues(kind=Kind.CLASSIC, durable=False)
PERMITTED: Settings = {"deprecated_features.permit.transient_nonexcl_queues": True}


@pytest.mark.parametrize(("version", "cluster", "stream", "paths"), [
    ("4.3", {}, Queues(), []), ("4.3.5-management", {}, TRANSIENT, ["stream.durable"]),
    ("4.2.9", {}, TRANSIENT, []), ("4.10", {}, TRANSIENT, ["stream.durable"]),
    ("4.3", {"settings": PERMITTED}, TRANSIENT, []),
    ("4.2", {"partition_handling": "autoheal"}, Queues(), ["cluster.partition_handling"]),
    ("4.1", {"partition_handling": "autoheal"}, Queues(), []),
    ("4.0", {}, Queues(kind=Kind.MIRRORED), ["stream.kind"]),
    ("3.13", {"partition_handling": "ignore"}, Queues(kind=Kind.MIRRORED), []),
])  # fmt: skip
def test_what_a_version_has_no_more_is_refused(
    version: str, cluster: dict[str, Any], stream: Queues, paths: list[str]
) -> None:
    """Mirrors from 4.0 on, the handling of partitions from 4.2 on, and from 4.3 on queues that are
    not durable, unless they are permitted."""
    assert [path for path, _ in Rabbitmq(version=version, **cluster).problems(stream)] == paths


def test_mirrors_on_some_nodes_pass() -> None:
    assert not Rabbitmq().problems(Queues(kind=Kind.MIRRORED, policy={**MIRRORED}))
    assert not Rabbitmq().problems(Queues(name="a.b-c_1"))


@pytest.mark.parametrize(("client", "stream", "consumers", "paths"), [
    ("pika", STREAM, Consumers(count=2), ["count"]),
    ("rstream", STREAM, Consumers(count=2), ["count"]),
    ("pika", STREAM, Consumers(count=1, settings={"auto_ack": True}), ["settings.auto_ack"]),
    ("pika", STREAM, Consumers(count=1, settings={"prefetch": 0}), ["settings.prefetch"]),
    ("pika", Queues(delivery_limit=1), Consumers(hand_back=True, settings={"auto_ack": True}),
     ["settings.auto_ack"]),
    ("pika", STREAM, Consumers(count=1), []),
    ("pika", Queues(), Consumers(count=2, settings={"auto_ack": True, "prefetch": 0}), []),
])  # fmt: skip
def test_consumers_that_do_not_go_with_the_queues_are_refused(
    client: Any, stream: Queues, consumers: Consumers, paths: list[str]
) -> None:
    """A stream gives all of it to each, wants acknowledgements and a limit."""
    found = use_flaws(Rabbitmq(client=client), stream, Load(Producers(), consumers))
    assert [".".join(map(str, flaw.path)) for flaw in found] == [
        f"load.consumers.{path}" for path in paths
    ]


@pytest.mark.parametrize(("silence_s", "nodes", "told"), [
    (30.0, 3, "45 to 75 s"), (74.9, 3, "45 to 75 s"), (75.0, 3, ""), (30.0, 1, ""),
])  # fmt: skip
def test_a_silence_that_is_too_short_to_be_noticed_is_told(
    silence_s: float, nodes: int, told: str
) -> None:
    """Nodes give each other up after 3/4 to 5/4 of net_ticktime; one alone has nobody to hear."""
    said = Rabbitmq(nodes=nodes, net_ticktime=60).silence_note(silence_s)
    assert told in said
    assert bool(said) is bool(told)


MIB = 1 << 20


@pytest.mark.parametrize(("version", "client", "size", "settings", "fine"), [
    ("3.13", "pika", 64 * MIB, {}, True), ("4.0", "pika", 16 * MIB, {}, True),
    ("4.0", "pika", 16 * MIB + 1, {}, False),
    ("4.0", "pika", 20 * MIB, {"max_message_size": 32 * MIB}, True),
    ("3.13", "pika", 2000, {"max_message_size": 1000}, False),
    ("3.13", "rstream", MIB - 64, {}, True), ("3.13", "rstream", MIB, {}, False),
])  # fmt: skip
def test_messages_that_no_node_takes_are_refused(
    version: str, client: Any, size: int, settings: Settings, fine: bool
) -> None:
    """Each of them would cost its producer the connection."""
    broker = Rabbitmq(version=version, client=client, settings=settings)
    found = list(use_flaws(broker, STREAM, Load(Producers(size=size), Consumers(count=1))))
    assert [".".join(map(str, flaw.path)) for flaw in found] == (
        [] if fine else ["load.producers.size"]
    )


ONE_MIRROR = Queues(kind=Kind.MIRRORED, policy={**MIRRORED, "ha-params": 1})


@pytest.mark.parametrize(("stream", "target", "nodes", "there"), [
    (Queues(kind=Kind.CLASSIC), "mirror(0)", 3, False),
    (Queues(kind=Kind.CLASSIC), "leader(0)", 3, True),
    (Queues(replicas=1), "followers(0)", 3, False), (Queues(), "followers(0)", 3, True),
    (Queues(kind=Kind.MIRRORED), "mirror(0)", 2, True),
    (Queues(kind=Kind.MIRRORED), "mirror(0)", 1, False), (ONE_MIRROR, "mirror(0)", 3, False),
])  # fmt: skip
def test_a_role_that_nobody_can_have_is_no_target(
    stream: Queues, target: str, nodes: int, there: bool
) -> None:
    scene = Scene(Rabbitmq, Rabbitmq(nodes=nodes), stream)
    assert (not list(target_flaws(Kill, {"target": target}, scene))) is there


@pytest.mark.parametrize(("settings", "bound"), [
    ({"prefetch": -1}, "at least 0"), ({"prefetch": 65_536}, "at most 65535"),
    ({"connect_timeout": 0.0}, "more than 0"), ({"reconnect_pause": float("inf")}, "infinite"),
])  # fmt: skip
def test_a_number_out_of_bounds_is_refused_with_the_bound(
    settings: dict[str, Any], bound: str
) -> None:
    ((_, what),) = Rabbitmq().client_problems({}, settings)
    assert bound in what


def _labels(stream: Queues, version: str = "3.13", **producer: Any) -> list[str]:
    broker = Rabbitmq(version=version)
    found = broker.caveats(stream, producer, {})
    return [caveat.setting for caveat in found if caveat.question == "loss"]


ONE_COPY = "kind=classic"
REFUSING: Settings = {"x-max-length": 3, "x-overflow": "reject-publish"}
DROPPING: Settings = {**REFUSING, "x-overflow": "drop-head"}
ALL_SAFE = {"ha-sync-mode": "automatic", "ha-promote-on-failure": "when-synced"}


@pytest.mark.parametrize(("stream", "labels"), [
    (Queues(), []),
    (Queues(policy={"message-ttl": 100, "max-length": 5}), ["message-ttl=100", "max-length=5"]),
    (Queues(arguments={"x-max-length": 3}), ["max-length=3"]),
    (Queues(arguments={"x-max-length": 3, "x-overflow": "reject-publish"}), []),
    (Queues(policy={"overflow": "drop-head"}, arguments=REFUSING), ["max-length=3"]),
    (Queues(policy={"overflow": "reject-publish"}, arguments=DROPPING), []),
    (Queues(arguments={**REFUSING, "x-overflow": "reject-publish-dlx"}), ["max-length=3"]),
    (Queues(kind=Kind.CLASSIC, policy={"overflow": "drop-head"}, arguments=REFUSING), [ONE_COPY]),
    (Queues(kind=Kind.CLASSIC, policy={"overflow": "reject-publish"}, arguments=DROPPING),
     [ONE_COPY, "max-length=3"]),
    (Queues(kind=Kind.CLASSIC, arguments={**REFUSING, "x-overflow": "reject-publish-dlx"}),
     [ONE_COPY]),
    (Queues(delivery_limit=2, policy={"max-length": 3}), []),
    (Queues(arguments={"x-expires": 9}), ["expires=9"]),
    (Queues(kind=Kind.STREAM, queues=1, policy={"max-age": "1h"}), ["max-age=1h"]),
    (Queues(policy={"delivery-limit": 3}), ["delivery-limit=3"]),
    (Queues(policy={"delivery-limit": 3, "dead-letter-exchange": "a"}), ["delivery-limit=3"]),
    (Queues(policy={"delivery-limit": 3}, arguments={"x-dead-letter-exchange": "a"}),
     ["delivery-limit=3"]),
    (Queues(kind=Kind.MIRRORED, policy={**ALL_SAFE, "ha-mode": "exactly", "ha-params": 1}),
     ["ha-params=1"]),
    (Queues(kind=Kind.MIRRORED, policy=ALL_SAFE), []),
])  # fmt: skip
def test_what_drops_messages_is_labelled(stream: Queues, labels: list[str]) -> None:
    """Whether by policy or argument, of which each kind has its own that counts; what is refused is
    no loss, what is dead-lettered to where nobody looks is."""
    assert _labels(stream) == labels


def test_messages_that_no_queue_takes_are_labelled() -> None:
    assert _labels(Queues(), mandatory=False) == ["mandatory=false"]


def test_the_limit_of_deliveries_of_4_0_is_labelled() -> None:
    """Twenty times, and nowhere to go; with a limit of its own a queue dead-letters."""
    elsewhere = Queues(arguments={"x-dead-letter-exchange": "a"})
    for stream in (Queues(), elsewhere):
        assert _labels(stream, "4.0.5") == ["delivery_limit unset"]
    assert not _labels(Queues(policy={"delivery-limit": -1}), "4.0.5")
    assert not _labels(Queues(delivery_limit=3), "4.0.5")
    assert not _labels(Queues(), "3.13")


@pytest.mark.parametrize("version", ["3.6", "3.9.29", "3.14", "99.9", "latest"])
def test_versions_that_nobody_knows_are_refused(version: str) -> None:
    with pytest.raises(ValueError, match="version is"):
        Rabbitmq(version=version)


@pytest.mark.parametrize(("said", "running", "fine"), [
    ("3.13", "3.13.7", True), ("3.13", "3.10.8", True), ("3.13", "4.0.5", False),
    ("3.13", "3.8.1", False), ("3.12", "3.10.8", False), ("4.1", "4.1.0", True),
    ("4.1", "4.10.0", False), ("4.0.5-management", "4.0.5", True), ("4.0", "4.0.0-rc.1", True),
    ("3.12.1", "3.12.14", False), ("3.13", "", True),
])  # fmt: skip
def test_nodes_are_of_the_version_that_is_said(said: str, running: str, fine: bool) -> None:
    """Where none is, all that have the promises of the default pass."""
    assert (not mismatch(said, running)) is fine


class _Node(BaseHTTPRequestHandler):
    """A node of 4.0.5, which knows no place to put things."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = {
            "/api/overview": b'{"rabbitmq_version": "4.0.5"}',
            "/api/nodes?columns=name,running,partitions":
                b'[{"name": "rabbit@rabbitmq-1", "running": true, "partitions": []}]',
        }  # fmt: skip
        self.answer(200, known[self.path])

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(404, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def test_a_node_of_another_version_and_a_put_into_nowhere_are_told() -> None:
    """Neither is waited for, nor taken for success."""
    with HTTPServer(("127.0.0.1", 0), _Node) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        at = Address("127.0.0.1", 1, ((MANAGEMENT, server.server_port),))
        api = Api("rabbitmq-1", at)
        try:
            with pytest.raises(ClusterError, match=r"write `version: '4\.0\.5'`"):
                admin.missing({"rabbitmq-1": at}, 2, "3.13")
            assert admin.missing({"rabbitmq-1": at}, 2, "4.0") == ""
            with pytest.raises(ClusterError, match="answers 404 to PUT"):
                api.put("queues/a/b/c", {}, 2)
        finally:
            api.close()
            server.shutdown()
