"""A message is buried when, and only when, the broker has acknowledged it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chaos import message
from chaos.load.dead_letters import DeadLetters
from chaos.spi import Outcome, SendSink


@dataclass
class Answering:
    """A broker and its producer. Reports go by the number in the body, as Kafka's do."""

    outcome: Outcome | None = Outcome.OK
    sink: Any = None
    open: list[bytes] = field(default_factory=list)

    def producer(self, clients: Any, stream: Any, settings: Any, sink: SendSink) -> Answering:
        self.sink = sink
        return self

    def send(self, first: int, keys: Any, bodies: list[bytes]) -> int:
        self.open += bodies
        return len(bodies)

    def poll(self, timeout_s: float) -> None:
        for body in self.open:
            number = int(message.decode(7, [body]).sequence[0])
            if self.outcome is Outcome.OK:
                self.sink.acknowledged(np.array([number]), [0], [0], 1)
            elif self.outcome is not None:
                self.sink.failed(number, 0, 1, self.outcome, "no")
        self.open.clear()


@dataclass(frozen=True)
class Stream:
    name: str = "s"


def body(number: int) -> bytes:
    return message.encode(7, 0, number, np.array([1]), 1, 200)[0]


def put(broker: Answering, number: int, stopped: bool = False) -> bool:
    letters = DeadLetters(broker, {}, Stream(), {})  # type: ignore[arg-type]
    return letters.put(body(number), lambda: stopped)


def test_an_acknowledged_message_is_buried_whatever_its_number() -> None:
    """Its number is that of the message, not of the put."""
    broker = Answering()
    letters = DeadLetters(broker, {}, Stream(), {})  # type: ignore[arg-type]
    assert all(letters.put(body(number), lambda: False) for number in (900, 3, 901))


def test_a_refused_message_and_one_of_unknown_fate_are_not_buried() -> None:
    """Nor one whose wait was stopped."""
    assert not put(Answering(Outcome.REFUSED), 5)
    assert not put(Answering(Outcome.INDETERMINATE), 5)
    assert not put(Answering(None), 5, stopped=True)
