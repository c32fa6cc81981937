"""Looking at and preparing a Kafka cluster through its admin client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import ElectionType, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Settings
from chaos.timing import wait_until
from chaos_adapters.brokers.kafka.clients import QUIET, bootstrap
from chaos_adapters.brokers.kafka.topology import node_id, node_name
from chaos_adapters.brokers.kafka.wire import ask, controller, describe_quorum, silent

T = TypeVar("T")
_INTERNAL_TOPICS = ("__",)


class Admin:
    """One admin connection. Everything raises ClusterError when the cluster does not answer."""

    def __init__(self, clients: Mapping[str, Address]) -> None:
        self._client = AdminClient(
            {**bootstrap(clients), "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 250},
            logger=QUIET,
        )

    def metadata(self, timeout_s: float, topic: str | None = None) -> Any:  # noqa: ANN401
        """Kafka's metadata, of one topic or of all."""
        try:
            return self._client.list_topics(topic, timeout=timeout_s)
        except KafkaException as error:
            raise ClusterError(f"Kafka does not answer: {error.args[0]}") from error

    def create(
        self, topic: str, partitions: int, replicas: int, settings: Settings, *fine: int
    ) -> None:
        """Create a topic; these answers are fine, too (codes of KafkaError)."""
        config = {key: str(value) for key, value in settings.items()}
        new = NewTopic(topic, partitions, replicas, config=config)
        _result(self._client.create_topics([new])[topic], f"creating topic {topic}", *fine)

    def delete_topics(self, topics: Sequence[str]) -> None:
        """Delete topics; one that is gone already is fine."""
        if not topics:
            return
        for topic, future in self._client.delete_topics(list(topics)).items():
            _result(future, f"deleting topic {topic}", KafkaError.UNKNOWN_TOPIC_OR_PART)

    def groups(self, timeout_s: float) -> list[str]:
        """The ids of all consumer groups."""
        future = self._client.list_consumer_groups(request_timeout=timeout_s)
        return [group.group_id for group in _result(future, "listing groups").valid]

    def delete_groups(self, groups: Sequence[str]) -> None:
        """Delete consumer groups; one that is gone already is fine."""
        if not groups:
            return
        for group, future in self._client.delete_consumer_groups(list(groups)).items():
            _result(future, f"deleting group {group}", KafkaError.GROUP_ID_NOT_FOUND)

    def elect(
        self, kind: ElectionType, wanted: Sequence[TopicPartition]
    ) -> dict[TopicPartition, KafkaError | None]:
        """Elect leaders; None for a partition that got another one, else why not."""
        # It takes none of its documented options: each one is a SystemError (confluent-kafka 2.16).
        future = self._client.elect_leaders(kind, list(wanted))
        # Kafka answers this way, without any partition, when no election at all was needed.
        found = _result(future, "electing leaders", KafkaError.ELECTION_NOT_NEEDED) or {}
        return {
            partition: error.args[0] if isinstance(error, KafkaException) else error
            for partition, error in found.items()
        }


def _result(future: Future[T], what: str, *fine: int) -> T:
    try:
        return future.result(30)
    except KafkaException as error:
        if error.args[0].code() in fine:
            return None  # type: ignore[return-value]
        raise ClusterError(f"{what}: {error.args[0]}") from error
    except TimeoutError as error:
        raise ClusterError(f"{what}: no answer within 30 s") from error


def missing(clients: Mapping[str, Address], voters: Sequence[str], timeout_s: float) -> str:
    """What the cluster still lacks: nodes that are not registered or do not serve."""
    admin = Admin(clients)
    try:
        found = {broker.id for broker in admin.metadata(timeout_s).brokers.values()}
    except ClusterError as error:
        return str(error)
    if len(found) < len(clients):
        return f"{len(found)} of {len(clients)} brokers have registered"
    # Metadata still names a broker that was killed and restarted a moment ago, until its session
    # ends; whether it really serves only it can tell.
    for name, address in clients.items():
        try:
            answer = ask(address, describe_quorum(), timeout_s)
        except ClusterError as error:
            return f"{name} does not serve yet: {error}"
        if not controller(answer):
            return f"{name} does not serve yet: it knows no controller"
        deaf = _names(silent(answer, map(node_id, voters)))
    return f"{', '.join(deaf)} does not follow the metadata" if deaf else ""


