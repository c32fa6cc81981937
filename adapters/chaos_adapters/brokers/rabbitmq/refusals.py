"""What RabbitMQ would refuse, would silently not do, or what would go past the labels of a verdict.

Sources: rabbitmq-server, rabbit_stream_queue.erl (`consume`), rabbit_mirror_queue_misc.erl
(`validate_policy`); RabbitMQ documentation, "Classic Queue Mirroring", "Configuration".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chaos.spi import Settings, Use
from chaos_adapters.brokers.rabbitmq.keys import strangers
from chaos_adapters.brokers.rabbitmq.stream import DEAD_LETTERS, Kind, Queues

Problem = tuple[str, str]
"""Path in the experiment, and what to do."""

_THREE = 3
"""The last release with mirrors, and with messages of more than 16 MiB unless they are allowed."""
_KEY, _NAME = re.compile(r"[A-Za-z0-9_.-]+"), re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST_NAME = 200
"""AMQP has 255 bytes for a queue's name; the run adds its number, the queue its own."""
_OTHERWISE = {
    "cluster_partition_handling": "cluster.partition_handling",
    "net_ticktime": "cluster.net_ticktime",
    "default_policies.": "stream.policy",
    "definitions.": "stream.policy",
    "load_definitions": "stream.policy",
}
"""What begins so has a key of its own in the experiment, from which labels are drawn."""
_OURS = (
    "listeners.", "num_acceptors.", "management.tcp.", "management.ssl.", "management.listener.",
    "management.path_prefix", "management.disable_stats", "stream.listeners.", "stream.advertised_",
    "loopback_users", "cluster_formation.", "collect_statistics_interval", "default_user",
    "default_pass", "default_vhost",
)  # fmt: skip
_TOLD_BY_LOG = ("log.level", "log.default.level", "log.console.level")
"""A node tells there, as an information, that it ended in order."""
_OURS_ALONE = ("log.console", "log.file")
_LARGEST = (128 << 20, 16 << 20)
"""By default, up to 3.13 and from 4.0 on."""
_FRAME, _AROUND = 1 << 20, 64
"""Of the stream protocol: a message is in one, with all that is around it."""
_ARGUMENTS = {
    "x-queue-type": "stream.kind",
    "x-quorum-initial-group-size": "stream.replicas",
    "x-initial-cluster-size": "stream.replicas",
    "x-single-active-consumer": "stream.single_active_consumer",
    "x-delivery-limit": "stream.delivery_limit",
}
_DEAD_LETTERED = ("delivery-limit", "dead-letter-exchange", "dead-letter-routing-key",
                  "dead-letter-strategy", "overflow")  # fmt: skip
_MIRRORING = {
    "ha-mode": ("all", "exactly"),
    "ha-sync-mode": ("manual", "automatic"),
    "ha-promote-on-failure": ("always", "when-synced"),
    "ha-promote-on-shutdown": ("always", "when-synced"),
    "ha-params": (),
    "ha-sync-batch-size": (),
}
"""The keys of mirrors, and what their values may be where they are words."""


_WITHOUT_PARTITION_HANDLING = (4, 2)
_DENIED_TRANSIENT = (4, 3)
_PERMIT = "deprecated_features.permit.transient_nonexcl_queues"


def of_version(
    version: tuple[int, int], stream: Queues, handling: str, settings: Settings
) -> Iterator[Problem]:
    """What that version has no more, or denies. Sources: rabbitmq-server, release notes of 4.2.0,
    rabbit_node_monitor.erl ("partition handling strategy unapplicable with Khepri"),
    rabbit_amqqueue.erl of 4.3.5 (`transient_nonexcl_queues`)."""
    number = ".".join(map(str, version))
    if stream.kind is Kind.MIRRORED and version[0] > _THREE:
        what = f"classic queues are not mirrored any more in {number}"
        yield "stream.kind", f"{what}: take quorum queues, or a version up to 3.13"
    if handling != "pause_minority" and version >= _WITHOUT_PARTITION_HANDLING:
        what = f"new clusters of {number} have Khepri, which goes by majority"
        yield "cluster.partition_handling", f"{what}: leave it out, or take a version up to 4.1"
    permitted = str(settings.get(_PERMIT, False)).lower() == "true"
    if not (stream.durable or permitted) and version >= _DENIED_TRANSIENT:
        what = f"{number} denies queues that are not durable"
        yield "stream.durable", f"{what}: permit them by `{_PERMIT}: true` in cluster.settings"


def of_settings(settings: Settings) -> Iterator[Problem]:
    """Those of `rabbitmq.conf` that this adapter writes itself, or that are more than a line."""
    for key, value in settings.items():
        if not _KEY.fullmatch(key):
            yield "cluster.settings", f"{key!r} is no key of rabbitmq.conf"
        elif other := next((_OTHERWISE[each] for each in _OTHERWISE if key.startswith(each)), ""):
            yield "cluster.settings", f"{key} goes past the caveats: write {other} instead"
        elif key in _OURS_ALONE or key.startswith(_OURS):
            yield "cluster.settings", f"{key} is set by mqchaos, which depends on it: leave it out"
        elif key in _TOLD_BY_LOG and value not in ("debug", "info"):
            what = "the log is to tell that a node ended in order: write debug or info"
            yield "cluster.settings", f"{key} is {value!r}, and {what}"
        elif isinstance(value, str) and not value.isprintable():
            yield "cluster.settings", f"{key} should be one line, not {value!r}"


