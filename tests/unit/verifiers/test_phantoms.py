"""Phantoms: what is there and should not be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Outcome, Verdict
from chaos_verifiers.phantoms import Phantoms
from tests.histories import Copy, History, answer, drop, figure, find, named, right


def test_only_what_was_sent_passes() -> None:
    """Everything that is there was sent."""
    assert answer(Phantoms(), right(4)).verdict is Verdict.PASS


def test_nothing_to_look_at_is_unknown() -> None:
    """An empty stream proves nothing."""
    history = right(4)
    history.deliveries, history.stored = [], []
    assert answer(Phantoms(), history).verdict is Verdict.UNKNOWN


def test_number_beyond_what_was_handed_out() -> None:
    """A number that its producer never used was never sent; also if it is absurdly large."""
    history = right(4)
    history.deliveries += [Copy(4, offset=4), Copy(2**50, offset=5)]
    finding = answer(Phantoms(), history)
    assert finding.verdict is Verdict.FAIL
    assert named(finding) == {("never sent", 0, 4), ("never sent", 0, 2**50)}


def test_number_that_was_reserved() -> None:
    """A number below the reserved one may have been sent although its outcome is not on record."""
    history = right(4)
    history.handed_out = {0: 1000}
    history.final = False
    history.stored += [Copy(999, offset=4), Copy(1000, offset=5)]
    assert named(answer(Phantoms(), history)) == {("never sent", 0, 1000)}


def test_unknown_producer() -> None:
    """There was no producer 7."""
    history = right(2)
    history.stored.append(Copy(0, offset=2, producer=7))
    assert named(answer(Phantoms(), history)) == {("never sent", 7, 0)}


def test_refused_and_yet_there() -> None:
    """A definite failure promises that the message is not stored."""
    history = right(4)
    find(history.sends, 2).outcome = Outcome.REFUSED
    assert named(answer(Phantoms(), history)) == {("refused", 0, 2)}


def test_refused_and_not_there() -> None:
    """A refused message that is nowhere is as it should be."""
    history = right(4)
    find(history.sends, 2).outcome = Outcome.REFUSED
    drop(history.deliveries, 2)
    drop(history.stored, 2)
    assert answer(Phantoms(), history).verdict is Verdict.PASS


def test_indeterminate_may_appear() -> None:
    """A send of unknown outcome may be there."""
    history = right(4)
    find(history.sends, 2).outcome = Outcome.INDETERMINATE
    assert answer(Phantoms(), history).verdict is Verdict.PASS


def test_foreign_message_counts_once() -> None:
    """What does not carry the run's mark is one phantom, though it was delivered and stored."""
    history = right(2)
    for copies in (history.deliveries, history.stored):
        copies.append(Copy(-1, offset=2, producer=-1, intact=False))
    finding = answer(Phantoms(), history)
    assert finding.verdict is Verdict.FAIL
    assert figure(finding, "foreign") == 1
    assert answer(Phantoms(max=1), history).verdict is Verdict.PASS


def test_foreign_messages_without_offset_count_each() -> None:
    """Where a broker gives no offsets, two deliveries may be two messages: both count."""
    history = right(2)
    history.deliveries += [Copy(-1, offset=-1, producer=-1, intact=False) for _ in range(2)]
    assert figure(answer(Phantoms(), history), "foreign") == 2


@given(
    count=st.integers(1, 12),
    change=st.sampled_from(["damage", "refuse", "abort"]),
    data=st.data(),
)
def test_names_exactly_the_changed_message(count: int, change: str, data: st.DataObject) -> None:
    """Damage, refuse or abort one message of a right history: exactly this one is a phantom."""
    history = right(count)
    sequence = data.draw(st.integers(0, count - 1))
    if change == "damage":
        find(
            data.draw(st.sampled_from([history.deliveries, history.stored])), sequence
        ).intact = False
    else:
        outcome = Outcome.REFUSED if change == "refuse" else Outcome.ABORTED
        find(history.sends, sequence).outcome = outcome
    kind = {"damage": "damaged", "refuse": "refused", "abort": "aborted"}[change]
    assert named(answer(Phantoms(), history)) == {(kind, 0, sequence)}


def test_state_of_an_empty_history() -> None:
    """Nothing at all does not crash."""
    assert answer(Phantoms(), History()).verdict is Verdict.UNKNOWN
