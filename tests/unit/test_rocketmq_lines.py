"""RocketMQ's connections and routes: what is open, what is lost, and whom to ask."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping

import pytest

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos.timing import wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.lines import Line, ask
from chaos_adapters.brokers.rocketmq.remoting import Frame, frame
from chaos_adapters.brokers.rocketmq.routes import Route, RouteWatch, address, route
from tests.unit.rocketmq_server import Answer, Server

CODE = codes.GET_BROKER_CONFIG
HERE, THERE = "127.0.0.1:1", "127.0.0.1:2"


class Broker(Server):
    """Answers each question with `code` and the question's name."""

    def __init__(self) -> None:
        self.code = codes.SUCCESS
        self.names: list[str] = []
        super().__init__()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer:
        self.names.append(fields["name"])
        if fields["name"] == "cut":
            raise ConnectionError
        return self.code, {"name": fields["name"]}, b""


@pytest.fixture
def brokers() -> Iterator[list[Broker]]:
    """Two."""
    found = [Broker(), Broker()]
    yield found
    for broker in found:
        broker.close()


@pytest.fixture
def broker(brokers: list[Broker]) -> Broker:
    return brokers[0]


def answers(line: Line, count: int) -> list[tuple[object, str]]:
    """So many, by their tags."""
    found: list[tuple[object, str]] = []

    def enough() -> bool:
        found.extend((tag, answer.fields["name"]) for tag, answer in line.turn())
        return len(found) >= count

    wait_until(enough, "the answers", 5, every_s=0.001)
    return found


def test_an_answer_that_nobody_waits_for_is_left_out(broker: Broker) -> None:
    """It came too late; the next ones are told by their own tags."""
    line = Line(broker.address)
    line.connect(1.0)
    late = line.ask("late", CODE, {"name": "a"})
    line.ask("next", CODE, {"name": "b"})
    del line.open[late]
    assert answers(line, 1) == [("next", "b")]
    assert not line.open
    line.close()


def test_what_is_open_when_a_connection_breaks_is_lost_once(broker: Broker) -> None:
    """And nothing of it goes over the next connection: it would be stored twice."""
    line = Line(broker.address)
    line.ask("unsent", CODE, {"name": "a"})
    line.close()
    line.connect(1.0)
    line.ask("sent", CODE, {"name": "cut"})
    wait_until(lambda: not line.turn() and not line.connected, "the end", 5, every_s=0.001)
    assert line.lost() == ["unsent", "sent"]
    assert line.lost() == []
    line.connect(2.0)
    line.ask("next", CODE, {"name": "b"})
    assert answers(line, 1) == [("next", "b")]
    assert broker.names == ["cut", "b"]
    line.close()


def test_a_new_connection_begins_with_a_new_answer() -> None:
    """The half of one that was received before the last connection broke is no part of it."""
    whole = frame(b'{"code": 0, "opaque": 2, "flag": 1, "extFields": {"name": "b"}}', b"body")
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Line(Address("127.0.0.1", server.getsockname()[1]))
        for part, tag in ((whole[:20], "first"), (whole, "second")):
            line.connect(time.monotonic())
            peer, _ = server.accept()
            line.ask(tag, CODE, {})
            with peer:
                peer.sendall(part)
                if tag == "second":
                    assert answers(line, 1) == [("second", "b")]
            wait_until(lambda: not line.turn() and not line.connected, "the end", 5, every_s=0.06)


def test_no_for_an_answer_is_an_error(broker: Broker) -> None:
    """With what the broker said; unless the one who asks can do with it."""
    broker.code, broker.remark = codes.NO_PERMISSION, "not you"
    with pytest.raises(ClusterError, match="with NO_PERMISSION: not you"):
        ask(broker.address, CODE, {"name": "a"}, 5)
    fine = (codes.SUCCESS, codes.NO_PERMISSION)
    assert ask(broker.address, CODE, {"name": "a"}, 5, fine=fine).fields["name"] == "a"
    broker.silent = True
    with pytest.raises(ClusterError, match="does not answer"):
        ask(broker.address, CODE, {"name": "a"}, 0.1)


