"""Settings of clients of rstream: what of the stream protocol an experiment may choose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Streaming:
    """How a client finds the node that has a stream, and comes back to it."""

    heartbeat: int = 10
    """Seconds of silence after which a connection counts as lost, at twice that; 0: never."""
    connect_timeout: float = 3.0
    """Seconds. Each answer of a node that is looked for is waited for that long as well."""
    reconnect_pause: float = 0.5
    """Seconds of rest when all nodes have been asked who has the stream."""


@dataclass(frozen=True)
class Publishing(Streaming):
    """How messages are published: each stream on a connection of its own, to its leader."""

    window: int = 5000
    """How many messages may wait for their confirmation, or for a leader."""
    send_again: bool = False
    """Whether messages that are unconfirmed when a connection is lost are sent again, in their
    order, under their old numbers."""
    deduplicate: bool = False
    """Whether the producer has a name, under which a stream takes each number once."""


@dataclass(frozen=True)
class Consuming(Streaming):
    """How messages are consumed: each stream on a connection of its own, to a replica."""

    credit: int = 100
    """How many chunks of a stream may be under way or wait here (rstream: 10); a chunk is what the
    leader wrote at once, which may be a message or two."""
    store_offsets: bool = False
    """Whether positions are stored in the streams, under the name of the group, and taken up again:
    for one consumer only, as all have one name. Else each consumer begins at the beginning."""
