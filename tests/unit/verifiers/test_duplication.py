"""Duplication: stored twice, delivered twice, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Outcome, Verdict
from chaos_verifiers.duplication import Duplication
from tests.histories import Copy, answer, drop, figure, find, named, right

STRICT = Duplication(max_stored=0, max_delivered=0)


def test_each_once_passes() -> None:
    """Everything stored and delivered once is a PASS."""
    assert answer(STRICT, right(4)).verdict is Verdict.PASS


def test_stored_twice() -> None:
    """Two positions of one message are a duplicate; delivering both is not another one."""
    history = right(4)
    history.stored.append(Copy(1, offset=4))
    history.deliveries.append(Copy(1, offset=4))
    finding = answer(STRICT, history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("stored twice", 0, 1)}
    assert answer(Duplication(max_delivered=0), history).verdict is Verdict.PASS
    assert answer(Duplication(max_stored=1), history).verdict is Verdict.PASS


def test_delivered_twice() -> None:
    """One stored copy delivered twice is the consumers' duplicate."""
    history = right(4)
    history.deliveries.append(Copy(1, offset=1))
    finding = answer(STRICT, history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("delivered twice", 0, 1)}
    assert answer(Duplication(max_stored=0), history).verdict is Verdict.PASS


def test_stored_twice_and_delivered_three_times() -> None:
    """Both kinds are told apart for one message."""
    history = right(2)
    history.stored.append(Copy(1, offset=2))
    history.deliveries += [Copy(1, offset=2), Copy(1, offset=2)]
    expected = {("stored twice", 0, 1), ("delivered twice", 0, 1)}
    assert named(answer(STRICT, history)) == expected


def test_one_position_read_twice_is_one_copy() -> None:
    """A reader that reads a position again has not found a second copy, nor has a second reader."""
    history = right(4)
    history.stored.append(replace(find(history.stored, 1)))
    history.stored.append(replace(find(history.stored, 2), client=1))
    assert answer(STRICT, history).verdict is Verdict.PASS


def test_flagged_redelivery_is_apart() -> None:
    """A repeat that the broker announced is counted on its own."""
    history = right(4)
    history.deliveries.append(Copy(1, offset=1, redelivered=True))
    finding = answer(STRICT, history)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, "redelivered, flagged by the broker") == 1


def test_indeterminate_send_that_appears_once() -> None:
    """A send that timed out and was stored all the same is no duplicate."""
    history = right(4)
    find(history.sends, 1).outcome = Outcome.INDETERMINATE
    assert answer(STRICT, history).verdict is Verdict.PASS


def test_not_read_back_is_unknown() -> None:
    """Without the read-back nobody knows how often a message is stored."""
    history = right(4)
    history.stored, history.ends = [], {}
    assert answer(STRICT, history).verdict is Verdict.UNKNOWN
    assert answer(Duplication(max_delivered=0), history).verdict is Verdict.PASS


def test_partition_read_in_part_is_unknown() -> None:
    """A partition that was read half may hold duplicates in the other half."""
    history = right(4)
    drop(history.stored, 3)
    history.ends = {0: (0, 4, 3)}
    assert answer(STRICT, history).verdict is Verdict.UNKNOWN


def test_more_often_than_a_byte_can_count() -> None:
    """256 repeats do not look like none."""
    history = right(2)
    history.deliveries += [Copy(1, offset=1) for _ in range(256)]
    assert named(answer(STRICT, history)) == {("delivered twice", 0, 1)}
    assert named(answer(STRICT, history, rows=10)) == {("delivered twice", 0, 1)}


@given(count=st.integers(1, 12), producers=st.integers(1, 2), data=st.data())
def test_names_exactly_the_doubled_message(count: int, producers: int, data: st.DataObject) -> None:
    """Deliver or store one message of a right history again: exactly this one is named."""
    history = right(count, producers=producers)
    sequence = data.draw(st.integers(0, count - 1))
    producer = data.draw(st.integers(0, producers - 1))
    again = replace(find(history.deliveries, sequence, producer))
    if data.draw(st.booleans()):
        history.stored.append(replace(again, offset=count * producers))
        kind = "stored twice"
    else:
        history.deliveries.append(again)
        kind = "delivered twice"
    assert named(answer(STRICT, history)) == {(kind, producer, sequence)}
