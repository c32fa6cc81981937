"""RocketMQ's client `native`: the package rocketmq-client-python, and what we make of its traps."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.errors import ClusterError
from chaos.spi import Address, Outcome
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import Rocketmq, codes
from chaos_adapters.brokers.rocketmq.drivers.native import library
from chaos_adapters.brokers.rocketmq.drivers.native.consumer import NativeConsumer
from chaos_adapters.brokers.rocketmq.drivers.native.producer import NativeProducer
from chaos_adapters.brokers.rocketmq.drivers.native.settings import (
    ConsumerSettings,
    ProducerSettings,
)
from chaos_adapters.brokers.rocketmq.text import as_text, from_text
from tests.unit.native_library import (
    ConsumeStatus,
    Failed,
    Package,
    Received,
    Result,
    SendStatus,
)
from tests.unit.rocketmq_server import Answer, Server

BODY = b"mqc1\0\1\2\0rest"
CLIENTS = {
    "namesrv-1": Address("127.0.0.1", 1),
    "namesrv-2": Address("127.0.0.1", 2),
    "rocketmq-1": Address("127.0.0.1", 3),
}


class Sink:
    """Keeps outcomes by number."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[Outcome, int, str]] = {}

    def acknowledged(
        self, sequences: list[int], partitions: list[int], offsets: list[int], done_ns: int
    ) -> None:
        """One at a time; which queue it is, the library does not tell."""
        assert partitions == [-1]
        self.found[sequences[0]] = (Outcome.OK, offsets[0], "")

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        """See SendSink."""
        self.found[sequence] = (outcome, partition, reason)


def send_all(package: Package, bodies: list[bytes], settings: ProducerSettings) -> Sink:
    """All outcomes of these."""
    sink, sent = Sink(), 0
    producer = NativeProducer(CLIENTS, "topic", settings, sink)  # type: ignore[arg-type]

    def over() -> bool:
        nonlocal sent
        sent += producer.send(sent, [b"key"] * len(bodies[sent:]), bodies[sent:])
        producer.poll(0.01)
        return len(sink.found) == len(bodies)

    wait_until(over, "all outcomes", 5, every_s=0.001)
    producer.close(1)
    return sink


def test_outcomes_are_what_the_library_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """OK is acknowledged with its offset, another status stored but weak; an exception says nothing
    of whether the message is stored. Every message is freed, and its body has no zero byte."""

    def send(body: bytes) -> Result:
        plain = from_text(body)
        if plain.endswith(b"1"):
            raise Failed("No route info of this topic: chaos-1,error:-1")
        weak = plain.endswith(b"2")
        return Result(SendStatus.FLUSH_SLAVE_TIMEOUT if weak else SendStatus.OK, "id", 9)

    package = Package(send)
    monkeypatch.setattr(library, "load", package.loaded)
    bodies = [BODY + b"%d" % number for number in range(3)]
    sink = send_all(package, bodies, ProducerSettings())
    assert sink.found == {
        0: (Outcome.OK, 9, ""),
        1: (Outcome.INDETERMINATE, -1, "No route info of this topic"),
        2: (Outcome.WEAK, -1, "FLUSH_SLAVE_TIMEOUT"),
    }
    assert sorted(map(from_text, package.destroyed)) == bodies
    assert ("set_name_server_address", "127.0.0.1:1;127.0.0.1:2") in package.told