def test_a_route_is_of_the_brokers_of_our_group() -> None:
    """Whoever has the number 0 is master, and gives messages; without one the first slave does,
    and nobody is master. A topic that is not known has no route."""

    def told(*brokers: tuple[str, Mapping[str, str]]) -> Route:
        data = ",".join(
            f'{{"brokerName":"{name}","brokerAddrs":{{{pairs(at)}}}}}' for name, at in brokers
        )
        queues = ",".join(
            f'{{"brokerName":"{name}","readQueueNums":9,"writeQueueNums":{4 + place},"perm":6}}'
            for place, (name, _) in enumerate(brokers)
        )
        body = f'{{"brokerDatas":[{data}],"queueDatas":[{queues}]}}'
        return route(Frame(codes.SUCCESS, body=body.encode()))

    def pairs(at: Mapping[str, str]) -> str:
        return ",".join(f'{number}:"{where}"' for number, where in at.items())

    found = told(("other", {"0": HERE}), ("rocketmq", {"1": HERE, "0": THERE}))
    assert (found.master, found.source, found.queues) == (address(THERE), address(THERE), 5)
    found = told(("rocketmq", {"2": HERE, "1": THERE}))
    assert (found.master, found.source, found.queues) == (None, address(THERE), 4)
    assert route(Frame(codes.TOPIC_NOT_EXIST)) == Route()
    assert (Route().master, Route().source) == (None, None)


def turned(watch: RouteWatch, wanted: Mapping[int, str], start_s: float) -> float:
    """Turn, on a clock that goes 20 ms further each time, until the route changes to that. The
    time then."""
    now = start_s

    def changed() -> bool:
        nonlocal now
        now += 0.02
        return watch.turn(now)

    wait_until(changed, "a change", 10, every_s=0.001)
    assert {number: str(at) for number, at in watch.route.brokers.items()} == wanted
    return now


def unchanged(watch: RouteWatch, broker: Broker, questions: int, start_s: float) -> float:
    """Turn in the same way until so many more questions have been asked; no answer may change the
    route. The time then."""
    now, asked = start_s, broker.asked[codes.GET_ROUTEINFO_BY_TOPIC]

    def asked_again() -> bool:
        nonlocal now
        now += 0.02
        assert not watch.turn(now)
        return broker.asked[codes.GET_ROUTEINFO_BY_TOPIC] >= asked + questions

    wait_until(asked_again, f"{questions} questions", 10, every_s=0.001)
    return now


def test_a_change_of_the_route_is_told(broker: Broker) -> None:
    """Of slaves too. Whoever is in a hurry asks until there is another master, not only once."""
    watch = RouteWatch([broker.address], "topic", every_s=10**6)
    broker.at = {"0": HERE}
    now = turned(watch, {0: HERE}, 1.0)
    watch.hurry()
    now = unchanged(watch, broker, 3, now)
    broker.at = {"1": HERE}
    now = turned(watch, {1: HERE}, now)
    broker.at = {"1": HERE, "0": THERE}
    now = turned(watch, {1: HERE, 0: THERE}, now)
    watch.close()


def test_a_change_of_slaves_alone_is_told(broker: Broker) -> None:
    """By the interval: a consumer may have to read from another one."""
    watch = RouteWatch([broker.address], "topic", every_s=0.1)
    broker.at = {"0": HERE}
    now = turned(watch, {0: HERE}, 1.0)
    broker.at = {"0": HERE, "1": THERE}
    turned(watch, {0: HERE, 1: THERE}, now)
    watch.close()


def test_a_name_server_that_knows_no_topic_yet_changes_nothing(broker: Broker) -> None:
    """It was just started. It is asked on in a hurry, until a broker has registered there."""
    watch = RouteWatch([broker.address], "topic", every_s=0.1)
    broker.at = {"0": HERE}
    now = turned(watch, {0: HERE}, 1.0)
    broker.at = None
    now = unchanged(watch, broker, 4, now)
    assert (watch.route.master, watch.route.queues) == (address(HERE), 4)
    broker.at = {"0": THERE}
    turned(watch, {0: THERE}, now)
    watch.close()


def test_a_name_server_that_says_nothing_is_left_for_the_next(brokers: list[Broker]) -> None:
    """Nobody waits for the one that is silent."""
    first, second = brokers
    first.silent = True
    second.at = {"0": THERE}
    watch = RouteWatch([first.address, second.address], "topic", every_s=0.1)
    turned(watch, {0: THERE}, 1.0)
    assert watch.line.address == second.address
    watch.close()
