"""Which settings promise less than users want, and that safe ones are not accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.experiment import load_experiment
from chaos.spi import Settings
from chaos_adapters.brokers.kafka import Kafka, Topic

SAFE_TOPIC: Settings = {"min.insync.replicas": 2}
IN_FLIGHT = "max.in.flight.requests.per.connection"
SAFE_PRODUCER: Settings = {"acks": "all", "enable.idempotence": True}


def told(
    topic: Settings | None = None,
    producer: Settings | None = None,
    consumer: Settings | None = None,
    replicas: int = 3,
    broker: Settings | None = None,
) -> list[str]:
    found = Kafka(settings=broker or {}).caveats(
        Topic(replicas=replicas, settings=SAFE_TOPIC if topic is None else topic),
        SAFE_PRODUCER if producer is None else producer,
        consumer or {},
    )
    assert all(caveat.why for caveat in found)
    # Positions are given twice for the reasons for which messages are lost.
    again = [c.setting for c in found if c.question == "divergence"]
    lost = [c.setting for c in found if c.question == "loss"]
    assert again == [name for name in lost if name[:5] not in ("repli", "auto.")]
    return [f"{c.question} {c.setting}" for c in found if c.question != "divergence"]


def test_safe_settings_have_none() -> None:
    """A loss under these is a broken promise, so nothing may excuse it."""
    assert told() == []


@pytest.mark.parametrize("acks", ["all", "-1", -1])
def test_acks_of_all_is_safe_however_it_is_written(acks: str | int) -> None:
    """And it is librdkafka's default."""
    assert told(producer={"acks": acks, "enable.idempotence": True}) == []
    assert told(producer={"enable.idempotence": True}) == []


@pytest.mark.parametrize("key", ["acks", "request.required.acks"])
@pytest.mark.parametrize("acks", [1, "1", 0, "0"])
def test_fewer_acks_lose(key: str, acks: str | int) -> None:
    """Under both names of the setting."""
    assert told(producer={key: acks, "enable.idempotence": True}) == [f"loss acks={acks}"]


@pytest.mark.parametrize("topic", [{}, {"min.insync.replicas": 1}, {"min.insync.replicas": "1"}])
def test_an_in_sync_set_of_one_loses(topic: Settings) -> None:
    """It is Kafka's default, too."""
    assert told(topic=topic) == ["loss min.insync.replicas=1"]


def test_the_topic_has_the_last_word_over_the_broker() -> None:
    """As in Kafka."""
    assert told(topic={}, broker={"min.insync.replicas": 2}) == []
    assert told(topic={"min.insync.replicas": 1}, broker={"min.insync.replicas": 2}) == [
        "loss min.insync.replicas=1"
    ]


def test_a_single_copy_loses() -> None:
    """Whatever else is set."""
    assert "loss replicas=1" in told(replicas=1)


@pytest.mark.parametrize("value", [True, "true", "TRUE"])
def test_an_unclean_election_loses(value: bool | str) -> None:
    """A replica that lacks messages may lead."""
    topic: Settings = {**SAFE_TOPIC, "unclean.leader.election.enable": value}
    assert told(topic=topic) == ["loss unclean.leader.election.enable=true"]
    topic["unclean.leader.election.enable"] = False
    assert told(topic=topic) == []


@pytest.mark.parametrize("producer", [{}, {"enable.idempotence": False},
                                      {"enable.idempotence": "false"}])  # fmt: skip
def test_without_idempotence_messages_are_stored_twice(producer: Settings) -> None:
    """It is librdkafka's default to be without."""
    assert told(producer=producer) == [
        "duplication enable.idempotence=false",
        f"ordering enable.idempotence=false, {IN_FLIGHT}=1000000",
    ]


@pytest.mark.parametrize("producer", [
    {IN_FLIGHT: 1}, {"max.in.flight": "1"}, {IN_FLIGHT: 5, "max.in.flight": 1}, {"retries": 0},
    {"message.send.max.retries": "0"},
])  # fmt: skip
def test_one_request_at_a_time_or_no_second_try_keeps_the_order(producer: Settings) -> None:
    """Whatever the setting is called; librdkafka takes the last of two names."""
    assert told(producer=producer) == ["duplication enable.idempotence=false"]


def test_several_requests_at_a_time_reorder() -> None:
    """A second try overtakes nobody, but is overtaken."""
    found = told(producer={"max.in.flight": 2, "retries": 1})
    assert f"ordering enable.idempotence=false, {IN_FLIGHT}=2" in found


@pytest.mark.parametrize("value", ["latest", "largest", "end"])
def test_a_consumer_that_starts_at_the_end_skips(value: str) -> None:
    """Under all three names; starting at the beginning is safe."""
    assert told(consumer={"auto.offset.reset": value}) == ["loss auto.offset.reset=latest"]
    assert told(consumer={"auto.offset.reset": "earliest"}) == []


def test_all_that_hold_are_told() -> None:
    """The experiment that demonstrates loss has several reasons."""
    found = told(topic={}, producer={"acks": 1, "enable.idempotence": False})
    assert found == [
        "loss acks=1", "loss min.insync.replicas=1", "duplication enable.idempotence=false",
        f"ordering enable.idempotence=false, {IN_FLIGHT}=1000000",
    ]  # fmt: skip


@pytest.mark.parametrize(("topic", "broker", "found"), [
    ({}, {}, ["flush.messages=default"]),
    ({"flush.messages": 1}, {}, []),
    ({}, {"log.flush.interval.messages": "1"}, []),
    ({"flush.messages": 100}, {"log.flush.interval.messages": 1}, ["flush.messages=100"]),
])  # fmt: skip
def test_what_no_disk_has_goes_with_the_power(
    topic: Settings, broker: Settings, found: list[str]
) -> None:
    """Unless each message is forced to the disk first; the topic's setting takes the place of the
    broker's. Positions of what is lost are given anew."""
    caveats = Kafka(settings=broker).cache_caveats(Topic(settings=topic))
    for question in ("loss", "divergence"):
        assert [each.setting for each in caveats if each.question == question] == found


@pytest.mark.parametrize(("target", "blamed"), [
    ("all", True), ("all(broker)", True), ("followers(0)", True), ("rack(a)", True),
    ("leader(0)", False), ("kafka-1", False), ("one", False),
])  # fmt: skip
def test_memories_are_blamed_where_several_go_at_once(
    tmp_path: Path, target: str, blamed: bool
) -> None:
    """That one machine loses no acknowledged message is what replication promises."""
    file = tmp_path / "it.yaml"
    file.write_text(POWER.format(target=target))
    found = [caveat.setting for caveat in load_experiment(file).caveats()]
    assert ("flush.messages=default" in found) is blamed


POWER = """
name: power
cluster: {{broker: kafka, nodes: 3, racks: [a, b], disk: {{size: 1GiB}}}}
stream: {{partitions: 1, replicas: 3, settings: {{min.insync.replicas: 2}}}}
load: {{producers: {{rate: 10/s}}}}
faults: [{{at: 5s, for: 5s, fault: disk.power_loss, target: "{target}"}}]
"""
