"""Settings of clients of rocketmq-client-python: what it lets an application choose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProducerSettings:
    """How messages are sent."""

    sendMsgTimeout: int = 3000  # noqa: N815 - RocketMQ's name
    """How long each try waits for an answer, ms. There are up to five, which cannot be changed."""
    threads: int = 16
    """How many sends are under way at once, as one waits for its answer in its thread."""
    orderly: bool = False
    """Whether only one message is under way at a time, in one thread, so that none overtakes
    another that was answered in time."""


@dataclass(frozen=True)
class ConsumerSettings:
    """How messages are received."""

    threads: int = 20
    """How many messages an application handles at once (`set_thread_count`; Java: 20)."""
    orderly: bool = False
    """Whether the messages of a queue are handed over one after the other, in their order."""