def of_queues(stream: Queues, nodes: int) -> Iterator[Problem]:
    """What can never be, whatever the version."""
    yield from _name(stream.name)
    yield from _copies(stream, nodes)
    if stream.delivery_limit is not None and stream.kind is not Kind.QUORUM:
        yield "stream.delivery_limit", f"a {stream.kind} queue counts no deliveries"
    if stream.single_active_consumer and stream.kind is Kind.STREAM:
        why = "a stream chooses one consumer by its own protocol only, which is not spoken here"
        yield "stream.single_active_consumer", why
    owned = list(_owned(stream))
    yield from owned
    yield from (each for each in strangers(stream) if each[0] not in dict(owned))
    yield from _mirroring(stream, nodes)


def of_use(stream: Queues, use: Use, amqp: bool) -> Iterator[Problem]:
    """Clients that such queues refuse, or that the questions of a verdict do not fit; `amqp`: they
    speak that, and not the stream protocol."""
    consumer = use.consumer
    if use.hands_back and consumer.get("auto_ack") is True:
        what = "nothing can be handed back that was done with when it was sent: leave one out"
        yield "load.consumers.settings.auto_ack", what
    if stream.kind is not Kind.STREAM:
        return
    if use.consumers > 1:
        what = "each consumer of a stream gets all of it, which would count as delivered twice"
        yield "load.consumers.count", f"{what}: write 1"
    if amqp and consumer.get("auto_ack") is True:
        yield "load.consumers.settings.auto_ack", "a stream wants acknowledgements: leave it out"
    if amqp and consumer.get("prefetch") == 0:
        what = "a stream sends nothing without a limit: write 1 to 65535"
        yield "load.consumers.settings.prefetch", what


def of_size(size: int, release: int, amqp: bool, settings: Settings) -> Iterator[Problem]:
    """Messages for which nodes close the channel, or the connection, each time (that of streams in
    4.3.5; 3.13.7 does not look). Sources: rabbitmq-server, `max_message_size` of rabbit and
    `frame_max` of rabbitmq_stream."""
    given: object = _FRAME - _AROUND
    if amqp:
        given = settings.get("max_message_size", _LARGEST[release > _THREE])
    most = given if isinstance(given, int) else size
    if size > most:
        what = f"a node takes at most {most:,} bytes, not {size:,}"
        other = "write less, or cluster.settings.max_message_size" if amqp else "write less"
        yield "load.producers.size", f"{what}: {other}"


def _name(name: str) -> Iterator[Problem]:
    path = "stream.name"
    if not _NAME.fullmatch(name):
        what = "should be letters, digits, `-`, `_` and `.`, and not begin with `.`"
        yield path, f"{what}; it is {name[:40]!r}"
    elif len(name) > _LONGEST_NAME:
        yield path, f"has {len(name)} letters: at most {_LONGEST_NAME} are possible"
    elif name.startswith("amq."):
        yield path, "names that begin with `amq.` are RabbitMQ's own: take another one"
    elif name.endswith(DEAD_LETTERS):
        yield path, f"names that end in `{DEAD_LETTERS}` are of dead letters: take another one"


def _copies(stream: Queues, nodes: int) -> Iterator[Problem]:
    if stream.kind in (Kind.QUORUM, Kind.STREAM):
        if stream.replicas > nodes:
            what = f"{stream.replicas} replicas do not fit on {nodes} nodes"
            yield "stream.replicas", f"{what}: at most {nodes}"
        elif stream.replicas < nodes and stream.kind is Kind.STREAM:
            # rabbit_stream_queue: consume; a client, as who reads back, is connected to any node.
            what = "AMQP gives a stream out on those nodes only that have a replica of it"
            yield "stream.replicas", f"{what}: write {nodes}, one for each node"
        if not stream.durable:
            yield "stream.durable", f"a {stream.kind} queue is always durable"
    elif stream.replicas != Queues.replicas:
        how = "has one copy"
        if stream.kind is Kind.MIRRORED:
            how = "has as many copies as policy.ha-params says"
        yield "stream.replicas", f"a {stream.kind} queue {how}: leave it out"


def _owned(stream: Queues) -> Iterator[Problem]:
    for key in stream.arguments:
        if other := _ARGUMENTS.get(key):
            path = f"stream.arguments.{key}"
            yield path, f"goes past the checks of this experiment: write {other} instead"
        elif stream.delivery_limit is not None and key.removeprefix("x-") in _DEAD_LETTERED:
            yield f"stream.arguments.{key}", "is set for stream.delivery_limit: leave one out"
    for key in stream.policy:
        if stream.delivery_limit is not None and key in _DEAD_LETTERED:
            yield f"stream.policy.{key}", "is set for stream.delivery_limit: leave one out"


def _mirroring(stream: Queues, nodes: int) -> Iterator[Problem]:
    for key, value in stream.policy.items():
        if not key.startswith("ha-"):
            continue
        path, words = f"stream.policy.{key}", _MIRRORING.get(key)
        if stream.kind is not Kind.MIRRORED:
            yield path, "only classic queues have mirrors: kind: mirrored"
        elif words is None:
            yield path, f"there is no such key; there are {', '.join(_MIRRORING)}"
        elif words and value not in words:
            yield path, f"should be one of {', '.join(words)}, not {value!r}"
    if stream.kind is not Kind.MIRRORED:
        return
    mode, given = stream.in_force["ha-mode"], stream.policy.get("ha-params")
    path = "stream.policy.ha-params"
    if mode == "exactly" and (type(given) is not int or not 1 <= given <= nodes):
        yield path, f"with `ha-mode: exactly` it should be how many copies there are, 1 to {nodes}"
    elif mode == "all" and given is not None:
        yield path, "does nothing with `ha-mode: all`: leave it out"
