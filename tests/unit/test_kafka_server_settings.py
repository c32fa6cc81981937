"""Settings of brokers and topics: wrong names before the start, wrong values after it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin._resource import ResourceType

from chaos.errors import ClusterError
from chaos.spi import Address, Settings
from chaos_adapters.brokers.kafka import Kafka, Topic, server_settings

NAMES = ("kafka-1", "kafka-2")


def told(broker: Settings, topic: Settings | None = None, version: str = "4.1.1") -> dict[str, str]:
    return dict(Kafka(settings=broker, version=version).problems(Topic(settings=topic or {})))


def unheeded(
    wanted: Settings, there: dict[str, str], topic: Settings | None = None, **kafka: object
) -> list[str]:
    """What is told when one of two brokers is right, and the other says `there`."""
    right = {name: str(value).lower() for name, value in wanted.items()} | {"broker.rack": "a"}
    found = {"kafka-1": right, "kafka-2": {"broker.rack": "b"} | there, "stream": {"x": "1"}}
    broker = Kafka(nodes=2, settings=wanted, **kafka)  # type: ignore[arg-type]
    return list(broker.unheeded(Topic(settings=topic or {}), found))


def test_a_misspelled_setting_is_told_with_the_right_spelling() -> None:
    """Kafka would pass over it without a word."""
    assert told({"min.insync.replica": 2}) == {
        "cluster.settings.min.insync.replica": (
            'is no broker setting of Kafka 4.1.1; did you mean "min.insync.replicas"?'
        )
    }
    assert told({}, {"retention": 1000}).keys() == {"stream.settings.retention"}


def test_a_setting_in_the_wrong_section_is_told() -> None:
    """The log's settings have other names for brokers and for topics."""
    assert told({"max.compaction.lag.ms": 1}, {"num.io.threads": 4}) == {
        "cluster.settings.max.compaction.lag.ms":
            "is a setting of a topic in Kafka 4.1.1: write it into stream.settings",
        "stream.settings.num.io.threads":
            "is a setting of a broker in Kafka 4.1.1: write it into cluster.settings",
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"broker.session.timeout.ms": 4000, "unclean.leader.election.enable": True},
        {"unclean.leader.election.interval.ms": 1000},
        {"listener.name.internal.ssl.key.password": "x"},
        {"authorizer.class.name": "org.x.Y", "super.users": "User:a"},
    ],
)
def test_what_kafka_reads_is_let_through(settings: Settings) -> None:
    """Undocumented settings, those of a listener, and whatever code of the user's may read."""
    assert told(settings) == {}


def test_addresses_and_roles_belong_to_the_run() -> None:
    """With what to set instead."""
    assert told({"node.id": 7, "broker.rack": "a"}) == {
        "cluster.settings.node.id":
            "is not for an experiment to set: nodes are numbered by the run",
        "cluster.settings.broker.rack": "is not for an experiment to set: set cluster.racks",
    }  # fmt: skip


def test_a_version_without_a_list_is_not_guessed_at() -> None:
    """Its settings are read back instead."""
    assert told({"brand.new.setting": 1}, version="4.99.0") == {}


@pytest.mark.parametrize(
    ("wanted", "there"),
    [(True, "true"), (2, "2"), (1.0, "1"), ("a, b", "a,b"), (0.5, "0.5"), (False, "false"),
     ("gzip", "gzip")],
)  # fmt: skip
def test_kafkas_way_of_writing_is_no_difference(
    wanted: str | int | float | bool, there: str
) -> None:
    """Truth values, numbers and lists come back in its own spelling."""
    assert unheeded({"num.io.threads": wanted}, {"num.io.threads": there}) == []


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ({"num.io.threads": "8"}, "kafka-2 has num.io.threads=8, and was told 4."),
        ({}, "kafka-2 does not know the setting num.io.threads."),
    ],
)
def test_what_is_not_in_force_is_told_of_the_broker(there: dict[str, str], sentence: str) -> None:
    """One that is right does not hide another that is not."""
    assert unheeded({"num.io.threads": 4}, there) == [sentence]


def test_what_kafka_hides_and_nobody_knows_is_told() -> None:
    """Kafka describes a setting that it does not know as a secret one."""
    hidden = {"x.y": "(hidden)"}
    assert unheeded({"x.y": 1}, hidden) == ["kafka-2 was told x.y, which Kafka does not know."]
    assert unheeded({"x.y": 1}, hidden, version="4.99.0")
    secret: Settings = {"ssl.key.password": "s"}
    assert unheeded(secret, {"ssl.key.password": "(hidden)"}) == []
    foreign: Settings = {"x.y": 1, "metric.reporters": "org.x.y"}
    assert unheeded(foreign, {**hidden, "metric.reporters": "org.x.y"}) == []


def test_the_topic_and_the_racks_are_compared_too() -> None:
    """Each with its owner."""
    assert unheeded({}, {}, {"x": 2}) == ["stream has x=1, and was told 2."]
    assert unheeded({}, {}, racks=2) == []
    assert unheeded({}, {"broker.rack": ""}, racks=2) == [
        "kafka-2 should stand in rack b, and says none."
    ]


class Young:
    """An admin client of a cluster in which a topic was made a moment ago."""

    def __init__(self, unknown: int) -> None:
        self.unknown = unknown

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[Any]]:
        """Of a topic it knows only after it was asked so often."""
        answers: dict[Any, Future[Any]] = {}
        for resource in resources:
            answers[resource] = Future()
            self.unknown -= resource.restype is ResourceType.TOPIC
            if resource.restype is ResourceType.TOPIC and self.unknown >= 0:
                error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
                answers[resource].set_exception(KafkaException(error))
            else:
                entry = SimpleNamespace(is_sensitive=False, value="1")
                answers[resource].set_result({"x": entry})
        return answers


def test_a_topic_that_is_new_to_the_broker_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Metadata takes its time from broker to broker; for ever is too long."""
    clients = {"kafka-1": Address("127.0.0.1", 1)}
    monkeypatch.setattr(server_settings, "AdminClient", lambda _, logger: Young(2))
    assert server_settings.in_force(clients, "t", 5) == {
        "kafka-1": {"x": "1"},
        "stream": {"x": "1"},
    }
    monkeypatch.setattr(server_settings, "AdminClient", lambda _, logger: Young(10_000))
    with pytest.raises(ClusterError, match="the settings of a new topic"):
        server_settings.in_force(clients, "t", 0.3)
