"""`client: remoting`, our own driver of the remoting protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chaos.spi import Address, Caveat, SendSink, Settings, Transactions
from chaos_adapters.brokers.rocketmq import settings as client_settings
from chaos_adapters.brokers.rocketmq.consumer import RemotingConsumer
from chaos_adapters.brokers.rocketmq.producer import RemotingProducer
from chaos_adapters.brokers.rocketmq.settings import ConsumerSettings, ProducerSettings


class Remoting:
    """Driver, Transacting. Settings are named as in RocketMQ's Java client."""

    def problems(self, producer: Settings, consumer: Settings) -> Sequence[tuple[str, str]]:
        """By name and kind."""
        return [*client_settings.problems(producer, consumer, ProducerSettings, ConsumerSettings)]

    def caveats(self, producer: Settings, consumer: Settings) -> Sequence[Caveat]:
        """Sending again, overtaking, skipping."""
        return [*_caveats(producer, consumer)]

    def producer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, sink: SendSink
    ) -> RemotingProducer:
        """See Driver."""
        return RemotingProducer(clients, topic, ProducerSettings(**settings), sink)  # type: ignore[arg-type]

    def transactional_producer(
        self,
        clients: Mapping[str, Address],
        topic: str,
        settings: Settings,
        sink: SendSink,
        transactions: Transactions,
    ) -> RemotingProducer:
        """See Transacting."""
        chosen = ProducerSettings(**settings)  # type: ignore[arg-type]
        return RemotingProducer(clients, topic, chosen, sink, transactions)

    def consumer(
        self, clients: Mapping[str, Address], topic: str, settings: Settings, group: str
    ) -> RemotingConsumer:
        """See Driver."""
        return RemotingConsumer(clients, topic, group, ConsumerSettings(**settings))  # type: ignore[arg-type]


def _caveats(producer: Settings, consumer: Settings) -> Iterator[Caveat]:
    if str(producer.get("waitStoreMsgOK", True)).lower() == "false":
        why = "the broker acknowledges before the message is flushed and copied"
        yield Caveat("loss", "waitStoreMsgOK=false", why)
    if retries := int(producer.get("retryTimesWhenSendFailed", 0)):
        why = "a message that is sent again after a lost answer is stored twice"
        yield Caveat("duplication", f"retryTimesWhenSendFailed={retries}", why)
    if producer.get(client_settings.IN_TRANSACTIONS):
        why = "a half message that its producer ends while a broker asks about it is stored by both"
        yield Caveat("duplication", "transactions", why)
    if str(producer.get("orderly", False)).lower() != "true":
        why = "several messages of a queue are open at once: one that is refused is overtaken"
        yield Caveat("ordering", "orderly=false", why)
    else:
        yield client_settings.overtaken(producer, ProducerSettings.sendMsgTimeout)
    if level := int(producer.get("delayTimeLevel", 0)):
        why = "a new master delivers again what came due in the 10 s before the old one was gone"
        yield Caveat("duplication", f"delayTimeLevel={level}", why)
    if str(consumer.get("consumeFromWhere", "first")) == "last":
        why = "a group without a position skips what came before"
        yield Caveat("loss", "consumeFromWhere=last", why)
