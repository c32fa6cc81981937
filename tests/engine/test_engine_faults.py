"""Faults under the guard: proved on, proved gone; whatever is not proved is never a PASS."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, experiment, faults, figure, is_unknown, step

from chaos.spi import Outcome, Verdict

Play = Callable[[Any], Seen]
PROVE_SOON = {"chaos.guard:PROVE_WITHIN_S": 0.5}
HEAL_SOON = {"chaos.guard:HEAL_WITHIN_S": 0.5}


KILL = Scene("kill", experiment(step("process.kill")))
STOP = Scene("stop", experiment(step("process.stop")))
PAUSE = Scene("pause", experiment(step("process.pause", for_s=1.0)))
AFTER_EACH_OTHER = Scene(
    "after-each-other",
    experiment(step("process.kill", for_s=0.4), step("process.pause", at_s=3.6, for_s=0.4)),
)


@pytest.mark.parametrize("scene", [KILL, STOP, PAUSE, AFTER_EACH_OTHER], ids=str)
def test_a_fault_is_proved_on_and_gone_in_time(scene: Scene, played: Play) -> None:
    """The timeline is the schedule, and clients saw an outage as long as the fault."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    assert seen.gone_after_s is not None, seen.left
    steps = scene.experiment["faults"]
    load_ns = seen.document.load_started_ns
    for told, planned in zip(faults(seen), steps, strict=True):
        assert told.proved
        assert told.attempt_ns
        assert told.heal_ns
        assert told.gone_ns
        begin_s, hold_s = (float(planned[key].rstrip("s")) for key in ("at", "for"))
        assert (told.attempt_ns - load_ns) / 1e9 == pytest.approx(begin_s, abs=0.3)
        assert (told.heal_ns - load_ns) / 1e9 == pytest.approx(begin_s + hold_s, abs=0.3)
        assert list(told.on.values()) == ["paused" if "pause" in told.fault else "dead"]
        assert list(told.after.values()) == ["running"]
        gap_s = figure(seen.document, "availability", "longest gap")
        assert gap_s is not None
        assert gap_s > hold_s - 0.1


OVERLAPPING = Scene(
    "overlapping",
    experiment(
        step("process.pause", "memory-1", for_s=1.2),
        step("process.kill", "memory-2", at_s=3.4, for_s=0.4),
    ),
)


@pytest.mark.parametrize("scene", [OVERLAPPING], ids=str)
def test_faults_on_different_nodes_may_overlap(scene: Scene, played: Play) -> None:
    """Each is on when the other is, each is healed by itself."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    pause, kill = faults(seen)
    times = [pause.effect_ns, kill.attempt_ns, kill.gone_ns, pause.heal_ns]
    known = [time_ns for time_ns in times if time_ns]
    assert times == known == sorted(known)
    assert pause.proved
    assert kill.proved


LATE = Scene(
    "late",
    experiment(
        {"at": "3s", "fault": "process.restart", "pause": "500ms"},
        step("process.kill", "memory-1", at_s=3.2, for_s=0.4),
    ),
)


@pytest.mark.parametrize("scene", [LATE], ids=str)
def test_a_fault_waits_until_an_earlier_one_leaves_its_node_alone(
    scene: Scene, played: Play
) -> None:
    """That took longer than the schedule could know; the second one lasts as long all the same."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    restart, kill = faults(seen)
    assert restart.gone_ns
    assert kill.attempt_ns
    assert kill.heal_ns
    assert kill.proved
    assert kill.attempt_ns >= restart.gone_ns
    assert (kill.heal_ns - kill.attempt_ns) / 1e9 == pytest.approx(0.4, abs=0.3)


TO_THE_END = Scene(
    "to-the-end",
    experiment({"at": "3s", "fault": "process.pause", "target": "memory-1"}),
)


