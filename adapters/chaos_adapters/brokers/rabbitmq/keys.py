"""Which keys of policies, and which arguments, the kinds of queues go by.

RabbitMQ refuses an argument of another kind when the queue is declared, and a key of a policy that
it does not know. The rest it takes and does nothing with: arguments that it does not know, and keys
that another kind has. Source: rabbitmq-server 3.10.8 to 4.3.5, `capabilities` of
rabbit_classic_queue.erl, rabbit_quorum_queue.erl and rabbit_stream_queue.erl, and the validators of
policies.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

_BOTH = frozenset({
    "dead-letter-exchange", "dead-letter-routing-key", "expires", "max-length", "max-length-bytes",
    "message-ttl", "overflow",
})  # fmt: skip
"""Of queues, by a policy or an argument."""
_CLASSIC = _BOTH | {"queue-leader-locator", "queue-master-locator", "queue-mode", "queue-version"}
_QUORUM = _BOTH | {
    "consumer-disconnected-timeout", "consumer-timeout", "dead-letter-strategy",
    "delayed-retry-max", "delayed-retry-min", "delayed-retry-type", "max-in-memory-bytes",
    "max-in-memory-length", "queue-leader-locator",
}  # fmt: skip
_STREAM = frozenset({
    "max-age", "max-length-bytes", "queue-leader-locator", "stream-filter-size-bytes",
    "stream-max-segment-size-bytes",
})  # fmt: skip
_POLICIES = {
    Kind.CLASSIC: _CLASSIC | {"consumer-timeout"},
    Kind.QUORUM: _QUORUM | {"delivery-limit", "target-group-size"},
    Kind.STREAM: _STREAM,
}
_ARGUMENTS = {
    Kind.CLASSIC: _CLASSIC | {"max-priority"},
    Kind.QUORUM: _QUORUM,
    Kind.STREAM: _STREAM,
}


def strangers(stream: Queues) -> Iterator[tuple[str, str]]:
    """Those that do nothing for such queues, each as (path in the experiment, what to do)."""
    kind = Kind.CLASSIC if stream.kind is Kind.MIRRORED else stream.kind
    for key in stream.policy:
        if key == "initial-cluster-size":
            yield f"stream.policy.{key}", "goes past the caveats: write stream.replicas instead"
        elif not key.startswith("ha-") and key not in _POLICIES[kind]:
            yield f"stream.policy.{key}", _told(stream.kind, _POLICIES[kind])
    known = {f"x-{key}" for key in _ARGUMENTS[kind]}
    for key in stream.arguments:
        if key not in known:
            yield f"stream.arguments.{key}", _told(stream.kind, known)


def _told(kind: Kind, known: set[str] | frozenset[str]) -> str:
    return f"does nothing for a {kind} queue, which goes by {', '.join(sorted(known))}"
