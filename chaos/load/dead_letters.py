"""The dead-letter stream: where an application puts the messages that it cannot handle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from chaos.spi import NUMBER_AT, Address, Broker, Numbers, Outcome, Settings

_ANSWER_WITHIN_S = 15.0
_POLL_S = 0.05
_CLOSE_WITHIN_S = 2.0


def dead_letter_stream(stream: Any) -> Any:  # noqa: ANN401 - the broker's own type
    """The stream beside a run's stream for what its application cannot handle."""
    return replace(stream, name=f"{stream.name}-dlt")


class DeadLetters:
    """Puts one message at a time into the dead-letter stream, unchanged, and waits until the broker
    has acknowledged it."""

    def __init__(
        self,
        broker: Broker,
        clients: Mapping[str, Address],
        stream: Any,  # noqa: ANN401 - the broker's own type
        settings: Settings,
    ) -> None:
        """`settings` are those of the producers, as an application has them in one place."""
        self._outcomes: dict[int, Outcome] = {}
        self._producer = broker.producer(clients, dead_letter_stream(stream), settings, self)

    def acknowledged(
        self,
        sequences: Numbers,
        partitions: Numbers,  # noqa: ARG002
        offsets: Numbers,  # noqa: ARG002
        done_ns: int,  # noqa: ARG002
    ) -> None:
        """See spi.SendSink."""
        self._outcomes.update((int(sequence), Outcome.OK) for sequence in sequences)

    def failed(
        self,
        sequence: int,
        partition: int,  # noqa: ARG002
        done_ns: int,  # noqa: ARG002
        outcome: Outcome,
        reason: str,  # noqa: ARG002
    ) -> None:
        """See spi.SendSink."""
        self._outcomes[sequence] = outcome

    def put(self, body: bytes, stopped: Callable[[], bool]) -> bool:
        """Whether it is surely there; False too when the wait was `stopped` or took too long."""
        # The number that it has already: a client may read it off the body, see NUMBER_AT.
        number = int.from_bytes(body[NUMBER_AT : NUMBER_AT + 8], "little", signed=True)
        deadline, taken = time.monotonic() + _ANSWER_WITHIN_S, 0
        self._outcomes.clear()
        while number not in self._outcomes:
            taken = taken or self._producer.send(number, [None], [body])
            self._producer.poll(_POLL_S)
            if stopped() or time.monotonic() > deadline:
                break
        return self._outcomes.pop(number, None) is Outcome.OK

    def close(self) -> None:
        """Disconnect."""
        self._producer.close(_CLOSE_WITHIN_S)
