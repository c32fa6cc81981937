"""Handling: poisoned messages that were buried, are stuck, were lost or taken for normal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Handling, Kind, Verdict
from chaos_verifiers.handling import PoisonHandling
from tests.histories import Attempt, Copy, History, answer, drop, figure, find, named, right

FREE = PoisonHandling()
WHOLE = {0: (0, 1, 1)}


def poisoned(count: int = 6, sequence: int = 2, kind: Kind = Kind.THROWS) -> History:
    """One message is poisoned: tried twice, buried, and everything else is handled."""
    history = right(count)
    find(history.stored, sequence).kind = kind
    find(history.deliveries, sequence).kind = kind
    history.handlings = [
        Attempt(sequence, Handling.THREW, 1, 1.0, 1.5, 0, sequence, kind),
        Attempt(sequence, Handling.THREW, 2, 1.6, 2.0, 0, sequence, kind),
        Attempt(sequence, Handling.DEAD_LETTERED, 2, 2.0, 2.25, 0, sequence, kind),
    ]
    history.dead = [Copy(sequence, 0, 0, 9.0, kind=kind)]
    history.dead_ends = WHOLE
    return history


def stuck(sequence: int = 2) -> History:
    """The same application without a dead-letter stream: nothing behind the message is handled."""
    history = poisoned(sequence=sequence)
    history.handlings.pop()
    history.dead, history.dead_ends = [], None
    history.deliveries = [copy for copy in history.deliveries if copy.sequence < sequence]
    return history


def test_nothing_poisoned_passes_and_is_told_in_one_figure() -> None:
    """Most runs poison nothing: no row of zeros for them."""
    finding = answer(FREE, right(4))
    assert finding.verdict is Verdict.PASS
    assert [figure.name for figure in finding.figures] == ["poisoned"]


@pytest.mark.parametrize("kind", [Kind.MALFORMED, Kind.THROWS, Kind.HANGS])
def test_buried_once_passes(kind: Kind) -> None:
    """It is dead-lettered, and the hold-up is from the first attempt to its burial."""
    finding = answer(FREE, poisoned(kind=kind))
    assert finding.verdict is Verdict.PASS
    assert not finding.anomalies
    assert figure(finding, "dead-lettered") == 1
    assert figure(finding, "longest hold-up") == pytest.approx(1.25)
    assert figure(finding, "most attempts") == 2


def test_what_a_queue_buried_was_poisoned() -> None:
    """It was given back, so nobody is done with it: the dead-letter stream alone shows it."""
    history = poisoned()
    drop(history.deliveries, 2)
    drop(history.stored, 2)
    history.handlings.pop()
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "poisoned") == figure(finding, "dead-lettered") == 1


def test_a_message_that_is_never_done_with_is_stuck() -> None:
    """Whatever the thresholds of the rest; it holds up its partition to the end of the load."""
    history = stuck()
    history.load_s = (0.0, 7.0)
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding, "stuck") == {("stuck", 0, 2)}
    assert figure(finding, "longest hold-up") == pytest.approx(6.0)
    assert answer(PoisonHandling(max_stuck=1), history).verdict is Verdict.PASS


def test_a_run_that_broke_off_calls_nothing_stuck() -> None:
    """It might have been buried a moment later."""
    history = stuck()
    history.final = False
    assert answer(FREE, history).verdict is Verdict.UNKNOWN


def test_a_normal_message_that_the_end_of_the_run_cut_off_is_not_stuck() -> None:
    """Its consumer was only slow; seen in a real run."""
    history = right(4)
    drop(history.deliveries, 3)
    history.handlings = [Attempt(3, Handling.CUT, offset=3, done_s=0.1, kind=Kind.NORMAL)]
    assert answer(FREE, history).verdict is Verdict.PASS
    history.handlings[0].kind = find(history.stored, 3).kind = Kind.HANGS
    assert named(answer(FREE, history)) == {("stuck", 0, 3)}


def test_one_that_goes_round_among_consumers_is_one_hold_up() -> None:
    """The first consumer was thrown out of the group, the second one buried it."""
    history = poisoned()
    history.handlings[1].client = history.handlings[2].client = 1
    history.handlings[2].done_s = 30.0
    finding = answer(PoisonHandling(max_hold_up=28.0), history)
    assert finding.verdict is Verdict.FAIL
    assert figure(finding, "longest hold-up") == pytest.approx(29.0)
    assert answer(PoisonHandling(max_hold_up=29.5), history).verdict is Verdict.PASS


def test_one_that_vanished_on_its_way_is_lost() -> None:
    """The application believes to have buried it."""
    history = poisoned()
    history.dead.clear()
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("not dead-lettered", 0, 2)}
    assert answer(PoisonHandling(max_lost=1), history).verdict is Verdict.PASS


def test_one_that_was_taken_for_a_normal_one_is_lost() -> None:
    """Done with at the first attempt, without a word."""
    history = poisoned()
    history.dead.clear()
    history.handlings.clear()
    assert named(answer(FREE, history)) == {("not dead-lettered", 0, 2)}


def test_a_normal_one_that_was_buried_fails() -> None:
    """As with a handler time-out that is too short."""
    history = poisoned()
    history.dead.append(Copy(3, 0, 1, 9.0))
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("normal dead-lettered", 0, 3)}
    assert answer(PoisonHandling(max_normal=1), history).verdict is Verdict.PASS


def test_burying_twice_is_told_and_not_judged() -> None:
    """A consumer died between the burial and settling: at least once."""
    history = poisoned()
    history.dead.append(Copy(2, 0, 1, 9.0, kind=Kind.THROWS))
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "dead-lettered twice") == 1
    assert named(finding) == {("dead-lettered twice", 0, 2)}


def test_without_the_end_of_the_dead_letter_stream_nothing_is_called_lost() -> None:
    """It may be in what was not read."""
    for ends in ({}, {0: (0, 2, 1)}):
        history = poisoned()
        history.dead.clear()
        history.dead_ends = ends
        assert answer(FREE, history).verdict is Verdict.UNKNOWN


def test_one_that_nobody_came_to_is_unknown() -> None:
    """Consumers had not got so far: neither stuck nor fine."""
    history = poisoned()
    history.handlings.clear()
    history.dead.clear()
    drop(history.deliveries, 2)
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.UNKNOWN
    assert named(finding) == {("not reached", 0, 2)}


def test_a_normal_one_that_was_handled_at_the_second_attempt_is_fine() -> None:
    """Trouble that was got over."""
    history = right(4)
    history.handlings = [
        Attempt(1, Handling.TIMED_OUT, 1, 1.0, 1.5, 0, 1, Kind.NORMAL),
        Attempt(1, Handling.HANDLED, 2, 1.5, 1.6, 0, 1, Kind.NORMAL),
    ]
    finding = answer(FREE, history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "stuck") == 0


@given(data=st.data())
def test_each_poisoned_message_is_in_exactly_one_class(data: st.DataObject) -> None:
    """Buried, stuck, lost or not reached, whichever was planted, and no other one is named."""
    fates = data.draw(st.lists(st.sampled_from(["buried", "stuck", "lost", "not reached"])))
    history = right(20 + len(fates))
    history.dead_ends = WHOLE
    expected = set()
    for sequence, fate in enumerate(fates):
        find(history.stored, sequence).kind = Kind.THROWS
        find(history.deliveries, sequence).kind = Kind.THROWS
        if fate != "not reached":
            history.handlings.append(Attempt(sequence, offset=sequence, done_s=1.0))
        if fate in ("stuck", "not reached"):
            drop(history.deliveries, sequence)
        if fate == "buried":
            history.handlings.append(Attempt(sequence, Handling.DEAD_LETTERED, done_s=2.0))
            history.dead.append(Copy(sequence, 0, sequence, kind=Kind.THROWS))
        else:
            kind = {"lost": "not dead-lettered"}.get(fate, fate)
            expected.add((kind, 0, sequence))
    assert named(answer(FREE, history, rows=3)) == expected
