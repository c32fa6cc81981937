"""RocketMQ's consumer against a broker that has one message, and takes back what is handed back."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from chaos.spi import Address, Deliveries
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.consumer import RemotingConsumer
from chaos_adapters.brokers.rocketmq.remoting import OWN_QUEUE, frame
from chaos_adapters.brokers.rocketmq.settings import ConsumerSettings

TOPIC, GROUP = "topic", "group"
QUEUE, PHYSICAL = 2, 700


def stored(queue: int, times: int) -> bytes:
    """One message at offset 0, as in class MessageDecoder."""
    properties = f"{OWN_QUEUE}\x01{QUEUE}\x02".encode()
    rest = (
        struct.pack(">IIiiqqiq", 0xDAA320A7, 0, queue, 0, 0, PHYSICAL + times, 0, 1)
        + bytes(4 + 4 + 8 + 4 + 4) + struct.pack(">iqi", times, 0, 4) + b"body"
        + b"\x01t" + len(properties).to_bytes(2, "big") + properties
    )  # fmt: skip
    return struct.pack(">i", len(rest) + 4) + rest


class Server:
    """A name server and master in one, which refuses to take the first message back once."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.lock = threading.Lock()
        self.member = ""
        self.back: list[Mapping[str, str]] = []
        self.committed: dict[tuple[str, int], int] = {}
        self.asked: Counter[int] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(ConnectionError), line, line.makefile("rb") as file:
            while head := file.read(8):
                size, length = struct.unpack(">iI", head)
                header = json.loads(file.read(length))
                body = file.read(size - 4 - length)
                with self.lock:
                    code, fields, content = self._answer(header["code"], header["extFields"], body)
                told = {"code": code, "flag": 1, "opaque": header["opaque"], "extFields": fields}
                line.sendall(frame(json.dumps(told).encode(), content))

    def _answer(
        self, code: int, fields: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.asked[code] += 1
        if code == codes.GET_ROUTEINFO_BY_TOPIC:
            return codes.SUCCESS, {}, json.dumps(self._route()).encode()
        if code == codes.HEART_BEAT:
            self.member = json.loads(body)["clientID"]
        elif code == codes.GET_CONSUMER_LIST_BY_GROUP:
            return codes.SUCCESS, {}, json.dumps({"consumerIdList": [self.member]}).encode()
        elif code == codes.QUERY_CONSUMER_OFFSET:
            return codes.QUERY_NOT_FOUND, {}, b""
        elif code == codes.PULL_MESSAGE:
            return self._pull(fields["topic"], int(fields["queueId"]), int(fields["queueOffset"]))
        elif code == codes.CONSUMER_SEND_MSG_BACK:
            if self.asked[code] == 1:
                return codes.SYSTEM_ERROR, {}, b""
            self.back.append(fields)
        elif code == codes.UPDATE_CONSUMER_OFFSET:
            place = fields["topic"], int(fields["queueId"])
            self.committed[place] = int(fields["commitOffset"])
        return codes.SUCCESS, {}, b""

    def _route(self) -> Any:
        at = {"0": f"127.0.0.1:{self.port}"}
        return {
            "brokerDatas": [{"brokerName": "rocketmq", "brokerAddrs": at}],
            "queueDatas": [{"brokerName": "rocketmq", "writeQueueNums": 4}],
        }

    def _pull(self, topic: str, queue: int, offset: int) -> tuple[int, Mapping[str, str], bytes]:
        first = topic == TOPIC and queue == QUEUE
        again = topic == f"%RETRY%{GROUP}" and len(self.back) == 1
        if offset or not (first or again):
            return codes.PULL_NOT_FOUND, {"nextBeginOffset": str(offset)}, b""
        return codes.SUCCESS, {"nextBeginOffset": "1"}, stored(queue, int(again))


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.socket.close()


def received(consumer: RemotingConsumer) -> Deliveries:
    found = consumer.receive(10, 10.0)
    assert found
    return found


def test_what_is_handed_back_comes_again_from_the_topic_of_retries(server: Server) -> None:
    """It is told as of the queue that it was sent to, without an offset, and as redelivered; where
    it was before is settled only when the broker has taken it back, which is asked for again."""
    settings = ConsumerSettings(maxReconsumeTimes=2, delayLevelWhenNextConsume=1)
    clients = {"namesrv-1": Address("127.0.0.1", server.port)}
    consumer = RemotingConsumer(clients, TOPIC, GROUP, settings)
    first = received(consumer)
    assert (first.partitions, first.offsets, first.redelivered) == ([QUEUE], [0], [False])
    consumer.hand_back(0)
    consumer.settle_durably()
    assert server.asked[codes.CONSUMER_SEND_MSG_BACK] == 2
    assert server.committed == {(TOPIC, QUEUE): 1}
    (told,) = server.back
    assert (told["group"], told["offset"], told["originTopic"]) == (GROUP, str(PHYSICAL), TOPIC)
    assert (told["maxReconsumeTimes"], told["delayLevel"]) == ("2", "1")
    again = received(consumer)
    assert (again.partitions, again.offsets, again.redelivered) == ([QUEUE], [-1], [True])
    consumer.hand_back(0)
    consumer.close()
    wait_until(lambda: len(server.back) == 2, "the second return", 5)
    assert server.back[1]["offset"] == str(PHYSICAL + 1)
    assert server.committed[f"%RETRY%{GROUP}", 0] == 1


def test_nothing_is_settled_beyond_what_the_broker_has_not_taken_back(server: Server) -> None:
    """Else a consumer that dies before it is taken back would have lost it."""
    clients = {"namesrv-1": Address("127.0.0.1", server.port)}
    settings = ConsumerSettings(persistConsumerOffsetInterval=1)
    consumer = RemotingConsumer(clients, TOPIC, GROUP, settings)
    received(consumer)
    consumer.hand_back(0)
    consumer.settle()
    assert server.committed == {}
    consumer.close()
    assert server.committed == {(TOPIC, QUEUE): 1}