@pytest.mark.parametrize("scene", [TO_THE_END], ids=str)
def test_a_fault_without_an_end_is_healed_when_the_load_is_over(scene: Scene, played: Play) -> None:
    """Before anything is read back."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    (fault,) = faults(seen)
    end_ns = seen.story.load_ended_ns
    assert end_ns
    assert fault.heal_ns
    assert fault.gone_ns
    assert 0 <= fault.heal_ns - end_ns < 1e9
    read_ns = next(e["time_ns"] for e in seen.events if e.get("phase") == "read-back")
    assert fault.gone_ns < read_ns


RESTART = Scene(
    "restart",
    experiment({"at": "3s", "fault": "process.restart", "pause": "500ms"}),
)


@pytest.mark.parametrize("scene", [RESTART], ids=str)
def test_a_moment_takes_its_time_and_the_load_settles_after_it(scene: Scene, played: Play) -> None:
    """Each node ended in its turn, the second one not before the first one served again; the time
    to settle counts from the end of it all."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    assert seen.gone_after_s is not None, seen.left
    (fault,) = faults(seen)
    assert fault.proved
    assert list(fault.on) == ["memory-1", "memory-2"]
    assert all("whole after" in told for told in fault.on.values())
    assert fault.attempt_ns
    assert fault.gone_ns
    assert fault.gone_ns - fault.attempt_ns > 0.5e9
    assert seen.document.load_ended_ns
    assert 0.25e9 < seen.document.load_ended_ns - fault.gone_ns < 3e9
    served = [
        {row["partition"] for row in rows} for rows in gaps(seen.rows("sends"), fault.attempt_ns)
    ]
    assert served == [{1}, {0}], "while one node was away the other one served"


def gaps(rows: Any, since_ns: int) -> list[Any]:
    """The acknowledged sends while each of the two partitions, one on each node, had its longest
    gap, in the order of the gaps."""
    found = []
    for partition in (0, 1):
        times = sorted(
            r["done_ns"] for r in rows if r["partition"] == partition and r["outcome"] == Outcome.OK
        )
        # The gap may begin with the last one before: nothing need be answered in between.
        length, begin = max((b - a, a) for a, b in pairwise(times) if b > since_ns)
        within = [r for r in rows if begin < r["done_ns"] < begin + length]
        found.append((begin, [r for r in within if r["outcome"] == Outcome.OK]))
    return [rows for _, rows in sorted(found, key=lambda each: each[0])]


REFUSED = Scene("refused", experiment({"at": "3s", "fault": "broker.elect"}))


@pytest.mark.parametrize("scene", [REFUSED], ids=str)
def test_what_the_broker_cannot_do_is_refused_before_anything_starts(
    scene: Scene, played: Play
) -> None:
    """At the line where it is asked for."""
    seen = played(scene)
    assert seen.status == 2, seen.output
    assert "faults.0.fault: this broker elects nobody on request" in seen.output
    assert seen.run is None


FIGHTING = [
    Scene(
        "two-roles-one-node",
        experiment(
            step("process.pause", "leader(0)", for_s=1), step("process.kill", "controller", 3.5)
        ),
    ),
    Scene(
        "role-and-name",
        experiment(
            step("process.pause", "leader(0)", for_s=1), step("process.kill", "memory-1", 3.5)
        ),
    ),
]


@pytest.mark.parametrize("scene", FIGHTING, ids=str)
def test_two_faults_that_fight_over_a_node_are_refused(scene: Scene, played: Play) -> None:
    """Found out when roles are resolved, before anything is injected."""
    seen = played(scene)
    assert seen.status == 2, seen.output
    assert "overlap in time" in seen.output
    assert "memory-1" in seen.output
    assert {fault.attempt_ns for fault in faults(seen)} == {None}
    assert seen.gone_after_s is not None, seen.left


NOBODY = Scene(
    "nobody",
    experiment(step("process.kill", "leader(0)"), cluster={"session_timeout": "200ms"}),
    Plan(at="event phase=baseline", do=("memory-1:KILL",)),
)


@pytest.mark.parametrize("scene", [NOBODY], ids=str)
def test_a_target_that_means_nobody_is_told(scene: Scene, played: Play) -> None:
    """A role that nobody has now; nothing is injected, and nothing passes."""
    seen = played(scene)
    assert seen.status == 3, seen.output
    assert "leader(0)" in seen.output
    assert seen.document.verdict is not Verdict.PASS
    assert {fault.attempt_ns for fault in faults(seen)} <= {None}
    assert seen.gone_after_s is not None, seen.left


IMPOSSIBLE = Scene("impossible", experiment(step("process.pause"), step("test.impossible", at_s=4)))


@pytest.mark.parametrize("scene", [IMPOSSIBLE], ids=str)
def test_a_fault_that_cannot_be_planned_stops_the_run_before_the_first(
    scene: Scene, played: Play
) -> None:
    """All plans are made before the first act."""
    seen = played(scene)
    is_unknown(seen, "there is no disk to fill")
    assert {fault.attempt_ns for fault in faults(seen)} == {None}


