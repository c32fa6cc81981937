"""What people see of a run, from recorded events."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pytest
from printed import assert_plain, text, widest, words
from rich.console import Console

from chaos.spi import Json
from chaos.ui import screen as screens
from chaos.ui.live import Live, frame
from chaos.ui.output import Tolerant
from chaos.ui.plain import Plain
from chaos.ui.progress import Progress, Tone, view_changes
from chaos.ui.screen import Screen
from chaos.ui.text import clean, clock, figures, listed, number, ranges

START_NS = 1_700_000_000_000_000_000


def at(seconds: float, kind: str, **fields: object) -> Json:
    """An event, so many seconds after the run began."""
    return {"time_ns": START_NS + round(seconds * 1e9), "kind": kind, **fields}


def counts(seconds: float, **values: int) -> Json:
    zero = dict.fromkeys(("due", "sent", "ok", "refused", "indeterminate", "received"), 0)
    return at(seconds, "rates", **{**zero, **values})


def fault(seconds: float, what: str, **fields: object) -> Json:
    return at(seconds, "fault", id="1-process.kill", fault="process.kill", what=what, **fields)


LEADERS = {"0": "b-1", "1": "b-2", "2": "b-1"}
IN_SYNC = {str(number): ["b-1", "b-2", "b-3"] for number in range(3)}
RUN = [
    at(0, "run", run="ab", name="drill", seed=7, runtime="local", versions={}),
    at(0, "phase", phase="start"),
    at(1, "phase", phase="ready"),
    at(2, "cluster", id="c0ffee", reused=False, clients={"b-1": "127.0.0.1:9001"}),
    at(2, "view", controller="b-3", leaders=LEADERS, replicas={}, in_sync=IN_SYNC),
    at(3, "phase", phase="baseline", until_ns=START_NS + 8_000_000_000),
    counts(4, due=1000, ok=900, received=800),
    counts(5, due=2000, ok=1900, refused=10, indeterminate=20, received=1850),
    fault(8, "planned", nodes=["b-1"]),
    at(8, "phase", phase="faults", until_ns=START_NS + 20_000_000_000),
    fault(8, "attempt", nodes=["b-1"]),
    fault(8.1, "injected"),
    fault(8.2, "effect", figures={"b-1": "dead"}),
    at(
        9, "view", controller="b-3", leaders={"0": None, "1": "b-2", "2": None},
        replicas={}, in_sync={key: ["b-2", "b-3"] for key in IN_SYNC},
    ),
    fault(20, "heal"),
    fault(21.5, "gone", figures={"b-1": "running"}),
    at(22, "note", text="first line\nsecond \x1b[31mred\x1b[0m\x07 line"),
    at(23, "interrupted", why="while waiting for: the next phase"),
    at(24, "error", why="the disk is full", exit_code=3),
    at(25, "phase", phase="done"),
]  # fmt: skip
"""One of everything."""


def plain(events: Iterable[Json]) -> str:
    """What is written of a run without a terminal."""
    file = StringIO()
    with Plain(file) as display:
        for event in events:
            display.take(event)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


# --------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "messages", "0 messages"),
        (1234567, "messages", "1,234,567 messages"),
        (9.2137, "s", "9.21 s"),
        (0.0123, "s", "0.012 s"),
        (123.456, "s", "123.5 s"),
        (0.99875, "share", "99.88%"),
        (1.0, "share", "100%"),
        (0.999999, "share", "99.99+%"),
        (4, "rows", "4"),
    ],
)
def test_a_number_has_its_unit_and_few_digits(value: float, unit: str, shown: str) -> None:
    """A share just below 1 is never shown as 100%."""
    assert number(value, unit) == shown


def test_text_of_others_cannot_steer_a_terminal() -> None:
    """Escape sequences go, other control characters become visible, lines and tabs stay."""
    assert clean("\x1b[2J\x1b]0;title\x07a\tb\r\nc\x9b\x00") == "a    b\nc��"


def test_lists_are_short() -> None:
    """Many things are the first few and how many more there are."""
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(9)) == "0, 1, 2, 3, 4, 5 and 3 more"
    assert ranges([5, 0, 1, 2, 7]) == "0-2, 5, 7"
    assert [clock(value) for value in (-1, 7.9, 67, 3723)] == ["0:00", "0:07", "1:07", "1:02:03"]


def test_figures_read_as_words() -> None:
    """1 and 0 are numbers, though Python takes them for truth values too."""
    measured = {"unanswered links": 4, "up": True, "count": 1, "took": 0.51234, "who": ["a", "b"]}
    assert figures(measured) == "unanswered links 4, up yes, count 1, took 0.512, who a, b"


# ------------------------------------------------------------------------------------ progress


def test_rates_are_what_grew_between_two_reports() -> None:
    """Per second; failed are refused and indeterminate, waiting has no answer yet."""
    progress = Progress()
    progress.take(counts(4, due=1000, ok=900, received=800))
    assert progress.rates is None
    progress.take(counts(6, due=2000, ok=1900, refused=10, indeterminate=20, received=1850))
    rates = progress.rates
    assert rates is not None
    assert (rates.acknowledged, rates.failed, rates.received) == (500, 15, 525)
    assert rates.waiting == 70


def test_a_fault_is_shown_from_its_attempt_until_it_is_proved_gone() -> None:
    """What could not be proved or healed says so."""
    progress = Progress()
    progress.take(fault(7, "planned", nodes=["b-1"]))
    assert not progress.faults
    progress.take(fault(8, "attempt", nodes=["b-1"]))
    progress.take(fault(8.2, "effect", figures={"b-1": "dead"}))
    now = progress.faults["1-process.kill"]
    assert (str(now), now.state) == ("process.kill on b-1", "on, proved: b-1 dead")
    progress.take(fault(9, "unproved", why="only half of it was left"))
    assert (now.tone, now.state) == (Tone.BAD, "effect NOT proved: only half of it was left")
    progress.take(fault(19, "heal"))
    progress.take(fault(20, "failed", why="no daemon"))
    assert now.state == "NOT HEALED: no daemon"
    (line,) = progress.take(fault(21, "gone", figures={"b-1": "running"}))
    assert not progress.faults
    assert line.text == "process.kill on b-1: healed, proved gone after 13.0 s: b-1 running"


def test_what_changed_in_the_cluster_is_told_in_few_lines() -> None:
    """However many partitions moved, there is a line for each pair of leaders and each node."""
    many = range(1000)
    before: Json = {
        "controller": "b-3",
        "leaders": {str(n): "b-1" for n in many},
        "in_sync": {str(n): ["b-1", "b-2"] for n in many},
    }
    after: Json = {
        "controller": "b-2",
        "leaders": {str(n): "b-2" if n else None for n in many},
        "in_sync": {str(n): ["b-2"] for n in many},
    }
    assert view_changes(before, after) == [
        "controller: b-3 -> b-2",
        "leader of partition 0: b-1 -> none",
        "leader of partitions 1-999: b-1 -> b-2",
        "b-1 left the in-sync set of partitions 0-999",
    ]
    assert "b-1 is back in the in-sync set of partitions 0-999" in view_changes(after, before)
    assert view_changes(before, before) == []


def test_an_unknown_kind_of_event_is_passed_over() -> None:
    """A later version may write more."""
    assert Progress().take(at(1, "surprise", what="x")) == []


# --------------------------------------------------------------------------------- plain lines


def test_plain_lines_have_no_control_characters_and_all_have_a_time() -> None:
    """Also when a broker's log has them."""
    written = plain(RUN)
    assert_plain(written)
    assert all(line[:9].strip().endswith(" s") for line in written.splitlines())
    assert "   22.0 s  second red� line" in written.splitlines()


