"""Settings of brokers and topics: checked by name before the start, and read back after it.

Kafka ignores a setting of a broker that it does not know, so a wrong name changes nothing and says
nothing. Names are checked against the list of the version; whatever has no list (an image of
another version) is left to the reading back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from chaos.errors import ClusterError
from chaos.spi import Address, Settings
from chaos.timing import wait_until
from chaos_adapters.brokers.kafka import versions
from chaos_adapters.brokers.kafka.clients import QUIET, bootstrap
from chaos_adapters.brokers.kafka.topology import node_id
from chaos_adapters.brokers.properties import as_text, near_miss, same

STREAM = "stream"
"""Whom the settings of the topic belong to."""
HIDDEN = "(hidden)"
"""What Kafka does not tell: passwords, and the values of settings that it does not know."""

_OWNED = {
    "advertised.listeners": "addresses are the run's affair",
    "broker.id": "nodes are numbered by the run",
    "broker.rack": "set cluster.racks",
    "controller.listener.names": "addresses are the run's affair",
    "controller.quorum.bootstrap.servers": "addresses are the run's affair",
    "controller.quorum.voters": "set cluster.controllers",
    "inter.broker.listener.name": "addresses are the run's affair",
    "listeners": "addresses are the run's affair",
    "node.id": "nodes are numbered by the run",
    "process.roles": "set cluster.controllers",
}
"""Settings that belong to the run, and what to do."""
_NAMES_A_CLASS = (".class", ".class.name", ".classes", ".reporters")
"""Ends of settings that name code of the user's, which reads settings of its own."""


def problems(version: str, broker: Settings, topic: Settings) -> Iterator[tuple[str, str]]:
    """Each setting that is wrong by its name, as (path in the experiment, what to do)."""
    for name in broker:
        if name in _OWNED:
            what = f"is not for an experiment to set: {_OWNED[name]}"
            yield f"cluster.settings.{name}", what
    known = versions.known_settings(version)
    if not known:
        return
    for name in broker:
        if _strange(name, known, broker):
            yield f"cluster.settings.{name}", _unknown(name, "broker", version)
    for name in topic:
        if name not in known["topic"]:
            yield f"stream.settings.{name}", _unknown(name, "topic", version)


def _strange(name: str, known: Mapping[str, frozenset[str]], broker: Settings) -> bool:
    """Whether nobody in a broker reads this setting.

    Kafka hands all settings to code of the user's, and what such code reads cannot be told.
    """
    if name in known["broker"] or name in _OWNED or name.startswith("listener.name."):
        return False
    return not any(setting.endswith(_NAMES_A_CLASS) for setting in broker)


def _unknown(name: str, owner: str, version: str) -> str:
    known = versions.known_settings(version)
    other, section = {
        "broker": ("topic", "stream.settings"), "topic": ("broker", "cluster.settings"),
    }[owner]  # fmt: skip
    if name in known[other]:
        return f"is a setting of a {other} in Kafka {version}: write it into {section}"
    return f"is no {owner} setting of Kafka {version}{near_miss(name, known[owner])}"


def in_force(
    clients: Mapping[str, Address], topic: str, timeout_s: float
) -> Mapping[str, Mapping[str, str]]:
    """What each broker that clients reach says of itself, and the topic's settings.

    Dedicated controllers are not asked: clients have no way to them. Raises ClusterError.
    """
    admin = AdminClient(bootstrap(clients), logger=QUIET)
    wanted = {name: ConfigResource(ResourceType.BROKER, str(node_id(name))) for name in clients}
    wanted[STREAM] = ConfigResource(ResourceType.TOPIC, topic)
    asked = {
        # A request may name one broker at most.
        owner: admin.describe_configs([resource], request_timeout=timeout_s)[resource]
        for owner, resource in wanted.items()
    }
    found = {}
    for owner, future in asked.items():
        try:
            entries: Mapping[str, Any] = _entries(admin, wanted[owner], future, timeout_s)
        except (KafkaException, TimeoutError) as error:
            raise ClusterError(f"{owner} does not tell its settings: {error}") from error
        found[owner] = {name: _value(entry) for name, entry in sorted(entries.items())}
    return found


def _entries(admin: AdminClient, resource: ConfigResource, first: Any, timeout_s: float) -> Any:  # noqa: ANN401
    """The answer; a broker may not have heard yet of a topic that was made just now."""
    futures = chain([first], repeat(None))

    def ask() -> Any:  # noqa: ANN401
        future = next(futures) or admin.describe_configs([resource])[resource]
        try:
            return future.result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise

    return wait_until(ask, "the settings of a new topic", timeout_s)


def _value(entry: Any) -> str:  # noqa: ANN401 - confluent_kafka's ConfigEntry
    return HIDDEN if entry.is_sensitive else str(entry.value or "")


def unheeded(
    version: str, broker: Settings, topic: Settings, found: Mapping[str, Mapping[str, str]]
) -> Sequence[str]:
    """What was set and is not in force, a sentence each."""
    known = versions.known_settings(version) or versions.all_known_settings()
    wrong = []
    for owner, values in found.items():
        for name, wanted in (topic if owner == STREAM else broker).items():
            if name not in values:
                wrong.append(f"{owner} does not know the setting {name}.")
            elif values[name] != HIDDEN and not same(wanted, values[name]):
                wrong.append(f"{owner} has {name}={values[name]}, and was told {as_text(wanted)}.")
            elif owner != STREAM and values[name] == HIDDEN and _strange(name, known, broker):
                # Kafka hides what it does not know, as it may be a secret.
                wrong.append(f"{owner} was told {name}, which Kafka does not know.")
    return wrong


def misplaced(racks: Mapping[str, str], found: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """Brokers that do not stand in the rack that they should, a sentence each."""
    return [
        f"{name} should stand in rack {rack}, and says {there or 'none'}."
        for name, rack in racks.items()
        if (there := found[name].get("broker.rack", "")) != rack
    ]
