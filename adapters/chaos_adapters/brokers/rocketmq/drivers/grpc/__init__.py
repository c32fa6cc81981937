"""`client: grpc`, Apache's package rocketmq-python-client, through a proxy.

Sources of what it does: its version 5.1.2, the proxy of RocketMQ 5.3.3, and docs/rocketmq.md for
what was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.spi import Address, Caveat, SendSink, Settings
from chaos_adapters.brokers.rocketmq import settings as client_settings
from chaos_adapters.brokers.rocketmq.drivers.grpc import library
from chaos_adapters.brokers.rocketmq.drivers.grpc.settings import (
    LEAST_INVISIBLE_S,
    ConsumerSettings,
    ProducerSettings,
)

if TYPE_CHECKING:
    from chaos_adapters.brokers.rocketmq.drivers.grpc.consumer import GrpcConsumer
    from chaos_adapters.brokers.rocketmq.drivers.grpc.producer import GrpcProducer


class Grpc:
    """Driver, Proxied."""

    proxied = True

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """A package that is missing, and settings that this client does not have."""
        missing = [("cluster.client", why)] if (why := library.missing()) else []
        wrong = [*client_settings.problems(producer, consumer, ProducerSettings, ConsumerSettings)]
        kept_s = consumer.get("invisibleDuration", LEAST_INVISIBLE_S)
        if not wrong and int(kept_s) < LEAST_INVISIBLE_S:
            what = f"{kept_s} is too small: the proxy takes no less than {LEAST_INVISIBLE_S}"
            wrong = [("load.consumers.settings.invisibleDuration", what)]
        return [*missing, *wrong]

    def caveats(
        self,
        producer: Settings,
        consumer: Settings,  # noqa: ARG002 - none weakens more than all do
    ) -> Sequence[Caveat]:
        """Sending again, and order."""
        return [*_caveats(producer)]

    def producer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, sink: SendSink
    ) -> GrpcProducer:
        """See Driver."""
        from chaos_adapters.brokers.rocketmq.drivers.grpc.producer import GrpcProducer

        return GrpcProducer(clients, topic, ProducerSettings(**settings), sink)  # type: ignore[arg-type]

    def consumer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, group: str
    ) -> GrpcConsumer:
        """See Driver."""
        from chaos_adapters.brokers.rocketmq.drivers.grpc.consumer import GrpcConsumer

        return GrpcConsumer(clients, topic, group, ConsumerSettings(**settings))  # type: ignore[arg-type]


def _caveats(producer: Settings) -> Iterator[Caveat]:
    why = "a message without a good answer is sent up to three times, whoever stored it"
    yield Caveat("duplication", "client=grpc", why)
    if not producer.get("orderly"):
        yield Caveat("ordering", "orderly=false", "many messages are under way at once")
    why = "consumers of the proxy share the messages of a queue, not the queues"
    yield Caveat("ordering", "client=grpc", why)
