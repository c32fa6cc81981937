"""A topic is made once, whatever becomes of the answers."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from chaos.errors import ClusterError
from chaos_adapters.brokers.kafka import admin

EXISTS = KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS))


class FakeAdmin:
    """Gives these answers to requests for a topic; None: it is made."""

    def __init__(self, answers: list[BaseException | None]) -> None:
        self.answers, self.asked = answers, 0

    def create_topics(self, wanted: list[Any]) -> dict[str, Future[None]]:
        self.asked += 1
        future: Future[None] = Future()
        answer = self.answers.pop(0)
        future.set_exception(answer) if answer else future.set_result(None)
        return {wanted[0].topic: future}

    def list_topics(self, topic: str, timeout: float) -> Any:
        partition = SimpleNamespace(isrs=[1], leader=1, replicas=[1])
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: partition})})


def prepared(monkeypatch: pytest.MonkeyPatch, *answers: BaseException | None) -> int:
    """How often it was asked for until the topic was there."""
    fake = FakeAdmin(list(answers))
    monkeypatch.setattr(admin, "AdminClient", lambda *_, **__: fake)
    admin.prepare({}, "t", 1, 1, {}, {}, 10)
    return fake.asked


@pytest.mark.parametrize("lost", [
    TimeoutError(), KafkaException(KafkaError(KafkaError._TRANSPORT)),
    KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT)),
])  # fmt: skip
def test_a_request_without_an_answer_may_have_made_it(
    monkeypatch: pytest.MonkeyPatch, lost: BaseException
) -> None:
    """So that it exists when it is asked for again is what was wanted."""
    assert prepared(monkeypatch, lost, EXISTS) == 2
    assert prepared(monkeypatch, lost, None) == 2


def test_somebody_elses_topic_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at first nor after a refusal, which made nothing."""
    refused = KafkaException(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR))
    for answers in ([EXISTS, None], [refused, EXISTS, None]):
        with pytest.raises(ClusterError, match="TOPIC_ALREADY_EXISTS"):
            prepared(monkeypatch, *answers)
