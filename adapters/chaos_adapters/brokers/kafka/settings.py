"""Client settings, checked by librdkafka itself before anything starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaException, Producer

from chaos.spi import Settings

_OWNED = {
    "bootstrap.servers": "the cluster of the run is the only one that load may go to",
    "metadata.broker.list": "the cluster of the run is the only one that load may go to",
    "group.id": "each run has a group of its own",
    "delivery.report.only.error": "what is acknowledged must be on record",
    "transactional.id": "write load.producers.transactions: {messages: 100, abort: 0.1}",
    "enable.partition.eof": "the ends of partitions are no messages",
}
"""Settings that belong to the run, and why."""
_SILENT = logging.getLogger("chaos.kafka.settings")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def problems(producer: Settings, consumer: Settings) -> Iterator[tuple[str, str]]:
    """Each wrong setting as (path in the experiment, what to do)."""
    for role, settings, make in (
        ("producers", producer, Producer),
        ("consumers", consumer, Consumer),
    ):
        sound: Settings = {"group.id": "check"} if role == "consumers" else {}
        for key, value in settings.items():
            path = f"load.{role}.settings.{key}"
            if key in _OWNED:
                yield path, f"is not for an experiment to set: {_OWNED[key]}"
            elif why := _refused(make, {**sound, key: value}):
                yield path, why
            else:
                sound[key] = value


def transaction_problems(settings: Settings) -> list[str]:
    """Why producers with these settings cannot send in transactions."""
    why = _refused(Producer, {"transactional.id": "check", **settings})
    return [why] if why else []


def _refused(make: Callable[..., object], settings: Settings) -> str:
    """What librdkafka says to these settings; nothing is connected to."""
    try:
        make(settings, logger=_SILENT)
    except KafkaException as error:
        return str(error.args[0].str() if hasattr(error.args[0], "str") else error)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""
