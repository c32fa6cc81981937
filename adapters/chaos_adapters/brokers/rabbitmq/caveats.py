"""Under which settings RabbitMQ does not promise what users want.

Sources: RabbitMQ documentation, "Reliability Guide", "Consumer Acknowledgements and Publisher
Confirms", "Classic Queue Mirroring" (sections on unsynchronised mirrors and on stopping nodes),
"Quorum Queues" (section on poison messages; release notes of 4.0), "Clustering and Network
Partitions", "Streams", "Time-To-Live and Expiration", "Queue Length Limit"; rabbitmq-server,
rabbit_classic_queue_index_v2.erl (`sync`), rabbit_variable_queue.erl (the version by default).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaos.spi import Caveat, Settings
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

_UNLIMITED = 3
"""The last release without a limit of deliveries."""
_SYNCED = 3
"""The last release with classic queues of version 1."""
_DROPPING = {
    "message-ttl": "messages are dropped when they are that old",
    "expires": "a queue that nobody uses for that long is deleted with all it has",
    "max-length": "what is more is dropped from the head of the queue",
    "max-length-bytes": "what is more is dropped from the head of the queue",
    "max-age": "what is older is dropped",
}


def caveats(release: int, partition_handling: str, stream: Queues) -> Sequence[Caveat]:
    """All that hold whoever the clients are, most telling first; `release` is the first number of
    the version."""
    return [
        *_copies(stream),
        *_mirrors(stream),
        *_parted(partition_handling, stream),
        *_memory(stream),
        *_dropped(stream),
        *_come_again(release, stream),
    ]


def cache_caveats(release: int, settings: Settings, stream: Queues) -> Sequence[Caveat]:
    """Whose copies may confirm what no disk has yet: streams never force anything to the disk, nor
    do classic queues of version 2, the only one from 4.0 on."""
    why = "copies confirm what is in their memory, and all of them may lose that at once"
    if stream.kind is Kind.STREAM:
        return [Caveat("loss", "kind=stream", why)]
    if stream.kind in (Kind.CLASSIC, Kind.MIRRORED):
        by_default = settings.get("classic_queue.default_version", 1)
        version = _set(stream, "queue-version")
        if release > _SYNCED or str(by_default if version is None else version) == "2":
            return [Caveat("loss", "queue-version=2", why)]
    return []


def _copies(stream: Queues) -> Iterator[Caveat]:
    if stream.kind in (Kind.QUORUM, Kind.STREAM) and stream.replicas < 3:
        yield Caveat("loss", f"replicas={stream.replicas}", "the loss of one node is not survived")
    if stream.kind is Kind.CLASSIC:
        yield Caveat("loss", "kind=classic", "there is no second copy")


def _mirrors(stream: Queues) -> Iterator[Caveat]:
    if stream.kind is not Kind.MIRRORED:
        return
    policy = stream.in_force
    if policy["ha-mode"] == "exactly" and policy.get("ha-params") == 1:
        yield Caveat("loss", "ha-params=1", "there is no second copy")
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


def _dropped(stream: Queues) -> Iterator[Caveat]:
    """By policy or argument; a queue that refuses what is too much says so to the producer."""
    for key, why in _DROPPING.items():
        if key.startswith("max-length") and _refuses(stream):
            continue
        if (value := _set(stream, key)) is not None:
            yield Caveat("loss", f"{key}={value}", why)


def _refuses(stream: Queues) -> bool:
    """Whether a queue that is full takes nothing more. Of the policy and the argument, quorum
    queues go by the policy, and take `reject-publish-dlx` for no word that they know
    (rabbit_quorum_queue: ra_machine_config, overflow); classic ones go by the argument."""
    by_policy = stream.policy.get("overflow")
    by_argument = stream.declared(0).get("x-overflow")
    if stream.kind is Kind.QUORUM:
        return (by_argument if by_policy is None else by_policy) == "reject-publish"
    how = by_policy if by_argument is None else by_argument
    return stream.kind is not Kind.STREAM and how in ("reject-publish", "reject-publish-dlx")


def _come_again(release: int, stream: Queues) -> Iterator[Caveat]:
    """What came too often is gone without a dead-letter exchange; through one of somebody's own it
    goes where nobody looks for it."""
    if stream.kind is not Kind.QUORUM or stream.delivery_limit is not None:
        return
    limit = stream.policy.get("delivery-limit")
    if isinstance(limit, int) and limit < 0:
        return
    gone = "dropped" if _set(stream, "dead-letter-exchange") is None else "dead-lettered elsewhere"
    why = f"a message that came again that often is {gone}: write stream.delivery_limit"
    if limit is not None:
        yield Caveat("loss", f"delivery-limit={limit}", why)
    elif release > _UNLIMITED:
        yield Caveat("loss", "delivery_limit unset", f"20 is the limit from 4.0 on; {why}")


def _set(stream: Queues, key: str) -> object:
    """What is in force, by a policy or an argument, of what may be set by both."""
    given = stream.declared(0).get(f"x-{key}")
    return stream.policy.get(key) if given is None else given
