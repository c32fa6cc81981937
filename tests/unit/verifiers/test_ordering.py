"""Ordering: exactly the messages that came after a later one of their producer and partition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Facts, Verdict
from chaos_verifiers.ordering import Ordering
from tests.histories import Copy, History, answer, drop, figure, find, named, right

STORED, IN_KEY, DELIVERED = "stored out of order", "within a key", "delivered out of order"


def move(history: History, sequence: int, behind: int, *, delivered: bool = True) -> History:
    """Store (and deliver) a message behind a later one of its partition, as a late retry does."""
    for records in (history.stored, history.deliveries) if delivered else (history.stored,):
        moved = drop(records, sequence)
        place = records.index(find(records, behind)) + 1
        records.insert(place, moved)
        rows = [copy for copy in records if copy.partition == moved.partition]
        for offset, copy in enumerate(rows):
            copy.offset = offset
    return history


def keyed(history: History, keys: int) -> History:
    """Message n has the key n modulo `keys`, as the load generator does it."""
    for send in history.sends:
        send.key = send.sequence % keys
    return history


def test_all_in_order() -> None:
    """Several producers and partitions, one after the other: PASS, with nothing named."""
    finding = answer(Ordering(), keyed(right(40, partitions=3, producers=2), 6))
    assert finding.verdict is Verdict.PASS
    assert [each.value for each in finding.figures] == [0, 0, 0, 160]
    assert finding.anomalies == ()


def test_a_late_retry_is_named_with_what_it_came_after() -> None:
    """Message 2 is stored and delivered behind 5: it, and it alone, is out of order."""
    finding = answer(Ordering(), move(keyed(right(8), 4), 2, behind=5))
    assert finding.verdict is Verdict.FAIL
    assert named(finding, STORED, DELIVERED) == {(STORED, 0, 2), (DELIVERED, 0, 2)}
    assert {anomaly.note for anomaly in finding.anomalies} == {"after number 5"}
    assert {(a.partition, a.offset) for a in finding.anomalies} == {(0, 5)}


def test_what_is_left_in_a_queue_has_no_order() -> None:
    """Two consumers gave back what they had, the one after the other; deliveries still count."""
    verifier = Ordering()
    for delivered, verdict in ((False, Verdict.PASS), (True, Verdict.FAIL)):
        history = move(right(8), 2, behind=5, delivered=delivered)
        state = verifier.start()
        for batch in history.batches(1_000_000):
            state = verifier.fold(state, batch)
        finding = verifier.finish(state, replace(history.facts(), keeps=False))
        assert finding.verdict is verdict
        assert named(finding) == ({(DELIVERED, 0, 2)} if delivered else set())


def test_a_threshold_tolerates_or_only_tells() -> None:
    """Up to `max` is allowed; null tells."""
    history = move(right(8), 2, behind=5)
    assert answer(Ordering(max=1), history).verdict is Verdict.PASS
    assert answer(Ordering(max=None), history).verdict is Verdict.PASS
    assert answer(Ordering(), history).verdict is Verdict.FAIL


@pytest.mark.parametrize(("behind", "in_key"), [(5, None), (6, 6), (7, 6)])
def test_a_key_is_out_of_order_only_behind_a_message_of_its_own(
    behind: int, in_key: int | None
) -> None:
    """Keys repeat every four messages: 2 behind 5 overtook nobody of its key, behind 6 it did."""
    finding = answer(
        Ordering(max=None, max_within_key=0), move(keyed(right(12), 4), 2, behind=behind)
    )
    assert figure(finding, STORED) == 1
    assert finding.verdict is (Verdict.PASS if in_key is None else Verdict.FAIL)
    assert [a.note for a in finding.anomalies if a.kind == IN_KEY] == (
        [] if in_key is None else [f"after number {in_key}"]
    )


def test_without_keys_there_is_no_order_within_a_key() -> None:
    """Null keys are no key that messages share."""
    assert figure(answer(Ordering(), move(right(12), 2, behind=9)), IN_KEY) == 0


def test_partitions_and_producers_have_no_order_between_them() -> None:
    """Partition 1 is stored and delivered first, then partition 0; and producers by turns."""
    history = right(12, partitions=2, producers=2)
    for records in (history.stored, history.deliveries):
        records.sort(key=lambda copy: -copy.partition)
    assert answer(Ordering(), history).verdict is Verdict.PASS
    for copy in history.stored:  # producer 0 wholly behind producer 1
        copy.offset += 100 * (1 - copy.producer)
    history.stored.sort(key=lambda copy: (copy.partition, copy.offset))
    assert answer(Ordering(), history).verdict is Verdict.PASS


def test_a_repeat_is_no_reorder() -> None:
    """After a rebalance the consumer, or another one, starts again further back."""
    history = right(10)
    history.deliveries += [replace(copy) for copy in history.deliveries[4:8]]
    history.deliveries += [replace(copy, client=1) for copy in history.deliveries[6:10]]
    history.deliveries.append(replace(history.deliveries[0], offset=-1, redelivered=True))
    finding = answer(Ordering(), history)
    assert (finding.verdict, finding.anomalies) == (Verdict.PASS, ())


def test_a_second_copy_is_no_reorder() -> None:
    """A retried batch that was stored before: 3 4 5 3 4. The first copies are in order."""
    history = right(6)
    for offset, sequence in ((6, 3), (7, 4)):
        history.stored.append(replace(find(history.stored, sequence), offset=offset))
        history.deliveries.append(replace(find(history.deliveries, sequence), offset=offset))
    history.ends = {0: (0, 8, 8)}
    assert answer(Ordering(), history).anomalies == ()


def test_a_message_that_nobody_sent_puts_nobody_late() -> None:
    """Phantoms are named elsewhere; those behind one are where they belong."""
    history = right(10)
    for sequence in (1000, 1 << 40):
        history.stored.insert(3, Copy(sequence, offset=2))
    for offset, copy in enumerate(history.stored):
        copy.offset = offset
    assert answer(Ordering(), history).anomalies == ()


def test_deliveries_alone_are_judged_by_arrival() -> None:
    """A queue tells no offsets, and cannot be read back."""
    history = move(right(8), 2, behind=5)
    history.stored, history.ends = [], {}
    for copy in history.deliveries:
        copy.offset = -1
    finding = answer(Ordering(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {(DELIVERED, 0, 2)}


def test_what_is_unknown() -> None:
    """Nothing came out; or what is stored was not read to the end; or not in order."""
    assert answer(Ordering(), History()).verdict is Verdict.UNKNOWN
    history = right(6)
    history.ends = {0: (0, 6, 5)}
    assert answer(Ordering(), history).verdict is Verdict.UNKNOWN
    history = right(6)
    history.stored.reverse()
    assert answer(Ordering(), history).verdict is Verdict.UNKNOWN


@given(
    data=st.data(), partitions=st.integers(1, 3), producers=st.integers(1, 2),
    rows=st.integers(1, 40),
)  # fmt: skip
def test_one_message_moved_is_the_one_that_is_named(
    data: st.DataObject, partitions: int, producers: int, rows: int
) -> None:
    """In a right history one message of producer 0 is stored behind a later one: FAIL, named, and
    nothing else; wherever batches end."""
    history = keyed(right(30, partitions=partitions, producers=producers), 5)
    sequence = data.draw(st.integers(0, 29 - partitions))
    later = st.sampled_from(range(sequence + partitions, 30, partitions))
    history = move(history, sequence, behind=data.draw(later))
    finding = answer(Ordering(), history, rows)
    assert finding.verdict is Verdict.FAIL
    assert named(finding, STORED, DELIVERED) == {(STORED, 0, sequence), (DELIVERED, 0, sequence)}


@given(
    order=st.permutations(range(14)), again=st.lists(st.integers(0, 13), max_size=4),
    keys=st.integers(1, 4), rows=st.integers(1, 20),
)  # fmt: skip
def test_it_finds_what_the_definition_says(
    order: list[int], again: list[int], keys: int, rows: int
) -> None:
    """Any order with any copies: late is a message whose first copy lies behind a later message's
    first copy."""
    history, stored = keyed(right(14), keys), [*order, *again]
    history.stored = [Copy(sequence, offset=place) for place, sequence in enumerate(stored)]
    history.ends = {0: (0, len(stored), len(stored))}

    def late(share: int) -> set[int]:
        return {
            one for place, one in enumerate(order)
            if any(other > one and (other - one) % share == 0 for other in order[:place])
        }  # fmt: skip

    finding = answer(Ordering(), history, rows)
    assert {sequence for _, _, sequence in named(finding, STORED)} == late(1)
    assert {sequence for _, _, sequence in named(finding, IN_KEY)} == late(keys)


def test_facts_are_not_needed_to_fold() -> None:
    """A run that broke off before load was offered is answered, too."""
    facts = Facts({}, False, (), {}, 0, 0, {})
    assert Ordering().finish(Ordering().start(), facts).verdict is Verdict.UNKNOWN