TOOTHLESS = Scene("toothless", experiment(step("test.toothless")), Plan(values=PROVE_SOON))


@pytest.mark.parametrize("scene", [TOOTHLESS], ids=str)
def test_a_fault_that_does_not_bite_is_no_pass(scene: Scene, played: Play) -> None:
    """All answers are fine, and there was nothing to withstand."""
    seen = played(scene)
    is_unknown(seen, "was not measured to be in effect")
    assert all(answer.verdict is Verdict.PASS for answer in seen.document.questions)


VANISHING = Scene(
    "vanishing",
    experiment(step("process.pause", for_s=1)),
    Plan(at="event kind=fault what=effect", do=("memory-1:CONT",)),
)


@pytest.mark.parametrize("scene", [VANISHING], ids=str)
def test_a_fault_that_vanished_half_way_is_no_pass(scene: Scene, played: Play) -> None:
    """Somebody let the frozen node go on."""
    seen = played(scene)
    is_unknown(seen, "at its end only none of it was left")


CLUMSY = Scene("clumsy", experiment(step("test.clumsy", "all", for_s=1)))


@pytest.mark.parametrize("scene", [CLUMSY], ids=str)
def test_a_fault_that_fails_half_way_is_healed_at_once(scene: Scene, played: Play) -> None:
    """The half that was done is undone."""
    seen = played(scene)
    is_unknown(seen, "the second half failed")
    (fault,) = faults(seen)
    assert fault.gone_ns
    assert set(fault.after.values()) == {"running"}


BUGGY = Scene("buggy", experiment(step("test.buggy", "all", for_s=1)))


@pytest.mark.parametrize("scene", [BUGGY], ids=str)
def test_a_bug_in_a_fault_leaves_nothing_in_force(scene: Scene, played: Play) -> None:
    """An internal error, and yet healed, judged and cleaned up."""
    seen = played(scene)
    assert seen.status == 70, seen.output
    assert "a bug in a plug-in" in seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.verdict is Verdict.UNKNOWN
    assert seen.document.healed


SHAKY = Scene("shaky", experiment(step("test.shaky")))


@pytest.mark.parametrize("scene", [SHAKY], ids=str)
def test_a_heal_that_fails_is_tried_again(scene: Scene, played: Play) -> None:
    """Whatever it raised."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    (fault,) = faults(seen)
    assert fault.healed


STUBBORN = Scene("stubborn", experiment(step("test.stubborn")), Plan(values=HEAL_SOON))


@pytest.mark.parametrize("scene", [STUBBORN], ids=str)
def test_a_fault_that_cannot_be_healed_has_an_exit_code_of_its_own(
    scene: Scene, played: Play
) -> None:
    """Never a warning; what it did ends with the cluster."""
    seen = played(scene)
    assert seen.status == 4, seen.output
    assert "the disk does not answer" in seen.output
    assert seen.document.exit_code == 4
    assert not seen.document.healed
    assert seen.gone_after_s is not None, seen.left


BOTH = Scene(
    "both",
    experiment(step("test.buggy", "memory-1", for_s=1), step("test.stubborn", "memory-2")),
    Plan(values=HEAL_SOON),
)


@pytest.mark.parametrize("scene", [BOTH], ids=str)
def test_a_bug_does_not_hide_that_something_is_still_on(scene: Scene, played: Play) -> None:
    """Both are told, and the exit code is that of what is left on."""
    seen = played(scene)
    assert seen.status == 4, seen.output
    assert "the disk does not answer" in seen.output
    assert "a bug in a plug-in" in seen.output
    assert not seen.document.healed
    assert seen.gone_after_s is not None, seen.left


CONSEQUENCE = Scene(
    "consequence",
    experiment(step("process.pause", "memory-1", for_s=1)),
    Plan(at="event kind=fault what=effect", do=("memory-2:KILL",)),
)


@pytest.mark.parametrize("scene", [CONSEQUENCE], ids=str)
def test_a_node_that_ended_meanwhile_is_started_again_and_told(scene: Scene, played: Play) -> None:
    """A node that ran before a fault runs after it."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    told = [event for event in seen.events if event["kind"] == "node"]
    assert [(event["node"], event["what"]) for event in told] == [("memory-2", "consequence")]
    assert figure(seen.document, "loss", "unknown") == 0
