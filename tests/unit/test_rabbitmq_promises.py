"""What RabbitMQ does not promise of each kind of queue, by which a verdict labels a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.experiment import load_experiment
from chaos.spi import TrustsCaches
from chaos_adapters.brokers.rabbitmq import Rabbitmq
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues

SAFE = {"ha-promote-on-failure": "when-synced", "ha-sync-mode": "automatic"}
MIRRORED = {"kind": Kind.MIRRORED}
CLASSIC = {"kind": Kind.CLASSIC}
UNSYNCED = "loss ha-promote-on-failure=always"
BY_HAND = "loss ha-sync-mode=manual"
ON_SHUTDOWN = "loss ha-promote-on-shutdown=always"
ONE_COPY = "loss kind=classic"


def _apart(handling: str) -> set[str]:
    return {f"{question} partition_handling={handling}" for question in ("loss", "divergence")}


NAMED = [
    ({}, "pause_minority", set()),
    ({}, "autoheal", set()),
    ({}, "ignore", set()),
    ({"kind": Kind.STREAM}, "ignore", set()),
    ({"replicas": 2}, "pause_minority", {"loss replicas=2"}),
    ({"kind": Kind.STREAM, "replicas": 1}, "pause_minority", {"loss replicas=1"}),
    (CLASSIC, "pause_minority", {ONE_COPY}),
    ({**CLASSIC, "replicas": 1}, "pause_minority", {ONE_COPY}),
    ({**CLASSIC, "durable": False}, "pause_minority", {ONE_COPY, "loss durable=false"}),
    (CLASSIC, "autoheal", {ONE_COPY, *_apart("autoheal")}),
    (CLASSIC, "ignore", {ONE_COPY, *_apart("ignore")}),
    (MIRRORED, "pause_minority", {UNSYNCED, BY_HAND}),
    ({**MIRRORED, "policy": SAFE}, "pause_minority", set()),
    ({**MIRRORED, "policy": SAFE}, "autoheal", _apart("autoheal")),
    ({**MIRRORED, "policy": SAFE}, "ignore", _apart("ignore")),
    ({**MIRRORED, "policy": SAFE, "durable": False}, "pause_minority", {"loss durable=false"}),
    ({**MIRRORED, "policy": {**SAFE, "ha-promote-on-failure": "always"}}, "pause_minority",
     {UNSYNCED}),
    ({**MIRRORED, "policy": {**SAFE, "ha-sync-mode": "manual"}}, "pause_minority", {BY_HAND}),
    ({**MIRRORED, "policy": {**SAFE, "ha-promote-on-shutdown": "always"}}, "pause_minority",
     {ON_SHUTDOWN}),
    ({**MIRRORED, "policy": {**SAFE, "ha-promote-on-shutdown": "when-synced"}}, "pause_minority",
     set()),
]  # fmt: skip
KNOWN: set[str] = set().union(*(named for *_, named in NAMED))


@pytest.mark.parametrize(("stream", "handling", "named"), NAMED)
def test_what_is_not_promised_is_named_and_nothing_else(
    stream: dict[str, Any], handling: Any, named: set[str]
) -> None:
    """With the question that it is about, whoever the clients are. Quorum queues and streams go by
    majority; mirrors are as safe as the policy, and the defaults of RabbitMQ are not."""
    broker = Rabbitmq(partition_handling=handling)
    found = list(broker.caveats(Queues(queues=1, **stream), {}, {}))
    assert {f"{each.question} {each.setting}" for each in found} & KNOWN == named
    assert all(each.why for each in found)
    assert len({(each.question, each.setting) for each in found}) == len(found)


V2 = "queue-version=2"


@pytest.mark.parametrize(("stream", "version", "settings", "blamed"), [
    ({}, "4.1", {}, []), ({"kind": Kind.STREAM}, "3.13", {}, ["kind=stream"]),
    (CLASSIC, "3.13", {}, []), (CLASSIC, "4.0", {}, [V2]),
    ({**CLASSIC, "arguments": {"x-queue-version": 2}}, "3.13", {}, [V2]),
    ({**MIRRORED, "policy": {"queue-version": 2}}, "3.13", {}, [V2]), (MIRRORED, "3.13", {}, []),
    (CLASSIC, "3.13", {"classic_queue.default_version": 2}, [V2]),
    ({**CLASSIC, "policy": {"queue-version": 1}}, "3.13", {"classic_queue.default_version": 2},
     []),
])  # fmt: skip
def test_what_forces_nothing_to_the_disk_is_named_where_all_lose_their_power(
    stream: dict[str, Any], version: str, settings: dict[str, Any], blamed: list[str]
) -> None:
    """A confirm of others means that a majority, or the queue, has it on the disk."""
    broker = Rabbitmq(version=version, settings=settings)
    assert isinstance(broker, TrustsCaches)
    found = broker.cache_caveats(Queues(queues=1, **stream))
    assert [each.setting for each in found] == blamed
    assert {each.question for each in found} <= {"loss"}


@pytest.mark.parametrize(("client", "producer", "blamed"), [
    ("pika", {}, ["heartbeat=10"]), ("pika", {"heartbeat": 0}, []),
    ("pika", {"new_connection_after": 2.5}, ["new_connection_after=2.5"]),
    ("pika", {"heartbeat": 0, "new_channel_after": 5}, ["new_channel_after=5"]),
    ("rstream", {"send_again": True}, ["heartbeat=10"]), ("rstream", {"deduplicate": True}, []),
    ("rstream", {"heartbeat": 0}, []),
])  # fmt: skip
def test_a_producer_that_gives_a_silent_node_up_is_promised_no_order(
    client: Any, producer: dict[str, Any], blamed: list[str]
) -> None:
    """That of a channel alone is kept; under a name, a stream takes no number that is too low."""
    found = Rabbitmq(client=client).caveats(Queues(kind=Kind.STREAM, queues=1), producer, {})
    assert [each.setting for each in found if each.question == "ordering"] == blamed


EXPERIMENT = """\
name: x
cluster: {broker: rabbitmq, client: CLIENT}
stream: {kind: KIND, queues: 1}
load: {consumers: {count: 1, settings: {STORED}}}
faults: [{at: 5s, for: 9s, fault: FAULT, target: TARGET}]
"""


@pytest.mark.parametrize(("client", "kind", "fault", "target", "stored", "blamed"), [
    ("pika", "stream", "client.crash", "consumer", "", ["kind=stream"]),
    ("pika", "stream", "client.zombie", "clients", "", ["kind=stream"]),
    ("rstream", "stream", "client.crash", "consumer-0", "", ["store_offsets=false"]),
    ("rstream", "stream", "client.crash", "consumer", "store_offsets: true",
     ["store_offsets=true"]),
    ("pika", "stream", "client.crash", "producers", "", []),
    ("pika", "stream", "client.pause", "consumer", "", []),
    ("pika", "quorum", "client.crash", "consumer", "", []),
])  # fmt: skip
def test_a_stream_begins_anew_for_who_takes_the_place_of_a_consumer(
    tmp_path: Path, client: str, kind: str, fault: str, target: str, stored: str, blamed: list[str]
) -> None:
    """Nobody but the consumer knows how far it was, so what comes twice is no broken promise."""
    text = EXPERIMENT.replace("CLIENT", client).replace("KIND", kind).replace("STORED", stored)
    path = tmp_path / "x.yaml"
    path.write_text(text.replace("FAULT", fault).replace("TARGET", target))
    found = load_experiment(path).caveats()
    assert [each.setting for each in found if each.question == "duplication"] == blamed
