"""Under which settings RabbitMQ does not promise what users want.

Sources: RabbitMQ documentation, "Reliability Guide", "Consumer Acknowledgements and Publisher
Confirms", "Classic Queue Mirroring" (sections on unsynchronised mirrors and on stopping nodes),
"Quorum Queues", "Clustering and Network Partitions", "Streams".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaos.spi import Caveat, Settings
from chaos_adapters.brokers.rabbitmq.settings import consuming, publishing
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

_NUMBERS_OF_ITS_OWN = 4
"""The first release that sends again under the numbers of the stream."""


def caveats(
    partition_handling: str,
    release: int,
    stream: Queues,
    producer: Settings,
    consumer: Settings,
) -> Sequence[Caveat]:
    """All that hold, most telling first; `release` is the first number of the version."""
    return [
        *_clients(producer, consumer),
        *_copies(stream),
        *_streams(release, stream),
        *_mirrors(stream),
        *_parted(partition_handling, stream),
        *_memory(stream, producer),
    ]


def _clients(producer: Settings, consumer: Settings) -> Iterator[Caveat]:
    if not publishing(producer).confirms:
        why = "nobody tells the producer what the broker did not get"
        yield Caveat("loss", "confirms=false", why)
    if consuming(consumer).auto_ack:
        why = "a message counts as done with once it was sent to a consumer, which may die"
        yield Caveat("loss", "auto_ack=true", why)


def _copies(stream: Queues) -> Iterator[Caveat]:
    if stream.kind in (Kind.QUORUM, Kind.STREAM) and stream.replicas < 3:
        yield Caveat("loss", f"replicas={stream.replicas}", "the loss of one node is not survived")
    if stream.kind is Kind.CLASSIC:
        yield Caveat("loss", "kind=classic", "there is no second copy")


def _streams(release: int, stream: Queues) -> Iterator[Caveat]:
    """rabbitmq-server c68c9a48c3, which is in 4.0 and not in 3.13.7."""
    if stream.kind is Kind.STREAM and stream.queues > 1 and release < _NUMBERS_OF_ITS_OWN:
        why = "a channel that publishes to several streams loses messages when a leader dies"
        yield Caveat("loss", f"queues={stream.queues}", f"{why}, up to 3.13")


def _mirrors(stream: Queues) -> Iterator[Caveat]:
    if stream.kind is not Kind.MIRRORED:
        return
    policy = stream.in_force
    if policy.get("ha-promote-on-failure", "always") != "when-synced":
        why = "a mirror that lacks messages may become leader"
        yield Caveat("loss", "ha-promote-on-failure=always", why)
    if policy.get("ha-promote-on-shutdown", "when-synced") == "always":
        why = "a mirror that lacks messages may become leader when the leader is stopped"
        yield Caveat("loss", "ha-promote-on-shutdown=always", why)
    if policy.get("ha-sync-mode", "manual") != "automatic":
        why = "a mirror that was away never gets the messages that it missed"
        yield Caveat("loss", "ha-sync-mode=manual", why)


def _parted(handling: str, stream: Queues) -> Iterator[Caveat]:
    """Quorum queues and streams go by majority, whatever the cluster does about a partition."""
    if handling == "pause_minority" or stream.kind in (Kind.QUORUM, Kind.STREAM):
        return
    why = {
        "autoheal": "both sides of a partition go on, and one of them is thrown away",
        "ignore": "both sides of a partition go on, and stay apart until one is restarted",
    }[handling]
    yield Caveat("loss", f"partition_handling={handling}", why)
    yield Caveat("divergence", f"partition_handling={handling}", why)


def _memory(stream: Queues, producer: Settings) -> Iterator[Caveat]:
    if stream.kind not in (Kind.CLASSIC, Kind.MIRRORED):
        return
    if not stream.durable:
        yield Caveat("loss", "durable=false", "the queue is gone when its node restarts")
    if not publishing(producer).persistent:
        why = "messages are kept in memory, and gone when their node restarts"
        yield Caveat("loss", "persistent=false", why)
