"""How a client of RabbitMQ goes on when its connection is lost, and to which node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from pika.exceptions import AMQPError, ConnectionClosedByBroker
from pika.frame import Method
from pika.spec import Connection

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq import line
from chaos_adapters.brokers.rabbitmq.line import Line
from chaos_adapters.brokers.rabbitmq.settings import Connecting

CLIENTS = {f"rabbitmq-{number}": Address("127.0.0.1", 5000 + number) for number in (1, 2, 3)}
NAMES = {address.port: name for name, address in CLIENTS.items()}


class _Clock:
    """Which stands still, or advances by `step_s` whenever it is looked at."""

    now_s, step_s = 100.0, 0.0

    def monotonic(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class _Connection:
    """What pika makes in place of it; a test says what becomes of it."""

    is_closing = is_closed = is_broken_off = False

    def __init__(
        self, parameters: Any, opened: Any, failed: Any, closed: Any, custom_ioloop: Any
    ) -> None:
        self.parameters, self.loop = parameters, custom_ioloop
        self._opened, self._failed, self._closed = opened, failed, closed
        self._up = False
        self.written: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return self._up and not (self.is_closing or self.is_closed)

    def open(self) -> None:
        self._up = True
        self._opened(self)

    def lose(self) -> None:
        """It ends, or never came about."""
        self.is_closed = True
        (self._closed if self._up else self._failed)(self, ConnectionClosedByBroker(320, "over"))

    def _terminate_stream(self, error: Exception) -> None:
        """As `close`, but what was under way is not waited for."""
        self.is_broken_off = True
        self.close()

    def close(self) -> None:
        """Closed is it in a later turn only; one that is not open is not to be closed."""
        assert self.is_open
        self.is_closing = True
        self.loop.call_later(0, self.lose)

    def add_on_connection_blocked_callback(self, told: Callable[..., None]) -> None:
        self.blocked = told

    def add_on_connection_unblocked_callback(self, told: Callable[..., None]) -> None:
        self.unblocked = told

    def _get_write_buffer_size(self) -> int:
        return 7

    def _output_marshaled_frames(self, frames: list[bytes]) -> None:
        self.written += frames


class _Scene:
    """All that was tried, and what the line told of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.made, self.lost = _Clock(), list[_Connection](), 0
        self.opened: list[_Connection] = []
        self.lines: list[Line] = []
        monkeypatch.setattr(line, "time", self.clock)
        monkeypatch.setattr(line, "SelectConnection", self._make)

    def _make(self, *given: Any, **named: Any) -> _Connection:
        self.made.append(_Connection(*given, **named))
        return self.made[-1]

    def _count(self) -> None:
        self.lost += 1

    def line(self, **settings: Any) -> Line:
        opened: Any = self.opened.append
        self.lines.append(Line(CLIENTS, Connecting(**settings), opened, self._count))
        return self.lines[-1]

    def tried(self, after_s: float = 0.0) -> list[str]:
        """The nodes that were tried, when that much time has passed, in turns that do not wait."""
        self.clock.now_s += after_s
        for _ in range(3):
            self.lines[-1].turn(0.0)
        return [NAMES[each.parameters.port] for each in self.made]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Scene]:
    scene = _Scene(monkeypatch)
    yield scene
    for each in scene.lines:
        each.close()


def test_the_next_node_is_tried_at_once_and_after_all_of_them_there_is_a_rest(
    scene: _Scene,
) -> None:
    """Round and round from where it was connected last, which is told."""
    ours = scene.line(reconnect_pause=0.5)
    assert scene.tried() == ["rabbitmq-1"]
    assert ours.node is None
    scene.made[-1].open()
    assert (ours.node, scene.opened, scene.lost) == ("rabbitmq-1", scene.made, 0)
    scene.made[-1].lose()
    assert (ours.node, scene.lost) == (None, 1)
    assert scene.tried()[1:] == ["rabbitmq-2"]
    scene.made[-1].lose()
    assert scene.tried()[2:] == ["rabbitmq-3"]
    scene.made[-1].lose()
    assert scene.tried(0.49)[3:] == []
    assert scene.tried(0.02)[3:] == ["rabbitmq-1"]
    scene.made[-1].lose()
    assert scene.tried()[4:] == ["rabbitmq-2"]
    scene.made[-1].open()
    assert ours.node == "rabbitmq-2"
    assert scene.lost == 1, "what never came about was not lost"
    scene.made[-1].lose()
    assert scene.tried()[5:] == ["rabbitmq-3"]
    scene.made[-1].lose()
    assert scene.tried()[6:] == ["rabbitmq-1"], "the round began where it was connected last"


def test_a_pinned_client_stays_with_its_first_node(scene: _Scene) -> None:
    """However often that one fails; it rests between any two tries."""
    scene.line(pinned=True, reconnect_pause=0.5)
    for count in range(1, 4):
        assert scene.tried(0.5) == ["rabbitmq-1"] * count
        if count == 2:
            scene.made[-1].open()
        scene.made[-1].lose()
        assert scene.tried(0.4) == ["rabbitmq-1"] * count


