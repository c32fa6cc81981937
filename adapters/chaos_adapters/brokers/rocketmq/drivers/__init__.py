"""The client libraries that the load can use: `client` of the cluster chooses one.

A driver is a class without parameters, in a module of its own that nothing else imports; a new one
is one more line in `DRIVERS`. It runs in worker processes only, each of which loads one driver's
library: those of Python all own the import name `rocketmq`. Reading back, observing and
administering are never a driver's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Literal, Protocol, runtime_checkable

from chaos.spi import Address, Caveat, Consumer, Producer, SendSink, Settings, Transactions

Name = Literal["remoting", "native", "grpc"]

DRIVERS: Mapping[Name, str] = {
    "remoting": "chaos_adapters.brokers.rocketmq.drivers.remoting:Remoting",
    "native": "chaos_adapters.brokers.rocketmq.drivers.native:Native",
    "grpc": "chaos_adapters.brokers.rocketmq.drivers.grpc:Grpc",
}


class Driver(Protocol):
    """A client library."""

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """Why clients with these settings cannot run here, as (path in the experiment, what to
        do); empty: they can."""

    def caveats(self, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """What these clients do not promise, whatever the brokers do."""

    def producer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, sink: SendSink
    ) -> Producer:
        """See spi.Broker."""

    def consumer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, group: str
    ) -> Consumer:
        """See spi.Broker."""


@runtime_checkable
class Transacting(Protocol):
    """Ability of a Driver: it sends in transactions."""

    def transactional_producer(
        self,
        clients: Mapping[str, Address],
        topic: str,
        settings: Settings,
        sink: SendSink,
        transactions: Transactions,
    ) -> Producer:
        """See spi.Transacts."""


@runtime_checkable
class Crashing(Protocol):
    """Ability of a Driver: its library is known to end its process, and says so in `crashes`."""

    crashes: str


@runtime_checkable
class Proxied(Protocol):
    """Ability of a Driver: its clients talk to a proxy, which is a node of its own."""

    proxied: bool


def driver(name: Name) -> Driver:
    """A driver by its name."""
    found: Driver = resolve_name(DRIVERS[name])()
    return found
