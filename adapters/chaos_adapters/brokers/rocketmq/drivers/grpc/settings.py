"""Settings of clients of rocketmq-python-client: what it lets an application choose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProducerSettings:
    """How messages are sent."""

    requestTimeout: int = 3  # noqa: N815 - named as the others are
    """How long each try waits for an answer, s (`request_timeout`). There are up to three, at once
    one after the other, which cannot be changed here."""
    window: int = 200
    """How many sends may be open."""
    orderly: bool = False
    """Whether only one message is under way at a time, so that none overtakes another."""


@dataclass(frozen=True)
class ConsumerSettings:
    """How messages are received."""

    threads: int = 4
    """How many acknowledge messages at once, one by one; one more asks for them."""
    batch: int = 32
    """How many messages to ask for at once; the proxy gives no more than 32."""
    invisibleDuration: int = 30  # noqa: N815
    """How long a message is kept from others until it is acknowledged, s, at least 10; then it
    comes again."""


LEAST_INVISIBLE_S = 10
"""The proxy refuses to hand out messages for less (`minInvisibleTimeMillsForRecv`)."""
