"""`client: rstream`: the stream protocol, by the package rstream.

Its `Client` is used: one connection, what is said on it, and how that is written down. Its Producer
and Consumer are not, as they know one address, tell nobody of some lost connections, and try again
by a policy of their own: docs/rabbitmq.md has the traps. asyncio is run by whoever calls, in
`turns`, and nothing of it is seen outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.spi import Address, Caveat, SendSink, Settings
from chaos_adapters.brokers.rabbitmq import settings as client_settings
from chaos_adapters.brokers.rabbitmq.drivers.rstream.settings import Consuming, Publishing
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

if TYPE_CHECKING:
    from chaos_adapters.brokers.rabbitmq.drivers.rstream.consumer import StreamConsumer
    from chaos_adapters.brokers.rabbitmq.drivers.rstream.producer import StreamProducer


class Rstream:
    """Driver."""

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """By name and kind."""
        return [*client_settings.problems(producer, consumer, Publishing(), Consuming())]

    def stream_problems(self, stream: Queues) -> Sequence[tuple[str, str]]:
        """Streams, and nothing else."""
        if stream.kind is Kind.STREAM:
            return []
        what = f"rstream knows streams, not {stream.kind} queues"
        return [("cluster.client", f"{what}: take `client: pika`, or `kind: stream`")]

    def caveats(
        self,
        release: int,  # noqa: ARG002
        stream: Queues,  # noqa: ARG002
        producer: Settings,
        consumer: Settings,
    ) -> Sequence[Caveat]:
        """Of sending again, of order, of positions."""
        return [*_caveats(Publishing(**producer), Consuming(**consumer))]  # type: ignore[arg-type]

    def producer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, sink: SendSink
    ) -> StreamProducer:
        """See Driver."""
        from chaos_adapters.brokers.rabbitmq.drivers.rstream.producer import StreamProducer

        return StreamProducer(clients, stream.names, Publishing(**settings), sink)  # type: ignore[arg-type]

    def consumer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, group: str
    ) -> StreamConsumer:
        """See Driver."""
        from chaos_adapters.brokers.rabbitmq.drivers.rstream.consumer import StreamConsumer

        return StreamConsumer(clients, stream.names, Consuming(**settings), group)  # type: ignore[arg-type]


def _caveats(producer: Publishing, consumer: Consuming) -> Iterator[Caveat]:
    """RabbitMQ documentation, "Streams", sections on deduplication and on offset tracking."""
    if producer.send_again and not producer.deduplicate:
        why = "a message whose confirmation was lost is stored twice, as the producer has no name"
        yield Caveat("duplication", "send_again=true", why)
    if not producer.deduplicate:  # with a name, what comes late has a number that is too low
        yield from client_settings.overtaken(producer)
    if consumer.store_offsets:
        why = "a stored position is not confirmed: who comes back may begin before it"
        yield Caveat("duplication", "store_offsets=true", why)