def test_plain_lines_tell_the_run() -> None:
    """What a pipeline's log must show."""
    lines = plain(RUN).splitlines()
    for line in (
        "    0.0 s  run of drill, runtime local, seed 7",
        "    2.0 s  cluster c0ffee (new) is ready: b-1 127.0.0.1:9001",
        "    2.0 s  controller b-3, b-1 leads partitions 0, 2, b-2 leads partition 1",
        "    3.0 s  baseline: nothing is disturbed yet (5 s)",
        "    5.0 s  acknowledged 1,000/s, failed 30/s, received 1,050/s, waiting 70",
        "    8.2 s  process.kill on b-1: on, proved: b-1 dead",
        "    9.0 s  leader of partitions 0, 2: b-1 -> none",
        "    9.0 s  b-1 left the in-sync set of partitions 0-2",
        "   21.5 s  process.kill on b-1: healed, proved gone after 13.5 s: b-1 running",
        "   23.0 s  interrupted while waiting for: the next phase",
        "   24.0 s  error: the disk is full",
    ):
        assert line in lines


def test_rates_come_every_five_seconds() -> None:
    """So that a run of an hour has a log that can be read."""
    start = at(0, "phase", phase="baseline")
    written = plain([start, *(counts(second, ok=100 * second) for second in range(31))])
    times = [line.split(" s  ")[0].strip() for line in written.splitlines() if "/s" in line]
    assert times == ["1.0", "6.0", "11.0", "16.0", "21.0", "26.0"]


