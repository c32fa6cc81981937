"""What a consuming application does with its messages, as a model with the settings of
`load.consumers`.

    received ──attempt──> handled ─────────────────────────> done
                 │ threw, timed out
                 ├─ hand_back ──> back to the broker, which delivers it again or buries it
                 ├─ fewer than 1 + retries so far ──> wait, attempt again
                 ├─ dead_letter ──> put there ─────────────> done
                 └─ else ──> wait, attempt again, for ever

One thread does one message at a time, as most applications do, so what is behind a message waits
for it, and a handler that never returns keeps the consumer from asking for more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos import message
from chaos.experiment import Consumers
from chaos.load.dead_letters import DeadLetters
from chaos.load.recorder import Recorder
from chaos.spi import Deliveries, Handling, Json, Kind
from chaos.timing import now_ns

_BATCH_S = 0.2
_MOST = 1000
_FOREVER_S = 1e9


@dataclass
class Pace:
    """How long messages took lately: what is told of `client.slow`."""

    slow_s: float = 0.0
    took_s: float = 0.0
    _count: int = 0
    _sum_s: float = 0.0

    def set(self, slow_s: float) -> None:
        """From now on each message takes so much longer."""
        self.slow_s, self.took_s, self._count, self._sum_s = slow_s, 0.0, 0, 0.0

    def add(self, seconds: float) -> None:
        """One more message was handled."""
        self._count += 1
        self._sum_s += seconds

    def told(self) -> Json:
        """`took_s`: the mean time of a message since the last look, or of the look before."""
        if self._count:
            self.took_s, self._count, self._sum_s = self._sum_s / self._count, 0, 0.0
        return {"slow_s": self.slow_s, "took_s": self.took_s}


@dataclass
class Application:
    """Handles what is delivered. `wait(seconds)` lets other things happen meanwhile and is False
    when the run is over."""

    settings: Consumers
    recorder: Recorder
    dead_letters: DeadLetters | None
    wait: Callable[[float], bool]
    hand_back: Callable[[int], None] | None = None
    """Gives one message of a batch back to the broker, by its place."""
    pace: Pace = field(default_factory=Pace)
    met: dict[int, int] = field(default_factory=dict)
    """The highest number of a poisoned message that met the handler, by producer."""

    @property
    def most(self) -> int:
        """How many messages to ask for: as many as are handled in a moment, as a crash repeats all
        of a batch."""
        each_s = self.settings.handle_s + self.pace.slow_s
        return max(1, min(_MOST, int(_BATCH_S / each_s))) if each_s else _MOST

    def take(self, deliveries: Deliveries) -> bool:
        """Handle all of a batch; False: the run was over before."""
        plain = not (self.settings.handle_s or self.pace.slow_s)
        if plain and not message.any_odd(deliveries.bodies):
            self.recorder.add(deliveries)
            return True
        decoded = message.decode(self.recorder.run, deliveries.bodies)
        for index, kind in enumerate(decoded.kind.tolist()):
            attempts = _Attempts(
                self, deliveries, index, Kind(kind) if kind in _KINDS else Kind.MALFORMED,
                int(decoded.producer[index]), int(decoded.sequence[index]),
            )  # fmt: skip
            end = attempts.make()
            if end is Handling.CUT:
                return False
            if end in (Handling.HANDLED, Handling.DEAD_LETTERED):
                self.recorder.add(_one(deliveries, index), now_ns())
        return True

    def told(self) -> Json:
        """For the engine."""
        return {**self.pace.told(), "met": self.met}


_KINDS = frozenset(Kind)


@dataclass
class _Attempts:
    """All that is done about one message."""

    app: Application
    deliveries: Deliveries
    index: int
    kind: Kind
    producer: int
    sequence: int
    count: int = 0

    def make(self) -> Handling:
        """Until it is handled, buried or handed back: how it ended. CUT: the run was over."""
        app, settings = self.app, self.app.settings
        while True:
            self.count += 1
            if self.kind:
                app.met[self.producer] = max(self.sequence, app.met.get(self.producer, -1))
            started_ns, started_s = now_ns(), time.monotonic()
            outcome = self._attempt()
            if outcome is Handling.HANDLED:
                app.pace.add(time.monotonic() - started_s)
            if outcome is not Handling.HANDLED or self.count > 1:
                self._record(started_ns, outcome)
            if outcome in (Handling.HANDLED, Handling.CUT):
                return outcome
            if app.hand_back:
                app.hand_back(self.index)
                return outcome
            if self.count > settings.retries and app.dead_letters and self._bury(app.dead_letters):
                return Handling.DEAD_LETTERED
            if not app.wait(settings.retry_after_s):
                return Handling.CUT

    def _attempt(self) -> Handling:
        if self.kind is Kind.MALFORMED:
            return Handling.THREW
        settings = self.app.settings
        needs_s = settings.handle_s + self.app.pace.slow_s
        if self.kind is Kind.HANGS:
            needs_s = _FOREVER_S
        limit_s = settings.handler_timeout_s
        late = limit_s is not None and needs_s > limit_s
        if not self.app.wait(limit_s if late and limit_s is not None else needs_s):
            return Handling.CUT
        if late:
            return Handling.TIMED_OUT
        return Handling.THREW if self.kind is Kind.THROWS else Handling.HANDLED

    def _bury(self, dead_letters: DeadLetters) -> bool:
        started_ns = now_ns()
        body = self.deliveries.bodies[self.index]
        buried = dead_letters.put(body, lambda: not self.app.wait(0))
        if buried:
            self._record(started_ns, Handling.DEAD_LETTERED)
        return buried

    def _record(self, started_ns: int, outcome: Handling) -> None:
        where = self.deliveries.partitions[self.index], self.deliveries.offsets[self.index]
        self.app.recorder.add_handling((
            self.producer, self.sequence, *where, int(self.kind), self.count, started_ns, now_ns(),
            int(outcome),
        ))  # fmt: skip


def _one(batch: Deliveries, index: int) -> Deliveries:
    again = batch.redelivered
    return Deliveries(
        batch.bodies[index : index + 1], batch.partitions[index : index + 1],
        batch.offsets[index : index + 1], batch.received_ns,
        again and again[index : index + 1],
    )  # fmt: skip
