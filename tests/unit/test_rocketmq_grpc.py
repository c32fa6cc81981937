"""RocketMQ's client `grpc`: the package rocketmq-python-client, and what we make of its traps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.errors import ClusterError, Unavailable
from chaos.spi import Address, Outcome
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import Rocketmq, admin
from chaos_adapters.brokers.rocketmq.drivers.grpc import library
from chaos_adapters.brokers.rocketmq.drivers.grpc.consumer import GrpcConsumer, place
from chaos_adapters.brokers.rocketmq.drivers.grpc.producer import GrpcProducer
from chaos_adapters.brokers.rocketmq.drivers.grpc.settings import ConsumerSettings, ProducerSettings
from chaos_adapters.brokers.rocketmq.topology import is_broker, is_proxy
from tests.unit.grpc_package import Code, Failed, Message, Package, Receipt, RpcFailed
from tests.unit.test_rocketmq_native import Sink
from tests.unit.test_rocketmq_topology import places, properties

HANDLE = "40 1795922225061 30000 0 0 rocketmq 3 41 99321"
BODY = b"mqc1\0\1\2\0rest"
CLIENTS = {
    "namesrv-1": Address("127.0.0.1", 1),
    "rocketmq-1": Address("127.0.0.1", 2),
    "proxy-1": Address("127.0.0.1", 3),
}


def test_outcomes_are_what_a_proxy_is_known_to_have_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt is an acknowledgement with its offset, and without a queue, as the one in it is
    made up; stored but less safely is weak; whatever else, nobody knows. Bodies go as they are."""
    answers: list[Receipt | Exception] = [
        Receipt(9),
        Failed(Code.SLAVE_PERSISTENCE_TIMEOUT),
        Failed(Code.INTERNAL_SERVER_ERROR),
        Failed(None),
        RpcFailed(),
    ]
    package = Package(lambda body: answers[body[-1]])
    monkeypatch.setattr(library, "load", package.loaded)
    sink = Sink()
    producer = GrpcProducer(CLIENTS, "topic", ProducerSettings(), sink)  # type: ignore[arg-type]
    bodies = [BODY + bytes([number]) for number in range(5)] + [b"no route"]
    assert producer.send(0, [b"key", *[None] * 5], bodies) == 6
    producer.poll(1)
    unknown = Outcome.INDETERMINATE
    assert sink.found == {
        0: (Outcome.OK, 9, ""),
        1: (Outcome.WEAK, -1, "SLAVE_PERSISTENCE_TIMEOUT"),
        2: (unknown, -1, "INTERNAL_SERVER_ERROR"),
        3: (unknown, -1, "Failed: a text with addresses"),
        4: (unknown, -1, "UNAVAILABLE"),
        5: (unknown, -1, "Exception: failed to fetch topic:chaos route."),
    }
    assert [(each.topic, each.body) for each in package.sent] == [("topic", b) for b in bodies]
    assert [each.keys for each in package.sent[:2]] == ["key", ""]
    assert package.endpoints == "127.0.0.1:3"


