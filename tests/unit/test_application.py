"""The model of a consuming application: what is handled, tried again, buried, or held up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chaos import message
from chaos.experiment import Consumers
from chaos.history.reader import streams
from chaos.load.application import Application
from chaos.load.recorder import Recorder
from chaos.spi import Deliveries, Handling, Kind

RUN = 7
POISON = [Kind.MALFORMED, Kind.THROWS, Kind.HANGS]


@dataclass
class Burials:
    """Stands in for the dead-letter stream; `refuse` so many times first."""

    refuse: int = 0
    bodies: list[bytes] = field(default_factory=list)

    def put(self, body: bytes, stopped: Any) -> bool:
        self.refuse -= 1
        if self.refuse >= 0:
            return False
        self.bodies.append(body)
        return True


@dataclass
class Scene:
    """An application whose waits take no time; the run ends at a wait longer than `patience_s`, or
    after so many waits."""

    directory: Path
    settings: Consumers
    burials: Burials | None = None
    patience_s: float = 1000.0
    waits_left: int = 1000
    waits: list[float] = field(default_factory=list)
    finished: bool = False

    def __post_init__(self) -> None:
        self.recorder = Recorder(RUN, self.directory, "consumer-0", "deliveries")
        dead_letters: Any = self.burials
        self.app = Application(self.settings, self.recorder, dead_letters, self._wait)

    def _wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.waits_left -= 1
        return seconds <= self.patience_s and self.waits_left > 0

    def take(self, *kinds: Kind) -> bool:
        """Deliver messages of these kinds, numbered from 0."""
        count = len(kinds)
        bodies = message.encode(RUN, 3, 0, np.arange(count), 0, 100, np.array(kinds, np.uint32))
        return self.app.take(Deliveries(bodies, [0] * count, list(range(count)), 1))

    def rows(self, table: str, *names: str) -> list[tuple[Any, ...]]:
        """What is on record, these columns."""
        if not self.finished:
            self.finished = True
            self.recorder.finish()
        return [
            row
            for stream in streams(self.directory) if stream.table == table
            for batch in stream.batches()
            for row in zip(*(batch[name].tolist() for name in names), strict=True)
        ]  # fmt: skip


def outcomes(scene: Scene) -> list[tuple[int, int, Handling]]:
    """Sequence, attempt, outcome."""
    rows = scene.rows("handlings", "sequence", "attempt", "outcome")
    return [(sequence, attempt, Handling(outcome)) for sequence, attempt, outcome in rows]


def test_normal_messages_cost_nothing_when_nothing_is_configured(tmp_path: Path) -> None:
    """They are recorded as they come, handled when received; no wait, no row of its own."""
    scene = Scene(tmp_path, Consumers())
    assert scene.take(Kind.NORMAL, Kind.NORMAL)
    assert scene.waits == []
    rows = scene.rows("deliveries", "producer", "sequence", "kind", "handled_ns")
    assert rows == [(3, 0, 0, 1), (3, 1, 0, 1)]
    assert {stream.table for stream in streams(tmp_path)} == {"deliveries"}


def test_handling_takes_its_time_and_is_dated(tmp_path: Path) -> None:
    """`handle`, and what `client.slow` adds; batches are small enough for a fifth of a second."""
    scene = Scene(tmp_path, Consumers(handle_s=0.01))
    assert scene.app.most == 20
    scene.app.pace.set(0.03)
    assert scene.app.most == 5
    assert scene.take(Kind.NORMAL)
    assert scene.waits == [pytest.approx(0.04)]
    ((received_ns, handled_ns),) = scene.rows("deliveries", "received_ns", "handled_ns")
    assert handled_ns > received_ns


@pytest.mark.parametrize("kind", POISON)
def test_a_poisoned_message_is_tried_again_and_buried(tmp_path: Path, kind: Kind) -> None:
    """`retries` times more, then once into the dead-letter stream; what is behind it is handled."""
    burials = Burials()
    settings = Consumers(retries=2, retry_after_s=0.5, dead_letter=True, handler_timeout_s=1.0)
    scene = Scene(tmp_path, settings, burials)
    assert scene.take(Kind.NORMAL, kind, Kind.NORMAL)
    failed = Handling.TIMED_OUT if kind is Kind.HANGS else Handling.THREW
    assert outcomes(scene) == [
        (1, 1, failed), (1, 2, failed), (1, 3, failed), (1, 3, Handling.DEAD_LETTERED)
    ]  # fmt: skip
    assert len(burials.bodies) == 1
    assert message.decode(RUN, burials.bodies).sequence.tolist() == [1]
    assert scene.waits.count(0.5) == 2
    assert scene.app.met == {3: 1}


def test_a_burial_that_fails_is_tried_again(tmp_path: Path) -> None:
    """It is done with only when it is surely there."""
    scene = Scene(tmp_path, Consumers(dead_letter=True), Burials(refuse=2))
    assert scene.take(Kind.MALFORMED)
    assert [outcome for *_, outcome in outcomes(scene)].count(Handling.DEAD_LETTERED) == 1
    assert scene.burials
    assert len(scene.burials.bodies) == 1


def test_without_a_dead_letter_stream_it_is_tried_for_ever(tmp_path: Path) -> None:
    """Nothing behind it is handled; when the run ends it is on record as not done with."""
    scene = Scene(tmp_path, Consumers(retries=1), waits_left=60)
    assert not scene.take(Kind.NORMAL, Kind.THROWS, Kind.NORMAL)
    assert len(outcomes(scene)) > 20
    assert {outcome for *_, outcome in outcomes(scene)} <= {Handling.THREW, Handling.CUT}


def test_a_handler_that_never_returns_is_cut_by_the_end_of_the_run_only(tmp_path: Path) -> None:
    """Without a time-out."""
    scene = Scene(tmp_path, Consumers(dead_letter=True, retries=3), Burials())
    assert not scene.take(Kind.HANGS, Kind.NORMAL)
    assert outcomes(scene) == [(0, 1, Handling.CUT)]
    assert scene.app.met == {3: 0}


def test_a_time_out_shorter_than_the_work_fails_normal_messages(tmp_path: Path) -> None:
    """The handler cannot know that it would have come to an end."""
    scene = Scene(tmp_path, Consumers(handle_s=0.2, handler_timeout_s=0.1, dead_letter=True),
                  Burials())  # fmt: skip
    assert scene.take(Kind.NORMAL)
    assert outcomes(scene) == [(0, 1, Handling.TIMED_OUT), (0, 1, Handling.DEAD_LETTERED)]


def test_the_pace_is_the_mean_since_the_last_look(tmp_path: Path) -> None:
    """An order starts it anew."""
    pace = Scene(tmp_path, Consumers()).app.pace
    pace.set(0.5)
    pace.add(0.4)
    pace.add(0.6)
    assert pace.told() == {"slow_s": 0.5, "took_s": pytest.approx(0.5)}
    pace.add(0.1)
    assert pace.told()["took_s"] == pytest.approx(0.1)
    assert pace.told()["took_s"] == pytest.approx(0.1)
    pace.set(0.0)
    assert pace.told() == {"slow_s": 0.0, "took_s": 0.0}


def test_what_cannot_be_handled_is_handed_back_at_once(tmp_path: Path) -> None:
    """One attempt each time it comes, no wait and no delivery on record; what is behind it goes
    on."""
    back: list[int] = []
    scene = Scene(tmp_path, Consumers(hand_back=True, dead_letter=True))
    scene.app.hand_back = back.append
    assert scene.take(Kind.NORMAL, Kind.THROWS, Kind.NORMAL)
    assert back == [1]
    assert outcomes(scene) == [(1, 1, Handling.THREW)]
    assert scene.rows("deliveries", "sequence") == [(0,), (2,)]