@pytest.mark.parametrize(("orderly", "most"), [(True, 1), (False, 4)])
def test_the_first_send_goes_alone_and_orderly_ones_always(
    orderly: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First sends that come at once fail; afterwards as many are under way as there are threads."""
    lock, under_way, seen = threading.Lock(), [], []

    def send(body: bytes) -> Result:
        with lock:
            under_way.append(body)
            seen.append(len(under_way))
        threading.Event().wait(0.05)
        with lock:
            under_way.remove(body)
        return Result(SendStatus.OK, "id", 0)

    package = Package(send)
    monkeypatch.setattr(library, "load", package.loaded)
    bodies = [BODY + b"%d" % number for number in range(9)]
    send_all(package, bodies, ProducerSettings(threads=4, orderly=orderly))
    assert seen[0] == 1
    assert max(seen) == most


def test_a_call_of_the_listener_lasts_until_its_message_is_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is acknowledged by returning, so not before; what is handed back is asked for again; what
    comes again has no place in the stream; without a body nothing is raised."""
    package = Package(lambda body: Result(SendStatus.OK, "id", 0))
    monkeypatch.setattr(library, "load", package.loaded)
    consumer = NativeConsumer(CLIENTS, "topic", "group", ConsumerSettings())
    called = package.listener
    assert called
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(called, Received(as_text(BODY), 1, 5))
        found = consumer.receive(10, 5)
        assert found
        assert (found.bodies, found.partitions, found.offsets) == ([BODY], [1], [5])
        assert found.redelivered == [False]
        assert not first.done()
        consumer.settle()
        assert first.result(5) is ConsumeStatus.CONSUME_SUCCESS

        again = threads.submit(called, Received(None, 0, 3, reconsume_times=1))
        found = consumer.receive(10, 5)
        assert found
        assert (found.bodies, found.partitions, found.offsets) == ([b""], [-1], [-1])
        assert found.redelivered == [True]
        consumer.hand_back(0)
        assert not again.done()
        consumer.settle()
        assert again.result(5) is ConsumeStatus.RECONSUME_LATER

        late = threads.submit(called, Received(as_text(BODY)))
        assert not late.done()
        consumer.close()
        assert late.result(5) is ConsumeStatus.RECONSUME_LATER
    assert consumer.receive(10, 0) is None


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b"",
        b"bXFj",
        b"bXFjMQ=",
        b"bXFjM not Base64",
        as_text(b"other"),
        as_text(BODY) + b"!",
        as_text(BODY)[:8] + b"\0" + as_text(BODY)[8:],
    ],
)
def test_a_body_that_is_no_text_of_ours_is_left_alone(body: bytes) -> None:
    """Plain ones, damaged ones, other people's."""
    assert from_text(body) == body
    assert from_text(as_text(BODY)) == BODY
    assert b"\0" not in as_text(BODY)


def test_without_its_library_it_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything starts, with the command; and settings that this client has not are named."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    native = Rocketmq(client="native")
    found = dict(native.client_problems({"retryTimesWhenSendFailed": 1}, {"threads": 0}))
    assert library.COMMAND in found["cluster.client"]
    assert "threads" in found["load.producers.settings.retryTimesWhenSendFailed"]
    assert "too small" in found["load.consumers.settings.threads"]
    assert not Rocketmq().client_problems({}, {})
    assert "has none" in native.transaction_problems({})[0]
    with pytest.raises(ClusterError, match=library.COMMAND):
        library.load()


def test_the_library_is_taken_by_its_hash_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pip is told which file it has to be, and asked once."""
    asked: list[tuple[list[str], str]] = []

    def run(command: list[str], **options: object) -> None:
        asked.append((command, Path(command[-1]).read_text()))
        into = Path(command[command.index("--target") + 1]) / "rocketmq"
        into.mkdir(parents=True)
        (into / "librocketmq.so").touch()

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(library.subprocess, "run", run)  # type: ignore[attr-defined]
    library.install()
    assert not library.missing()
    library.install()
    ((command, wanted),) = asked
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(command)
    assert wanted == f"{library.WHEEL} --hash=sha256:{library.SHA256}\n"


class Broker(Server):
    """Stores one message at a time."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        """To a send."""
        self.bodies.append(body)
        told = {"msgId": "0", "queueId": str(fields["queueId"]), "queueOffset": "7"}
        return codes.SUCCESS, told, b""


SCRIPT = """
import os, sys
from chaos.spi import Address
from chaos_adapters.brokers.rocketmq.drivers import driver

class Sink:
    def acknowledged(self, *columns):
        print("acknowledged", *columns[:3], flush=True)
    def failed(self, *what):
        print("failed", *what, flush=True)
        os._exit(1)

at = {"namesrv-1": Address("127.0.0.1", int(sys.argv[1]))}
producer = driver("native").producer(at, "topic", {"threads": 1}, Sink())
producer.send(0, [b"key"], [b"mqc1" + bytes(5)])
producer.poll(30)
producer.close(1)
os._exit(0)
"""


def test_the_real_library_sends_over_the_wire(tmp_path: Path) -> None:
    """Package and library fit each other, and log nothing into the home directory. In a process of
    its own, as the library ends some."""
    broker = Broker()
    command = [sys.executable, "-c", SCRIPT, str(broker.address.port)]
    ended = subprocess.run(
        command,
        env={"HOME": str(tmp_path)},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    broker.close()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout == "acknowledged [0] [-1] [7]\n"
    assert [from_text(body) for body in broker.bodies] == [b"mqc1" + bytes(5)]
    assert not list(tmp_path.rglob("*.log*"))
