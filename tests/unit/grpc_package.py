"""A stand-in for the package rocketmq-python-client, for tests of what we make of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import Any

from chaos_adapters.brokers.rocketmq.drivers.grpc.library import Loaded


class Code(IntEnum):
    """Some of what a proxy answers."""

    SLAVE_PERSISTENCE_TIMEOUT = 50402
    INTERNAL_SERVER_ERROR = 50001

    @classmethod
    def values(cls) -> list[int]:
        """As protobuf's enumerations have it."""
        return [each.value for each in cls]

    @classmethod
    def Name(cls, value: int) -> str:  # noqa: N802 - as protobuf's
        """The same."""
        return cls(value).name


class Failed(Exception):
    """As the package's exceptions: `code` is a number or absent."""

    def __init__(self, code: int | None) -> None:
        super().__init__("a text with addresses")
        self.code = code


class RpcFailed(Exception):
    """As gRPC's: `code` is a method."""

    def code(self) -> Any:
        """Of gRPC."""
        return _Named("UNAVAILABLE")


@dataclass(frozen=True)
class _Named:
    name: str


@dataclass(frozen=True)
class Receipt:
    """Of a send; the queue in it is not the one that the message went to."""

    offset: int
    message_queue: object = None


@dataclass
class Message:
    """To be sent, or received."""

    topic: str = ""
    body: bytes | None = None
    keys: str = ""
    delivery_attempt: int | None = None
    receipt_handle: str | None = None


@dataclass
class Package:
    """Has the module's names. `answer` is what becomes of a send, by body: a receipt, or an
    exception that its future holds; what it raises, `send_async` raises."""

    answer: Callable[[bytes], Receipt | Exception] = lambda body: Receipt(0)
    held: bool = False
    """Whether outcomes wait for `let_go`."""
    endpoints: str = ""
    sent: list[Message] = field(default_factory=list)
    waiting: list[tuple[Future[Receipt], bytes]] = field(default_factory=list)
    coming: SimpleQueue[Message | Exception] = field(default_factory=SimpleQueue)
    acknowledged: list[bytes | None] = field(default_factory=list)
    back: list[tuple[bytes | None, int]] = field(default_factory=list)
    down: threading.Event = field(default_factory=threading.Event)
    Message: type[Message] = Message

    def loaded(self) -> Loaded:
        """As `library.load` gives it."""
        return Loaded(self, Code)

    def Credentials(self) -> None:  # noqa: N802
        """None."""

    def FilterExpression(self) -> str:  # noqa: N802
        """All messages."""
        return "*"

    def ClientConfiguration(  # noqa: N802
        self, endpoints: str, credentials: None, request_timeout: int
    ) -> None:
        """Keeps the endpoints."""
        self.endpoints = endpoints

    def Producer(self, about: None, topics: tuple[str, ...]) -> Client:  # noqa: N802
        """Of the package."""
        return Client(self)

    def SimpleConsumer(  # noqa: N802
        self, about: None, group: str, every: Mapping[str, str], await_s: int
    ) -> Client:
        """Of the package."""
        return Client(self)

    def let_go(self) -> None:
        """Answer what waits."""
        waiting, self.waiting = self.waiting, []
        for future, body in waiting:
            found = self.answer(body)
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(found)


@dataclass
class Client:
    """A producer or consumer."""

    package: Package

    def startup(self) -> None:
        """Nothing to connect to."""

    def shutdown(self) -> None:
        """Nothing to close."""
        self.package.down.set()

    def send_async(self, message: Message) -> Future[Receipt]:
        """As the test says."""
        self.package.sent.append(message)
        if (message.body or b"").endswith(b"no route"):
            raise Exception("failed to fetch topic:chaos route.")
        future: Future[Receipt] = Future()
        self.package.waiting.append((future, message.body or b""))
        if not self.package.held:
            self.package.let_go()
        return future

    def receive(self, most: int, kept_s: int) -> list[Message]:
        """What the test has put there."""
        try:
            found = self.package.coming.get(timeout=0.01)
        except Empty:
            return []
        if isinstance(found, Exception):
            raise found
        return [found]

    def ack(self, message: Message) -> None:
        """Kept."""
        self.package.acknowledged.append(message.body)

    def change_invisible_duration(self, message: Message, kept_s: int) -> None:
        """Kept."""
        self.package.back.append((message.body, kept_s))