@contextmanager
def _silent(*, accepts: bool) -> Iterator[Address]:
    """What lets connections in and says nothing, or is deaf to them as a dead machine is: with a
    full queue of connections the kernel drops the packets that ask for another one."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(8 if accepts else 0)
        for _ in range(0 if accepts else 4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())


@pytest.mark.parametrize("accepts", [True, False])
def test_a_node_that_does_not_let_it_in_within_the_time_is_left(accepts: bool) -> None:
    """Here by pika itself; what it says at that is nothing that ends the client."""
    with _silent(accepts=accepts) as silent, socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(30)
        clients = {"rabbitmq-1": silent, "rabbitmq-2": Address(*other.getsockname())}
        ours = Line(clients, Connecting(connect_timeout=0.3), lambda _: None, lambda: None)
        ready = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            came = threads.submit(other.accept)
            came.add_done_callback(lambda _: ready.set())
            while not ready.is_set():
                ours.turn(0.05)
        came.result()[0].close()
        ours.close()


@pytest.mark.parametrize(("reason", "told"), [("low on memory", "low on memory"), ("", "blocked")])
def test_a_node_that_takes_nothing_is_told_until_it_does_or_the_connection_is_over(
    scene: _Scene, reason: str, told: str
) -> None:
    """As the node says it; a new connection begins without."""
    ours = scene.line()
    scene.tried()
    connection = scene.made[-1]
    connection.open()
    for end in (lambda: connection.unblocked(connection, None), connection.lose):
        connection.blocked(connection, Method(0, Connection.Blocked(reason)))
        assert ours.blocked == told
        end()
        assert ours.blocked == ""


def test_settings_reach_the_connection(scene: _Scene) -> None:
    """Under pika's names, with one attempt: the next one is another node's."""
    scene.line(heartbeat=4, connect_timeout=1.5)
    scene.tried()
    parameters = scene.made[0].parameters
    assert (parameters.heartbeat, parameters.connection_attempts) == (4, 1)
    assert (parameters.socket_timeout, parameters.stack_timeout) == (1.5, 1.5)


def test_frames_leave_in_one_piece_while_there_is_a_connection(scene: _Scene) -> None:
    """What cannot leave yet is counted."""
    ours = scene.line()
    ours.write([b"nothing"])
    assert ours.unwritten == 0
    scene.tried()
    scene.made[-1].open()
    ours.write([b"a", b"b"])
    ours.write([])
    assert scene.made[-1].written == [b"ab"]
    assert ours.unwritten == 7


def test_an_error_of_writing_is_not_the_callers(scene: _Scene) -> None:
    """The connection that it came of tells its own end."""
    ours, done = scene.line(), list[int]()

    def fail() -> None:
        done.append(1)
        raise AMQPError("closed while writing")

    scene.tried()
    scene.made[-1].loop.call_later(0, fail)
    ours.turn(0.0)
    ours.turn(0.0)
    assert done == [1]


def test_nobody_lets_it_in(scene: _Scene) -> None:
    """Which is told with their names when the time is up."""
    ours, scene.clock.step_s = scene.line(), 0.5

    def ready() -> bool:
        if not scene.made[-1].is_closed:
            scene.made[-1].lose()
        return False

    scene.tried()
    with pytest.raises(ClusterError, match="none of rabbitmq-1, rabbitmq-2, rabbitmq-3"):
        ours.connect(20.0, ready)
    assert {NAMES[each.parameters.port] for each in scene.made} == set(CLIENTS)
    assert scene.clock.now_s < 130


def test_who_closes_tries_nobody_any_more(scene: _Scene) -> None:
    """Whatever happened before."""
    ours = scene.line()
    scene.tried()
    scene.made[-1].open()
    ours.close()
    assert scene.made[-1].is_closed
    assert scene.lost == 1
    assert len(scene.made) == 1
    scene.lines.clear()


def test_a_connection_that_is_left_is_broken_off_and_has_no_say_any_more(scene: _Scene) -> None:
    """The next node is tried in the next turn; a pinned client tries its own again."""
    for pinned, second in ((False, "rabbitmq-2"), (True, "rabbitmq-1")):
        scene.made.clear()
        ours = scene.line(pinned=pinned, reconnect_pause=0)
        scene.tried()
        (old,) = scene.made
        old.open()
        ours.leave()
        assert (old.is_broken_off, ours.node) == (True, None)
        assert scene.tried() == ["rabbitmq-1", second]
        scene.made[-1].open()
        old.blocked(old, Method(0, Connection.Blocked("low on disk")))
        assert (ours.node, ours.blocked, old.is_closed) == (second, "", True)
        assert scene.lost == 0
