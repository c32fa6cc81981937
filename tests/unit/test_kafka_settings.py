"""Client settings are checked before anything starts."""

from __future__ import annotations

import pytest

from chaos.spi import Settings
from chaos_adapters.brokers.kafka import Kafka


@pytest.mark.parametrize(
    ("producer", "consumer", "path", "what"),
    [
        ({"ackz": "all"}, {}, "load.producers.settings.ackz", "No such configuration"),
        ({"linger.ms": "x"}, {}, "load.producers.settings.linger.ms", "Invalid value"),
        ({}, {"session.timeout.ms": -5}, "load.consumers.settings.session.timeout.ms", "range"),
        ({"bootstrap.servers": "prod:9092"}, {}, "load.producers.settings.bootstrap.servers",
         "the cluster of the run"),
        ({}, {"group.id": "g"}, "load.consumers.settings.group.id", "a group of its own"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_with_its_place(
    producer: Settings, consumer: Settings, path: str, what: str
) -> None:
    """What librdkafka would refuse after start-up, and what belongs to the run."""
    ((where, why),) = Kafka().client_problems(producer, consumer)
    assert where == path
    assert what in why


def test_all_wrong_settings_are_told_at_once_and_right_ones_not() -> None:
    """Two wrong ones beside right ones."""
    producer: Settings = {"acks": "all", "ackz": 1, "enable.idempotence": True, "lingr.ms": 5}
    found = Kafka().client_problems(producer, {"fetch.min.bytes": 1})
    assert [path.rpartition("settings.")[2] for path, _ in found] == ["ackz", "lingr.ms"]
