"""Availability: the share of the load that was served, and the longest gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Outcome, Verdict
from chaos_verifiers.availability import Availability
from tests.histories import Fault, History, Send, answer, at, drop, figure, find, right


def served(finding: object) -> float | None:
    """The share."""
    return figure(finding, "served")  # type: ignore[arg-type]


def test_all_served_passes() -> None:
    """A share of one and short gaps."""
    finding = answer(Availability(min_share=1.0, max_gap=0.1), right(10))
    assert finding.verdict is Verdict.PASS
    assert served(finding) == 1.0


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.INDETERMINATE])
def test_not_served(outcome: Outcome) -> None:
    """Only what was acknowledged was served."""
    history = right(10)
    find(history.sends, 7).outcome = outcome
    history.faults = [Fault("f1", 0.05, 0.09)]
    finding = answer(Availability(min_share=0.95), history)
    assert finding.verdict is Verdict.FAIL
    assert served(finding) == 0.9
    assert answer(Availability(min_share=0.9), history).verdict is Verdict.PASS


def test_due_but_never_handed_over() -> None:
    """What was due and could not be sent at all is not served."""
    history = right(10)
    history.due = {0: 20}
    assert served(answer(Availability(), history)) == 0.5


def test_too_late_is_not_served() -> None:
    """`within` counts from the due time, so a stalled client hides nothing."""
    history = right(10)
    find(history.sends, 9).done_s = 5.0
    assert served(answer(Availability(within=1.0), history)) == 0.9
    assert served(answer(Availability(within=6.0), history)) == 1.0


def test_longest_gap_of_any_client() -> None:
    """A client without service counts, whatever the others get."""
    history = right(200, producers=2)
    history.sends = [s for s in history.sends if not (s.producer == 1 and 50 < s.sequence < 150)]
    history.faults = [Fault("f1", 0.4, 1.6)]
    history.due = {0: 200, 1: 200}
    finding = answer(Availability(max_gap=0.5), history)
    assert finding.verdict is Verdict.FAIL
    assert figure(finding, "longest gap") == pytest.approx(1.0, abs=1e-6)
    assert finding.details[0]["who"] == "producer-1"
    assert figure(finding, "longest gap of all clients") == 0.0


def test_a_gap_that_a_late_heal_made_too_long_is_unknown() -> None:
    """Of the second without service 0.7 s are of a fault that was to be over."""
    history = right(200, producers=2)
    history.sends = [s for s in history.sends if not (s.producer == 1 and 50 < s.sequence < 150)]
    history.faults = [Fault("f1", 0.4, 1.6, heal_s=0.7, undone_s=1.4)]
    history.due = {0: 200, 1: 200}
    assert answer(Availability(max_gap=0.4), history).verdict is Verdict.UNKNOWN
    assert answer(Availability(max_gap=0.2), history).verdict is Verdict.FAIL
    assert answer(Availability(max_gap=0.4, min_share=0.9), history).verdict is Verdict.FAIL


def test_a_late_heal_does_not_hide_another_gap() -> None:
    """One that is shorter than what the late heal excuses, and too long all the same, is of the
    same client."""
    history = right(400)
    history.sends = [
        s for s in history.sends if not (50 < s.sequence < 120 or 200 < s.sequence < 300)
    ]
    history.faults = [Fault("f1", 0.4, 3.1, heal_s=2.2, undone_s=2.9)]
    history.due = {0: 400}
    assert answer(Availability(max_gap=0.8), history).verdict is Verdict.UNKNOWN
    assert answer(Availability(max_gap=0.5), history).verdict is Verdict.FAIL


def test_longest_gap_of_a_partition() -> None:
    """A partition without service counts, though every client was served by others."""
    history = right(200, partitions=2)
    history.sends = [s for s in history.sends if not (s.partition == 1 and 50 < s.sequence < 150)]
    history.faults = [Fault("f1", 0.4, 1.6)]
    finding = answer(Availability(max_gap=0.5), history)
    assert finding.verdict is Verdict.FAIL
    assert finding.details[0]["who"] == "partition 1"


def test_service_that_starts_late_or_ends_early() -> None:
    """The time before the first and after the last acknowledgement counts."""
    history = right(100)
    history.load_s = (-2.0, 1.0)
    history.due = {0: 100}
    assert figure(answer(Availability(), history), "longest gap") == pytest.approx(2.001, abs=1e-6)
    history.load_s = (0.0, 6.0)
    assert figure(answer(Availability(), history), "longest gap") == pytest.approx(5.009, abs=1e-6)


def test_client_that_was_never_served() -> None:
    """A producer with no acknowledgement at all has a gap as long as the load."""
    history = right(100)
    history.due = {0: 100, 1: 100}
    finding = answer(Availability(max_gap=0.5), history)
    assert finding.details[0]["who"] == "producer-1"
    assert figure(finding, "longest gap") == 1.0


def test_baseline_that_misses_is_unknown() -> None:
    """What was not met before the first fault cannot be blamed on it."""
    history = right(100)
    for sequence in range(10):
        find(history.sends, sequence).outcome = Outcome.REFUSED
    history.faults = [Fault("f1", 0.5, 0.8)]
    finding = answer(Availability(min_share=0.95), history)
    assert finding.verdict is Verdict.UNKNOWN
    assert figure(finding, "served before the first fault") == 0.6
    gap = answer(Availability(max_gap=0.05), history)
    assert gap.verdict is Verdict.UNKNOWN


def test_open_when_the_fault_struck_is_not_the_baselines() -> None:
    """A message that was due just before the fault and was lost to it does not excuse the fault."""
    history = right(100)
    find(history.sends, 49).outcome = Outcome.INDETERMINATE
    history.faults = [Fault("f1", 0.495, 0.8)]
    finding = answer(Availability(min_share=0.995), history)
    assert figure(finding, "served before the first fault") == 1.0
    assert finding.verdict is Verdict.FAIL


def test_unknown_load_is_unknown() -> None:
    """When it is not on record what was due, no share can be told."""
    history = History(sends=[Send(0, due_s=-1.0)])
    assert answer(Availability(), history).verdict is Verdict.UNKNOWN


def test_warm_up_does_not_count() -> None:
    """Messages that were due before the load began are no part of the share."""
    history = right(100)
    history.load_s = (0.5, 1.0)
    for sequence in range(50):
        find(history.sends, sequence).outcome = Outcome.REFUSED
    assert served(answer(Availability(min_share=1.0), history)) == 1.0
    find(history.sends, 50).outcome = Outcome.REFUSED
    assert served(answer(Availability(), history)) == 0.98


@given(warm_up=st.integers(0, 1500), rate=st.integers(7, 5000), rows=st.integers(1000, 4000))
def test_warm_up_is_cut_off_where_it_ends(warm_up: int, rate: int, rows: int) -> None:
    """A healthy run has a share of exactly one, wherever the load begins and batches are sampled;
    and one message that is missing is seen."""
    count = 3000
    history = History(load_s=(warm_up / rate, count / rate))
    history.sends = [Send(n, 0, n, n / rate, n / rate + 0.001) for n in range(count)]
    history.due = {0: count - warm_up}
    assert served(answer(Availability(), history, rows)) == 1.0
    drop(history.sends, (warm_up + count) // 2)
    share = served(answer(Availability(), history, rows))
    assert share == 1 - 1 / (count - warm_up)


def test_without_a_fault_the_load_itself_is_judged() -> None:
    """Without a fault there is no baseline that could excuse a miss."""
    history = right(10)
    find(history.sends, 3).outcome = Outcome.REFUSED
    assert answer(Availability(min_share=0.95), history).verdict is Verdict.FAIL


def test_gaps_are_cut_to_the_load() -> None:
    """What a gap had before the load began, in the warm-up, does not count."""
    history = right(100)
    history.sends.insert(0, Send(0, 0, 0, -9.0, -9.0, producer=1))
    history.sends.insert(1, Send(1, 0, 1, -3.0, -3.0, producer=1))
    history.sends.append(Send(2, 0, 2, 0.4, 0.4, producer=1))
    history.sends.append(Send(3, 0, 3, 0.99, 0.99, producer=1))
    finding = answer(Availability(), history)
    assert finding.details[0]["who"] == "producer-1"
    assert figure(finding, "longest gap") == pytest.approx(0.59, abs=1e-6)


def test_what_the_broker_blocked_is_told() -> None:
    """How many clients, and the longest time; one that is blocked at the end was until then."""
    history = right(10)
    history.load_s = (0.0, 60.0)
    history.more_events = [
        {"time_ns": at(when_s), "kind": "connection", "client": client, "blocked": why}
        for when_s, client, why in (
            (1, "producer-0", "low on disk"), (4, "producer-0", None),
            (50, "producer-1", "low on disk"), (0.5, "producer-2", None),
        )
    ]  # fmt: skip
    finding = answer(Availability(), history)
    assert figure(finding, "blocked by the broker") == 2
    assert figure(finding, "longest block") == 10
    assert answer(Availability(min_blocked=2), history).verdict is Verdict.PASS
    assert answer(Availability(min_blocked=3), history).verdict is Verdict.FAIL


def test_who_is_never_blocked_is_not_told_of() -> None:
    """Most brokers block nobody."""
    assert "longest block" not in {each.name for each in answer(Availability(), right(10)).figures}
    finding = answer(Availability(min_blocked=1), right(10))
    assert (finding.verdict, figure(finding, "blocked by the broker")) == (Verdict.FAIL, 0)
