"""`client: native`, the package rocketmq-client-python: what an application of that client sees.

Sources of what it does: rocketmq-client-cpp 1.2.4, and docs/rocketmq.md for what was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.spi import Address, Caveat, SendSink, Settings
from chaos_adapters.brokers.rocketmq import settings as client_settings
from chaos_adapters.brokers.rocketmq.drivers.native import library
from chaos_adapters.brokers.rocketmq.drivers.native.settings import (
    ConsumerSettings,
    ProducerSettings,
)

if TYPE_CHECKING:
    from chaos_adapters.brokers.rocketmq.drivers.native.consumer import NativeConsumer
    from chaos_adapters.brokers.rocketmq.drivers.native.producer import NativeProducer


class Native:
    """Driver, Crashing."""

    crashes = "the native library of rocketmq-client-python aborts some processes"

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """A library that is missing, and settings that this client does not have."""
        missing = [("cluster.client", why)] if (why := library.missing()) else []
        wrong = client_settings.problems(producer, consumer, ProducerSettings, ConsumerSettings)
        return [*missing, *wrong]

    def caveats(self, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """Sending again, and order."""
        return [*_caveats(producer, consumer)]

    def producer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, sink: SendSink
    ) -> NativeProducer:
        """See Driver."""
        from chaos_adapters.brokers.rocketmq.drivers.native.producer import NativeProducer

        return NativeProducer(clients, topic, ProducerSettings(**settings), sink)  # type: ignore[arg-type]

    def consumer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, group: str
    ) -> NativeConsumer:
        """See Driver."""
        from chaos_adapters.brokers.rocketmq.drivers.native.consumer import NativeConsumer

        return NativeConsumer(clients, topic, group, ConsumerSettings(**settings))  # type: ignore[arg-type]


def _caveats(producer: Settings, consumer: Settings) -> Iterator[Caveat]:
    why = "a message without a good answer is sent up to five times, whoever stored it"
    yield Caveat("duplication", "client=native", why)
    if not producer.get("orderly"):
        yield Caveat("ordering", "orderly=false", "several threads send at once")
    else:
        yield client_settings.overtaken(producer, ProducerSettings.sendMsgTimeout)
    if not consumer.get("orderly"):
        yield Caveat("ordering", "orderly=false", "several threads receive at once")
