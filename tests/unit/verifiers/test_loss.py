"""Loss: what was acknowledged and never came out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Outcome, Verdict
from chaos_verifiers.loss import Loss
from tests.histories import Copy, History, Send, answer, drop, figure, find, named, right


def test_nothing_lost_passes() -> None:
    """Everything acknowledged and delivered is a PASS."""
    finding = answer(Loss(), right(4))
    assert finding.verdict is Verdict.PASS
    assert named(finding) == set()
    assert figure(finding, "acknowledged") == 4


def test_gone_everywhere_is_lost() -> None:
    """Acknowledged, not delivered, not stored in a partition read to its end: lost."""
    history = right(4)
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("lost", 0, 3)}
    assert finding.anomalies[0].offset == 3


def test_dead_lettered_is_not_lost() -> None:
    """The broker took it out of its queue, and put it where somebody can look at it."""
    history = right(4)
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    history.dead = [Copy(3)]
    assert answer(Loss(), history).verdict is Verdict.PASS


def test_passed_over_without_read_back_is_lost() -> None:
    """Where nothing was read back, later deliveries of the partition prove the loss."""
    history = right(4)
    history.stored, history.ends = [], {}
    drop(history.deliveries, 1)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("lost", 0, 1)}


def test_last_one_without_read_back_is_unknown() -> None:
    """Nothing later was delivered and nothing read back: it may just not have come yet."""
    history = right(4)
    history.stored, history.ends = [], {}
    drop(history.deliveries, 3)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.UNKNOWN
    assert named(finding) == {("unknown", 0, 3)}


def test_partition_read_in_part_is_unknown() -> None:
    """What was not read back to the end says nothing about what is missing in it."""
    history = right(4)
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    history.ends = {0: (0, 4, 3)}
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.UNKNOWN
    assert figure(finding, "delivered but no longer stored") is None


def test_other_partition_says_nothing() -> None:
    """Later deliveries of another partition do not prove a loss in this one."""
    history = right(5, partitions=2)
    history.stored, history.ends = [], {}
    drop(history.deliveries, 3)  # the last of partition 1, of offset 1; partition 0 has offset 2
    assert named(answer(Loss(), history)) == {("unknown", 0, 3)}


def test_offset_delivered_as_another_message() -> None:
    """Another message at its offset proves the loss even at the very end, without read-back."""
    history = right(3)
    history.stored, history.ends = [], {}
    find(history.deliveries, 2).sequence = 3
    history.sends.append(Send(3, offset=2, due_s=0.03, done_s=0.04))
    assert named(answer(Loss(), history)) == {("lost", 0, 2)}


def test_any_stored_copy_that_was_passed_counts() -> None:
    """A message stored twice whose first copy consumers passed was skipped, in any order."""
    for offsets in ((1, 9), (9, 1)):
        history = right(4)
        drop(history.deliveries, 1)
        drop(history.stored, 1)
        history.stored += [Copy(1, offset=offset) for offset in offsets]
        assert named(answer(Loss(), history)) == {("skipped", 0, 1)}


def test_skipped_by_consumers_fails() -> None:
    """Stored, but consumers went on behind it: they will never see it."""
    history = right(4)
    drop(history.deliveries, 1)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("skipped", 0, 1)}
    assert answer(Loss(max_skipped=1), history).verdict is Verdict.PASS


def test_unread_tail_is_unknown() -> None:
    """Stored, and consumers did not get that far: "not yet" is not "lost"."""
    history = right(4)
    drop(history.deliveries, 3)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.UNKNOWN
    assert figure(finding, "lost") == 0
    assert named(finding) == {("unread tail", 0, 3)}


def test_threshold_allows_some() -> None:
    """`max` lost messages are still a PASS, and are named all the same."""
    history = right(4)
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    finding = answer(Loss(max=1), history)
    assert finding.verdict is Verdict.PASS
    assert named(finding) == {("lost", 0, 3)}


def test_offset_taken_by_another_message() -> None:
    """After a truncation another message has the offset of the lost one; identity decides."""
    history = right(3)
    drop(history.deliveries, 2)
    drop(history.stored, 2)
    history.sends.append(Send(3, offset=2, due_s=0.03, done_s=0.04))
    history.deliveries.append(Copy(3, offset=2))
    history.stored.append(Copy(3, offset=2))
    finding = answer(Loss(), history)
    assert named(finding) == {("lost", 0, 2)}


def test_acknowledged_without_offset_uses_the_stored_one() -> None:
    """Kafka acknowledges a retried idempotent send without its offset: the read-back has it."""
    history = right(4)
    drop(history.deliveries, 1)
    find(history.sends, 1).offset = -1
    assert named(answer(Loss(), history)) == {("skipped", 0, 1)}


def test_damaged_delivery_is_no_delivery() -> None:
    """What arrives damaged has not arrived."""
    history = right(2)
    for copies in (history.deliveries, history.stored):
        find(copies, 1).intact = False
    finding = answer(Loss(), history)
    assert named(finding) == {("lost", 0, 1)}


def test_vanished_after_delivery_is_told_apart() -> None:
    """Delivered and then gone from the log is no loss, but it is told."""
    history = right(4)
    drop(history.stored, 2)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "delivered but no longer stored") == 1
    assert named(finding) == {("no longer stored", 0, 2)}


def test_what_vanished_is_judged_where_that_is_asked() -> None:
    """It fails beyond the limit; where not all was read back, or streams keep nothing, nobody can
    tell; and another loss stays a loss."""
    history = right(4)
    drop(history.stored, 2)
    finding = answer(Loss(max_vanished=0), history)
    assert finding.verdict is Verdict.FAIL
    assert "not stored any more" in finding.why
    assert answer(Loss(max_vanished=1), history).verdict is Verdict.PASS
    history.ends = {}
    assert answer(Loss(max_vanished=0), history).verdict is Verdict.UNKNOWN
    history = right(4)
    for copies in (history.deliveries, history.stored):
        drop(copies, 2)
    assert "lost" in answer(Loss(max_vanished=0), history).why


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.INDETERMINATE])
def test_not_acknowledged_may_be_missing(outcome: Outcome) -> None:
    """A send that was refused or timed out promises nothing."""
    history = right(4)
    find(history.sends, 3).outcome = outcome
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    assert answer(Loss(), history).verdict is Verdict.PASS


def test_no_acknowledgement_is_unknown() -> None:
    """A run in which nothing was acknowledged proves nothing."""
    history = History(sends=[Send(0, outcome=Outcome.INDETERMINATE)])
    assert answer(Loss(), history).verdict is Verdict.UNKNOWN


@given(
    count=st.integers(2, 12),
    partitions=st.integers(1, 3),
    producers=st.integers(1, 2),
    data=st.data(),
)
def test_names_exactly_the_missing_message(
    count: int, partitions: int, producers: int, data: st.DataObject
) -> None:
    """Take one message out of a right history: exactly this one is lost."""
    history = right(count, partitions=partitions, producers=producers)
    sequence = data.draw(st.integers(0, count - 1))
    producer = data.draw(st.integers(0, producers - 1))
    drop(history.deliveries, sequence, producer)
    drop(history.stored, sequence, producer)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("lost", producer, sequence)}


def test_a_message_that_was_never_safe_is_not_lost_but_counted() -> None:
    """The broker said that it is not flushed or copied: gone is allowed, and told."""
    history = right(4)
    weak = history.sends[3]
    history.sends[3] = replace(weak, outcome=Outcome.WEAK)
    drop(history.deliveries, 3)
    drop(history.stored, 3)
    finding = answer(Loss(), history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "acknowledged") == 3
    assert figure(finding, "stored but not as safe as asked") == 1
    assert figure(finding, "of these gone") == 1
    assert answer(Loss(max_weak=0), history).verdict is Verdict.FAIL


def test_a_weak_message_that_is_there_is_not_gone() -> None:
    """Delivered is delivered."""
    history = right(4)
    history.sends[3] = replace(history.sends[3], outcome=Outcome.WEAK)
    finding = answer(Loss(max_weak=1), history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "of these gone") == 0
