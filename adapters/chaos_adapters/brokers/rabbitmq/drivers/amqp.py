"""`client: pika`: AMQP 0.9.1, for queues of all kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chaos.spi import Address, Caveat, SendSink, Settings
from chaos_adapters.brokers.rabbitmq import settings as client_settings
from chaos_adapters.brokers.rabbitmq.consumer import RabbitConsumer
from chaos_adapters.brokers.rabbitmq.producer import RabbitProducer
from chaos_adapters.brokers.rabbitmq.settings import Consuming, Publishing
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

_NUMBERS_OF_ITS_OWN = 4
"""The first release that sends again under the numbers of the stream."""


class Amqp:
    """Driver."""

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """By name and kind."""
        return [*client_settings.problems(producer, consumer, Publishing(), Consuming())]

    def stream_problems(self, stream: Queues) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        """None: AMQP has all kinds."""
        return []

    def caveats(
        self, release: int, stream: Queues, producer: Settings, consumer: Settings
    ) -> Sequence[Caveat]:
        """Of confirms, acknowledgements, channels, order, messages kept in memory."""
        return [*_caveats(release, stream, Publishing(**producer), Consuming(**consumer))]  # type: ignore[arg-type]

    def producer(
        self, clients: Mapping[str, Address], stream: Queues, settings: Settings, sink: SendSink
    ) -> RabbitProducer:
        """See Driver."""
        return RabbitProducer(clients, stream.names, Publishing(**settings), sink)  # type: ignore[arg-type]

    def consumer(
        self,
        clients: Mapping[str, Address],
        stream: Queues,
        settings: Settings,
        group: str,  # noqa: ARG002 - whoever consumes a queue shares it
    ) -> RabbitConsumer:
        """See Driver. Consumers of a queue share it; each one of a stream gets all of it."""
        return RabbitConsumer(clients, stream.names, Consuming(**settings), stream.consumed)  # type: ignore[arg-type]


def _caveats(
    release: int, stream: Queues, producer: Publishing, consumer: Consuming
) -> Iterator[Caveat]:
    """That of streams: rabbitmq-server c68c9a48c3, which is in 4.0 and not in 3.13.7."""
    if not producer.confirms:
        why = "nobody tells the producer what the broker did not get"
        yield Caveat("loss", "confirms=false", why)
    if not producer.mandatory:
        why = "a message that no queue takes is confirmed all the same, and gone"
        yield Caveat("loss", "mandatory=false", why)
    if consumer.auto_ack:
        why = "a message counts as done with once it was sent to a consumer, which may die"
        yield Caveat("loss", "auto_ack=true", why)
    if stream.kind is Kind.STREAM and stream.queues > 1 and release < _NUMBERS_OF_ITS_OWN:
        why = "a channel that publishes to several streams loses messages when a leader dies"
        yield Caveat("loss", f"queues={stream.queues}", f"{why}, up to 3.13")
    if stream.kind in (Kind.CLASSIC, Kind.MIRRORED) and not producer.persistent:
        why = "messages are kept in memory, and gone when their node restarts"
        yield Caveat("loss", "persistent=false", why)
    yield from client_settings.overtaken(producer)
