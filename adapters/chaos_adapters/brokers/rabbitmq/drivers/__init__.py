"""The client libraries that the load can use: `client` of the cluster chooses one.

A driver is a class without parameters, in a module that nothing else imports; a new one is one more
line in `DRIVERS`. Reading back, observing and administering are never a driver's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Literal, Protocol

from chaos.spi import Address, Caveat, Consumer, Producer, SendSink, Settings
from chaos_adapters.brokers.rabbitmq.stream import Queues

Name = Literal["pika", "rstream"]

DRIVERS: Mapping[Name, str] = {
    "pika": "chaos_adapters.brokers.rabbitmq.drivers.amqp:Amqp",
    "rstream": "chaos_adapters.brokers.rabbitmq.drivers.rstream:Rstream",
}


class Driver(Protocol):
    """A client library."""

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """What is wrong with these settings, as (path in the experiment, what to do)."""

    def stream_problems(self, stream: Queues) -> Sequence[tuple[str, str]]:
        """Why it cannot use such queues, likewise."""

    def caveats(
        self, release: int, stream: Queues, producer: Settings, consumer: Settings
    ) -> Sequence[Caveat]:
        """What these clients do not promise; `release` is the first number of the version."""

    def producer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, sink: SendSink
    ) -> Producer:
        """See spi.Broker."""

    def consumer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, group: str
    ) -> Consumer:
        """See spi.Broker."""


def driver(name: Name) -> Driver:
    """A driver by its name."""
    found: Driver = resolve_name(DRIVERS[name])()
    return found
