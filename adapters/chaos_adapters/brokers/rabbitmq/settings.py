"""What the `settings` of producers and consumers may say, checked before the start; here those of
`client: pika`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaos.spi import Caveat, Settings

_MOST = 65_535
"""What fits into the fields of basic.qos and tune (AMQP), and of credit (streams)."""
_MORE_THAN_NONE = ("window", "connect_timeout", "credit")


@dataclass(frozen=True)
class Connecting:
    """How a client finds a node, and stays with it: number n begins with node n of the cluster,
    round and round."""

    pinned: bool = False
    """Whether it stays with its first node. Else the next one is tried, in order, when a connection
    is lost or does not come about within `connect_timeout`."""
    heartbeat: int = 10
    """Seconds of silence after which a connection counts as lost, at about twice that; 0: never."""
    connect_timeout: float = 3.0
    """Seconds."""
    reconnect_pause: float = 0.5
    """Seconds of rest when all nodes have been tried."""


@dataclass(frozen=True)
class Publishing(Connecting):
    """How messages are published. Client number n begins with node n, round and round."""

    confirms: bool = True
    """Whether the broker confirms each message. Without, a message counts as acknowledged when it
    was handed over."""
    mandatory: bool = True
    """Whether a message that no queue takes comes back."""
    persistent: bool = True
    """Whether messages are to survive the restart of a node."""
    window: int = 5000
    """How many messages may wait for their confirmation."""
    new_channel_after: float = 0.0
    """Seconds. When a queue has refused all that came to it over the producer's channel for that
    long (`basic.nack`), the channel is closed and a new one opened; 0: never."""
    new_connection_after: float = 0.0
    """Seconds. When messages wait and none was confirmed for that long, whether some were refused
    or not, and the broker does not block the producer, it leaves its connection for one to the next
    node; 0: never."""


@dataclass(frozen=True)
class Consuming(Connecting):
    """How messages are consumed. Client number n begins with node n, round and round."""

    auto_ack: bool = False
    """Whether a message counts as done with as soon as it was sent to the consumer."""
    prefetch: int = 2000
    """How many messages a consumer may have unsettled, of each queue; 0: any number."""


def problems(
    producer: Settings, consumer: Settings, of_producers: object, of_consumers: object
) -> Iterator[tuple[str, str]]:
    """Each wrong setting as (path in the experiment, what to do); what there is, are the fields of
    two dataclasses, with their values by default."""
    for role, kind, settings in (
        ("producers", of_producers, producer),
        ("consumers", of_consumers, consumer),
    ):
        known = vars(kind)
        for key, value in settings.items():
            if why := _wrong(known, key, value):
                yield f"load.{role}.settings.{key}", why


def _wrong(known: Mapping[str, object], key: str, value: object) -> str:
    if key not in known:
        return f"there is no such setting; there are {', '.join(sorted(known))}"
    default = known[key]
    if isinstance(default, bool) or isinstance(value, bool):
        right = isinstance(default, bool) and isinstance(value, bool)
        return "" if right else f"should be {_kind(default)}"
    if isinstance(default, int) and not isinstance(value, int):
        return "should be a whole number"
    if not isinstance(value, int | float):
        return "should be a number"
    if not math.isfinite(value):
        return "should be a number of this world, not infinite"
    if value < 0 or (value == 0 and key in _MORE_THAN_NONE):
        return f"is {value}: should be {_least(key, default)}"
    if value > (most := _at_most(key)):
        return f"is {value}: should be at most {most:g}"
    return ""


def _least(key: str, default: object) -> str:
    if key not in _MORE_THAN_NONE:
        return "at least 0"
    return "at least 1" if isinstance(default, int) else "more than 0"


def _at_most(key: str) -> float:
    return _MOST if key in ("prefetch", "credit", "heartbeat") else math.inf


def _kind(value: object) -> str:
    return "true or false" if isinstance(value, bool) else "a number"


_GIVEN_UP = ("new_connection_after", "new_channel_after", "heartbeat")


def overtaken(producer: object) -> Iterator[Caveat]:
    """RabbitMQ keeps the order of one channel. A node that only stood still, or could not be
    reached, stores what it had taken when it goes on: behind what went over the next one (AMQP
    0-9-1 specification, section 4.7; docs/findings.md)."""
    given_up = ((key, getattr(producer, key, 0)) for key in _GIVEN_UP)
    if setting := next((f"{key}={value:g}" for key, value in given_up if value), ""):
        why = "what a silent node took from a producer that gave it up may be stored after the rest"
        yield Caveat("ordering", setting, why)
