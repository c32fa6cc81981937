"""Under which settings RabbitMQ does not promise what users want.

Sources: RabbitMQ documentation, "Reliability Guide", "Consumer Acknowledgements and Publisher
Confirms", "Classic Queue Mirroring" (sections on unsynchronised mirrors and on stopping nodes),
"Quorum Queues", "Clustering and Network Partitions", "Streams".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaos.spi import Caveat
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues


def caveats(partition_handling: str, stream: Queues) -> Sequence[Caveat]:
    """All that hold whoever the clients are, most telling first."""
    return [
        *_copies(stream),
        *_mirrors(stream),
        *_parted(partition_handling, stream),
        *_memory(stream),
    ]


def _copies(stream: Queues) -> Iterator[Caveat]:
    if stream.kind in (Kind.QUORUM, Kind.STREAM) and stream.replicas < 3:
        yield Caveat("loss", f"replicas={stream.replicas}", "the loss of one node is not survived")
    if stream.kind is Kind.CLASSIC:
        yield Caveat("loss", "kind=classic", "there is no second copy")


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


def _memory(stream: Queues) -> Iterator[Caveat]:
    if stream.kind in (Kind.CLASSIC, Kind.MIRRORED) and not stream.durable:
        yield Caveat("loss", "durable=false", "the queue is gone when its node restarts")