# ------------------------------------------------------------------------------------ terminal


def test_the_picture_fits_into_80_columns_and_few_lines() -> None:
    """With many faults of long names, and at rates of a large cluster."""
    progress = Progress()
    progress.take(RUN[0])
    progress.take(at(1, "phase", phase="faults", until_ns=START_NS + 10**13))
    for seconds, total in ((1, 0), (2, 999_999)):
        progress.take(counts(seconds, due=10**9, ok=total, refused=total, received=total))
    nodes = [f"a-broker-with-a-long-name-{n}" for n in range(9)]
    for n in range(20):
        event = at(2, "fault", id=f"{n}", fault="network.partition", what="attempt", nodes=nodes)
        progress.take(event)
    picture = frame(progress, "an-experiment-with-a-long-name (13 of 17)", START_NS + 2 * 10**9)
    assert widest(picture) <= 80
    lines = text(picture).splitlines()
    assert len(lines) <= 12
    assert "and 14 more faults" in lines[-1]
    assert "acknowledged999,999/s" in text(picture).replace(" ", "")


def test_the_picture_counts_down() -> None:
    """Phase, time left, rates and faults at a moment."""
    progress = Progress()
    for event in RUN[:13]:
        progress.take(event)
    shown = words(frame(progress, "drill", START_NS + 11_000_000_000))
    assert "faults" in shown
    assert "0:09 left" in shown
    assert "▲ process.kill on b-1: on, proved: b-1 dead 0:03" in shown
    assert "no rates now" in shown


def test_only_what_happened_stays_on_the_terminal() -> None:
    """The picture is taken away at the end, and leaves nothing in between either."""
    console = Console(width=80, force_terminal=True, file=StringIO(), record=True)
    with Live(console, "drill") as display:
        for event in RUN:
            display.take(event)
            display.tick()
        display.say("stopping: healing first")
    told = console.export_text()
    assert "21.5 s  process.kill on b-1: healed, proved gone after 13.5 s: b-1 running" in told
    assert "stopping: healing first" in told


# -------------------------------------------------------------------------------------- screen


class _Stuck:
    """A display whose terminal stands still until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.taken: list[object] = []

    def __enter__(self) -> _Stuck:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def take(self, event: Json) -> None:
        assert self.let_go.wait(10)
        self.taken.append(event)

    def say(self, text: str) -> None:
        self.taken.append(text)

    def tick(self) -> None:
        pass


def test_a_terminal_that_stands_still_does_not_hold_up_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The listener returns at once, as the engine calls it between a fault and its heal."""
    stuck = _Stuck()
    monkeypatch.setattr(screens, "Plain", lambda file: stuck)
    screen = Screen()
    with screen.run("drill") as listen:
        for event in RUN:
            listen(event)
        screen.say("stopping")
        assert stuck.taken == []
        stuck.let_go.set()
    assert stuck.taken == [*RUN, "stopping"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_the_display_does_not_reach_the_run() -> None:
    """An event that the display cannot understand is the display's trouble only."""
    with Screen().run("drill") as listen:
        listen({"kind": "fault"})
        listen(RUN[0])


def test_output_without_a_reader_goes_nowhere() -> None:
    """`chaos run | head`: writing fails once, is given up, and nothing is raised, now or later."""
    read, write = os.pipe()
    stream = os.fdopen(write, "w", buffering=1)
    os.close(read)
    tolerant = Tolerant(stream)
    for _ in range(3):
        assert tolerant.write("a line\n") == 7
        tolerant.flush()
    stream.close()


def test_output_in_a_poor_encoding_loses_signs_not_the_run(tmp_path: Path) -> None:
    """LC_ALL=C."""
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        Tolerant(file).write("▲ a\n")
    assert (tmp_path / "out").read_text() == "? a\n"
