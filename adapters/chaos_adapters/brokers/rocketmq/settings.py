"""Settings of the clients, named as in RocketMQ's Java client where that has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from chaos.spi import Caveat, Settings
from chaos_adapters.brokers.rocketmq import delayed


@dataclass(frozen=True)
class ProducerSettings:
    """How messages are sent. Times are in ms."""

    sendMsgTimeout: int = 3000  # noqa: N815 - RocketMQ's name
    """How long to wait for an answer; after that nobody knows whether the message is stored."""
    retryTimesWhenSendFailed: int = 0  # noqa: N815
    """How often a message of unknown fate is sent again (Java: 2). RocketMQ stores it twice when
    both arrive."""
    pollNameServerInterval: int = 500  # noqa: N815
    """How often the route is asked for (Java: 30000), besides at once when the master is gone."""
    window: int = 2000
    """How many sends may be open."""
    waitStoreMsgOK: bool = True  # noqa: N815
    """Whether the broker answers only when the message is as safe as it was told to make it."""
    orderly: bool = False
    """Whether only one message of each queue is open at a time, so that none overtakes another that
    was answered in time."""
    delayTimeLevel: int = 0  # noqa: N815
    """Brokers deliver messages 1 s (1), 5 s (2), 10 s (3) or 30 s (4) after they were sent; 0: at
    once. The run waits for them in the end."""


@dataclass(frozen=True)
class ConsumerSettings:
    """How messages are received. Times are in ms."""

    pollNameServerInterval: int = 500  # noqa: N815
    """How often the route is asked for (Java: 30000)."""
    persistConsumerOffsetInterval: int = 5000  # noqa: N815
    """How often positions are stored."""
    heartbeatBrokerInterval: int = 5000  # noqa: N815
    """How often a consumer says that it is there (Java: 30000)."""
    rebalanceInterval: int = 1000  # noqa: N815
    """How often queues are shared out (Java: 20000), besides at once when members change."""
    pullBatchSize: int = 32  # noqa: N815
    """How many messages to ask for at once; a broker gives no more than 32 by itself."""
    brokerSuspendMaxTimeMillis: int = 5000  # noqa: N815
    """How long a broker may hold a question until there are messages (Java: 15000)."""
    maxReconsumeTimes: int = 16  # noqa: N815
    """How often a message that was handed back comes again before it is dead-lettered."""
    delayLevelWhenNextConsume: int = 0  # noqa: N815
    """After how long it comes again: 1 is 1 s, 2 is 5 s, 3 is 10 s, ..., 18 is 2 h; 0: longer each
    time, from 10 s on."""
    consumeFromWhere: str = "first"  # noqa: N815
    """Where a group without a position begins: `first` or `last`."""


IN_TRANSACTIONS = "load.producers.transactions"
"""The name, which no setting has, by which a driver's caveats are told that there are some."""
_MAY_BE_ZERO = (
    "retryTimesWhenSendFailed", "maxReconsumeTimes", "delayLevelWhenNextConsume", "delayTimeLevel",
)  # fmt: skip
_MOST_DELAY = 18
"""The levels of delay that brokers have by default; a higher one is the highest to them."""
_KINDS = {"int": int, "bool": bool, "str": str}


def problems(
    producer: Settings, consumer: Settings, of_producers: type, of_consumers: type
) -> Iterator[tuple[str, str]]:
    """Each wrong setting as (path in the experiment, what to do); what there is, are the fields of
    two dataclasses."""
    for role, given, kind in (
        ("producers", producer, of_producers), ("consumers", consumer, of_consumers),
    ):  # fmt: skip
        known = {each.name: _KINDS[str(each.type)] for each in fields(kind)}
        for name, value in given.items():
            path = f"load.{role}.settings.{name}"
            if name not in known:
                yield path, f"is not known: there are {', '.join(known)}"
            elif type(value) is not known[name]:
                yield path, f"{value!r} should be of type {known[name].__name__}"
            elif (
                isinstance(value, int)
                and value < (0 if name in _MAY_BE_ZERO else 1)
                and (not isinstance(value, bool))
            ):
                yield path, f"{value} is too small"
    level = producer.get("delayTimeLevel", 0)
    if type(level) is int and level > delayed.MOST:
        yield "load.producers.settings.delayTimeLevel", f"{level} is too much: 1 to {delayed.MOST}"
    level = consumer.get("delayLevelWhenNextConsume", 0)
    if type(level) is int and level > _MOST_DELAY:
        path = "load.consumers.settings.delayLevelWhenNextConsume"
        yield path, f"{level} is too much: 1 to {_MOST_DELAY}"
    where = consumer.get("consumeFromWhere", "first")
    if where not in ("first", "last"):
        yield "load.consumers.settings.consumeFromWhere", f"{where!r} should be first or last"


def overtaken(producer: Settings, default_ms: int) -> Caveat:
    """Why even one message of a queue after the other may be stored in another order: the next one
    is sent when an answer is overdue, and the one before may still lie with the broker, or in a
    link that is cut."""
    after_ms = producer.get("sendMsgTimeout", default_ms)
    why = "a message without an answer in time may be stored behind those that were sent after it"
    return Caveat("ordering", f"sendMsgTimeout={after_ms}", why)
