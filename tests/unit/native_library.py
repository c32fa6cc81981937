"""A stand-in for the package rocketmq-client-python, for tests of what we make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from chaos_adapters.brokers.rocketmq.drivers.native.library import Loaded


class Failed(Exception):
    """As all exceptions of the package."""


class SendStatus(IntEnum):
    """What a broker answers."""

    OK = 0
    FLUSH_SLAVE_TIMEOUT = 2


class ConsumeStatus(IntEnum):
    """What a listener answers."""

    CONSUME_SUCCESS = 0
    RECONSUME_LATER = 1


class Result(NamedTuple):
    """Of a send."""

    status: SendStatus
    msg_id: str
    offset: int


@dataclass
class Received:
    """A message as a listener gets it."""

    body: bytes | None
    queue_id: int = 1
    queue_offset: int = 5
    reconsume_times: int = 0


@dataclass
class Package:
    """Has the module's names. `send` is what `send_sync` does, with the body."""

    send: Callable[[bytes], Result]
    destroyed: list[bytes] = field(default_factory=list)
    told: list[tuple[str, object]] = field(default_factory=list)
    listener: Callable[[Received], ConsumeStatus] | None = None
    SendStatus: type[SendStatus] = SendStatus
    ConsumeStatus: type[ConsumeStatus] = ConsumeStatus

    def loaded(self) -> Loaded:
        """As `library.load` gives it."""
        return Loaded(self, self, Failed)

    def Producer(self, group: str, **options: object) -> Client:  # noqa: N802
        """Of the package."""
        return Client(self)

    PushConsumer = Producer

    def Message(self, topic: str) -> Message:  # noqa: N802
        """Of the package."""
        return Message()

    def DestroyMessage(self, message: Message) -> int:  # noqa: N802
        """Of the library."""
        self.destroyed.append(message.body)
        return 0


class Message:
    """To be sent."""

    body = b""

    def set_keys(self, keys: bytes) -> None:
        """Not looked at."""

    def set_body(self, body: bytes) -> None:
        """What there is up to the first zero byte, as the library does it."""
        self.body = body.split(b"\0")[0]


@dataclass
class Client:
    """A producer or consumer, which keeps what it is told."""

    package: Package

    def send_sync(self, message: Message) -> Result:
        """As the test says."""
        return self.package.send(message.body)

    def subscribe(self, topic: str, listener: Callable[[Received], ConsumeStatus]) -> None:
        """For the test to call."""
        self.package.listener = listener

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def tell(*values: object) -> None:
            self.package.told.append((name, values[0] if values else None))

        return tell
