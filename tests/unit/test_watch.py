"""The watch: what it writes down, how it is dated, and that nothing holds it up."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.history.events import EventLog, read_events
from chaos.run.watch import Watch
from chaos.spi import Group, Json, View
from chaos.timing import now_ns, wait_until

ROOT = Path(__file__).parents[2]
ONE = View(controller="a", leaders={0: "a"}, alive=("a", "b"))
TWO = replace(ONE, leaders={0: "b"})


class FakeObserver:
    """Tells what the test says, and when it was asked."""

    def __init__(self) -> None:
        self.view: View | None = ONE
        self.answer: Group | None = Group("stable", 1, {0: 3})
        self.asked_ns: list[int] = []
        self.closed = False
        self.hanging = threading.Event()

    def observe(self, timeout_s: float) -> View:
        """See Observer."""
        self.asked_ns.append(now_ns())
        if self.view is None:
            raise DeadlineExceeded("an answer", timeout_s)
        return self.view

    def group(self, name: str, timeout_s: float) -> Group:
        """See ObservesGroups."""
        if self.answer is None:
            self.hanging.set()
            threading.Event().wait(1)
            raise ClusterError(name)
        return self.answer

    def close(self) -> None:
        """See Observer."""
        self.closed = True


@pytest.fixture
def observer() -> FakeObserver:
    return FakeObserver()


Seen = Callable[[str], list[Json]]


@pytest.fixture
def watched(tmp_path: Path, observer: FakeObserver) -> Iterator[tuple[Watch, Seen]]:
    """A watch, and the events of a kind so far."""
    events = EventLog(tmp_path / "events.jsonl")
    watch = Watch(observer, events, "readers")
    yield (
        watch,
        lambda kind: [
            event for event in read_events(tmp_path / "events.jsonl") if event["kind"] == kind
        ],
    )
    watch.end()
    events.close()


def until(look: Callable[[], object], what: str, within_s: float = 20) -> None:
    wait_until(look, what, within_s, every_s=0.01)


def test_only_changes_are_written_and_each_is_dated(
    observer: FakeObserver, watched: tuple[Watch, Seen]
) -> None:
    """Between the start of the last look that said otherwise and the end of the one that found
    it: so the change lies in between, whenever in a look it was seen."""
    _, seen = watched
    until(lambda: len(observer.asked_ns) > 5, "looks")
    assert len(seen("view")) == 1
    before_ns = now_ns()
    observer.view = TWO
    changed_ns = now_ns()
    until(lambda: len(seen("view")) == 2, "the change")
    event = seen("view")[1]
    assert event["leaders"] == {"0": "b"}
    assert event["since_ns"] <= changed_ns
    assert before_ns <= event["time_ns"]
    assert event["since_ns"] >= max(t for t in observer.asked_ns if t < before_ns) - 1_000_000
    until(lambda: len(observer.asked_ns) > 10, "more looks")
    assert len(seen("view")) == 2


def test_a_look_that_fails_widens_the_uncertainty(
    observer: FakeObserver, watched: tuple[Watch, Seen]
) -> None:
    """Nobody knows what was so while nobody answered."""
    watch, seen = watched
    watch.look()
    observer.view = None
    silent_ns = now_ns()
    with pytest.raises(ClusterError):
        watch.look()
    until(lambda: sum(t > silent_ns for t in observer.asked_ns) > 3, "looks in vain")
    observer.view = TWO
    until(lambda: len(seen("view")) == 2, "the change")
    assert seen("view")[1]["since_ns"] <= silent_ns


def test_the_group_is_written_and_holds_nothing_up(
    observer: FakeObserver, watched: tuple[Watch, Seen]
) -> None:
    """A coordinator that does not answer delays only the group."""
    _, seen = watched
    until(lambda: seen("group"), "the group")
    assert seen("group")[0]["lag"] == {"0": 3}
    observer.answer = None
    assert observer.hanging.wait(20)
    count = len(observer.asked_ns)
    until(lambda: len(observer.asked_ns) > count + 5, "looks while the group hangs")
    observer.answer = Group("empty", 0, {0: 3})
    until(lambda: seen("group")[-1]["state"] == "empty", "the group again")


def test_the_end_closes_the_observer(observer: FakeObserver, tmp_path: Path) -> None:
    """And no look comes after it."""
    events = EventLog(tmp_path / "events.jsonl")
    watch = Watch(observer, events)
    watch.end()
    assert observer.closed
    count = len(observer.asked_ns)
    assert not threading.Event().wait(0.1)
    assert len(observer.asked_ns) == count
    assert not [e for e in read_events(tmp_path / "events.jsonl") if e["kind"] == "group"]
    events.close()


def test_a_run_that_got_no_time_says_so(tmp_path: Path) -> None:
    """A process that is stopped stands still in all threads, as on a machine that has no time."""
    path = tmp_path / "events.jsonl"
    script = f"""
from pathlib import Path
from chaos.history.events import EventLog
from chaos.run.watch import Watch
from tests.unit.test_watch import FakeObserver
events = EventLog(Path({str(path)!r}))
watch = Watch(FakeObserver(), events)
events.add("started")
input()
watch.end()
"""

    def seen(kind: str) -> list[Json]:
        found = read_events(path) if path.exists() else iter(())
        return [event for event in found if event["kind"] == kind]

    arguments = [sys.executable, "-c", script]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE) as process:
        until(lambda: seen("started"), "its start", 60)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        until(lambda: seen("note"), "the note")
        process.communicate(b"\n", 60)
    assert process.returncode == 0
    (text,) = [event["text"] for event in seen("note")]
    assert re.fullmatch(r"this machine gave the run no time for \d+\.\d s", text)
