"""Client settings are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.experiment import Experiment, load_experiment
from chaos.spi import Settings, Transactions
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


BROKER = "cluster: {broker: kafka}"


def wrong(tmp_path: Path, text: str) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nfaults: []\n{text}\n")
    with pytest.raises(UsageError) as raised:
        load_experiment(path)
    return str(raised.value)


def test_transactions_that_cannot_be_had_are_told_with_their_place(tmp_path: Path) -> None:
    """By the key, whether the broker, the settings or the numbers do not go with them."""
    asked = "load: {producers: {transactions: {messages: 10}"
    told = wrong(tmp_path, f"cluster: {{broker: memory}}\n{asked}}}}}")
    assert "load.producers.transactions: this broker has no transactions" in told
    told = wrong(tmp_path, f"{BROKER}\n{asked}, settings: {{enable.idempotence: false}}}}}}")
    assert "load.producers.transactions: does not go with" in told
    assert "idempotence" in told
    told = wrong(tmp_path, f"{BROKER}\nload: {{producers: {{transactions: {{message: 0}}}}}}")
    assert 'did you mean "messages"' in told
    told = wrong(tmp_path, f"{BROKER}\nload: {{producers: {{settings: {{transactional.id: x}}}}}}")
    assert "transactions: {messages:" in told


def test_transactions_come_back_from_the_run_directory(tmp_path: Path) -> None:
    """Workers and `chaos verify` build the experiment from its resolved form."""
    path = tmp_path / "x.yaml"
    path.write_text(
        f"name: x\nfaults: []\n{BROKER}\nload: {{producers: {{transactions: {{abort: 0.5}}}}}}\n"
    )
    experiment = load_experiment(path)
    assert experiment.load.producers.transactions == Transactions(messages=100, abort=0.5)
    assert Experiment.from_resolved(experiment.resolved) == experiment