def prepare(
    clients: Mapping[str, Address],
    topic: str,
    partitions: int,
    replicas: int,
    settings: Settings,
    racks: Mapping[str, str],
    timeout_s: float,
) -> None:
    """Create the topic, and wait until each partition has its preferred leader and all replicas.

    With racks (broker -> rack) each partition must have its replicas in as many as it can.
    """
    admin = Admin(clients)
    deadline = time.monotonic() + timeout_s
    fine: list[int] = []

    def create() -> None:
        try:
            admin.create(topic, partitions, replicas, settings, *fine)
        except ClusterError as error:
            if _unanswered(error):  # it may have been done all the same
                fine.append(KafkaError.TOPIC_ALREADY_EXISTS)
            raise

    _retry(create, deadline)

    def whole() -> bool:
        found = admin.metadata(timeout_s, topic).topics[topic].partitions
        return len(found) == partitions and all(
            len(p.isrs) == replicas and p.leader == p.replicas[0] for p in found.values()
        )

    wait_until(whole, f"all replicas of {topic} in sync", timeout_s, every_s=0.05)
    _demand_spread(admin.metadata(timeout_s, topic).topics[topic].partitions, racks)


def _demand_spread(partitions: Mapping[int, Any], racks: Mapping[str, str]) -> None:
    for number, partition in sorted(partitions.items()):
        names = _names(partition.replicas)
        reached = {racks[name] for name in names if name in racks}
        if len(reached) < min(len(names), len(set(racks.values()))):
            raise ClusterError(
                f"the replicas of partition {number}, {', '.join(names)}, are only in "
                f"{', '.join(sorted(reached)) or 'no rack'}: Kafka did not spread them over racks"
            )


def _retry(act: Callable[[], None], deadline: float) -> None:
    """A cluster that just came up may refuse for a moment (too few brokers, no controller)."""
    while True:
        try:
            act()
        except ClusterError as error:
            if time.monotonic() > deadline or _permanent(error):
                raise
            time.sleep(0.2)
        else:
            return


def _code(error: ClusterError) -> int | None:
    """What Kafka or its client gave as the reason; None where there was no answer at all."""
    cause = error.__cause__
    return int(cause.args[0].code()) if isinstance(cause, KafkaException) else None


def _unanswered(error: ClusterError) -> bool:
    """Whether nobody knows if what was asked for was done."""
    unknown = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, None}
    return _code(error) in unknown


def _permanent(error: ClusterError) -> bool:
    """Whether asking again cannot help: what was asked for is wrong."""
    return _code(error) in {
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_ALREADY_EXISTS,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    }


def reset(clients: Mapping[str, Address], timeout_s: float) -> None:
    """Delete all topics and groups; prove that none is left and that all replicas are in sync."""
    admin = Admin(clients)

    def clean() -> bool:
        groups = admin.groups(timeout_s)
        topics = [name for name in admin.metadata(timeout_s).topics if not _internal(name)]
        admin.delete_groups(groups)
        admin.delete_topics(topics)
        return not groups and not topics

    def whole() -> bool:
        found = admin.metadata(timeout_s)
        partitions = [p for topic in found.topics.values() for p in topic.partitions.values()]
        return len(found.brokers) == len(clients) and all(
            len(p.isrs) == len(p.replicas) and p.leader in p.isrs for p in partitions
        )

    deadline = time.monotonic() + timeout_s
    _retry(lambda: _demand(clean, "an empty cluster", 5), deadline)
    _demand(whole, "all brokers and replicas in sync", timeout_s)


def _demand(look: Callable[[], bool], what: str, timeout_s: float) -> None:
    try:
        wait_until(look, what, timeout_s, every_s=0.1)
    except DeadlineExceeded as error:
        raise ClusterError(str(error)) from error


def _internal(topic: str) -> bool:
    return topic.startswith(_INTERNAL_TOPICS)


def _names(identities: Sequence[int]) -> tuple[str, ...]:
    return tuple(node_name(identity) for identity in identities)