@pytest.mark.parametrize(("orderly", "most"), [(True, 1), (False, 4)])
def test_no_more_sends_are_open_than_there_is_room_for(
    orderly: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orderly ones go alone; an outcome makes room for the next."""
    package = Package(held=True)
    monkeypatch.setattr(library, "load", package.loaded)
    sink, settings = Sink(), ProducerSettings(window=4, orderly=orderly)
    producer = GrpcProducer(CLIENTS, "topic", settings, sink)  # type: ignore[arg-type]
    assert producer.send(0, [None] * 9, [BODY] * 9) == most
    assert producer.send(most, [None] * 9, [BODY] * 9) == 0
    producer.poll(0)
    assert not sink.found
    package.let_go()
    producer.poll(1)
    assert len(sink.found) == most
    assert producer.send(most, [None] * 9, [BODY] * 9) == most
    package.let_go()
    producer.close(5)
    assert len(sink.found) == 2 * most
    assert package.down.is_set()


def test_a_message_is_acknowledged_when_it_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before; what is handed back becomes visible again instead; what the package raises ends
    nothing; what comes again says so."""
    package = Package()
    monkeypatch.setattr(library, "load", package.loaded)
    consumer = GrpcConsumer(CLIENTS, "topic", "group", ConsumerSettings(threads=1))
    assert consumer.receive(9, 0) is None
    for each in (
        RpcFailed(),
        Message(body=b"1", receipt_handle=HANDLE),
        Message(body=b"2", delivery_attempt=2),
    ):
        package.coming.put(each)
    first, second = consumer.receive(1, 5), consumer.receive(1, 5)
    assert first
    assert second
    assert (first.bodies, first.partitions, first.offsets) == ([b"1"], [3], [41])
    assert (second.partitions, second.offsets) == ([-1], [-1])
    assert (first.redelivered, second.redelivered) == ([False], [True])
    consumer.hand_back(0)
    assert not package.acknowledged
    consumer.settle()
    wait_until(lambda: bool(package.acknowledged and package.back), "both", 5)
    assert (package.acknowledged, package.back) == ([b"1"], [(b"2", 1)])
    package.coming.put(Message(body=b"3"))
    assert consumer.receive(1, 5)
    consumer.close()
    assert package.acknowledged == [b"1", b"3"]
    assert len(package.back) == 1
    assert package.down.is_set()


@pytest.mark.parametrize("handle", [
    "", "40 1795922225061 30000 0 0 rocketmq 3", "40 1795922225061 30000 0 1 rocketmq 3 41 9",
    "40 1795922225061 30000 0 0 rocketmq three 41 9", "another form",
])  # fmt: skip
def test_a_handle_that_tells_no_place_in_the_stream_is_none(handle: str) -> None:
    """Of a message that comes again out of the topic of retries, and of any other form."""
    assert place(HANDLE) == (3, 41)
    assert place(handle) == (-1, -1)


def test_without_its_package_it_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything starts, with the command; and settings that this client has not are named."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    grpc = Rocketmq(client="grpc")
    found = dict(grpc.client_problems({"retryTimesWhenSendFailed": 1}, {"threads": 0}))
    assert library.COMMAND in found["cluster.client"]
    assert "window" in found["load.producers.settings.retryTimesWhenSendFailed"]
    assert "too small" in found["load.consumers.settings.threads"]
    found = dict(grpc.client_problems({}, {"invisibleDuration": 9}))
    assert "no less than 10" in found["load.consumers.settings.invisibleDuration"]
    assert "has none" in grpc.transaction_problems({})[0]
    with pytest.raises(ClusterError, match=library.COMMAND):
        library.load()
    (library.directory() / "rocketmq" / "v5").mkdir(parents=True)
    assert not dict(grpc.client_problems({}, {}))


SCRIPT = """
import logging
from chaos_adapters.brokers.rocketmq.drivers.grpc import library
package = library.load()
(handler,) = logging.getLogger("rocketmq-python-client").handlers
assert isinstance(handler, logging.NullHandler)
names = ("Producer", "SimpleConsumer", "Message", "FilterExpression", "Credentials")
assert all(hasattr(package.client, name) for name in names)
message = package.client.Message()
assert message.receipt_handle is message.delivery_attempt is None
assert {"SLAVE_PERSISTENCE_TIMEOUT", "HA_NOT_AVAILABLE"} <= set(package.code.keys())
"""


@pytest.mark.skipif(bool(library.missing()), reason=library.missing())
def test_the_real_package_is_the_one_of_its_directory(tmp_path: Path) -> None:
    """Whatever else is installed as `rocketmq`; and it logs nothing into the home directory."""
    subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"HOME": str(tmp_path)}, timeout=60, check=True
    )
    assert not list(tmp_path.iterdir())


def test_a_package_that_pip_cannot_get_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told why, and the next try begins anew."""

    def fails(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="no such thing\n")

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(Unavailable, match="no such thing"):
        library.install()
    assert library.missing()
    assert not list(library.directory().parent.iterdir())


def test_a_proxy_is_a_node_of_those_alone_who_need_it() -> None:
    """It knows the name servers and listens where it was told to; brokers take what it needs. For
    other clients nothing changes."""
    other, grpc = Rocketmq(), Rocketmq(client="grpc")
    assert [*grpc.members()][:-1] == [*other.members()]
    where = places(grpc.topology)
    proxy = where[-1]
    assert is_proxy(proxy.member.name)
    launch = grpc.launch(proxy)
    about = json.loads(launch.files["rocketmq.conf"])
    servers = ";".join(str(each.listen["namesrv"]) for each in where[:3])
    assert about["namesrvAddr"] == servers
    assert about["grpcServerPort"] == proxy.listen["grpc"].port
    assert about["proxyMode"] == "cluster"
    assert "-pc" in launch.program.arguments  # type: ignore[union-attr]
    assert Path(launch.program.lock).is_file()  # type: ignore[union-attr]
    assert launch.environment["CONF"] == "-pc"
    broker = next(each for each in where if is_broker(each.member.name))
    assert properties(grpc, broker)["timerWheelEnable"] == "true"
    assert properties(other, broker)["timerWheelEnable"] == "false"


def test_a_proxy_is_nobody_to_ask_about_the_cluster() -> None:
    """It would not answer as a name server does."""
    assert admin.servers(CLIENTS) == [CLIENTS["namesrv-1"]]
    assert admin.brokers(CLIENTS) == {"rocketmq-1": CLIENTS["rocketmq-1"]}
