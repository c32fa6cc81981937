"""Every verifier is a monoid: how a history is cut into batches and shards does not matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Batch, Facts, Finding, Outcome, Verifier
from chaos_verifiers.availability import Availability
from chaos_verifiers.divergence import Divergence
from chaos_verifiers.duplication import Duplication
from chaos_verifiers.failover import Failover
from chaos_verifiers.loss import Loss
from chaos_verifiers.ordering import Ordering
from chaos_verifiers.phantoms import Phantoms
from chaos_verifiers.recovery import Recovery
from tests.histories import Copy, Fault, History, Piece, drop, find, right

VERIFIERS: list[Verifier[Any]] = [
    Loss(), Duplication(max_stored=0, max_delivered=0), Phantoms(), Failover(max=0.5),
    Availability(min_share=0.99, max_gap=1.0, within=0.5), Ordering(),
    Recovery(max=0.5, hold=0.2), Divergence(),
]  # fmt: skip
ids = [type(verifier).__name__ for verifier in VERIFIERS]


def eventful() -> History:
    """Two producers, consumers and readers, three partitions, and something wrong for each."""
    history = right(60, every_s=0.05, partitions=3, producers=2)
    for copy in history.deliveries:
        copy.client = copy.partition % 2
    for copy in history.stored:
        copy.client = copy.partition % 2
    drop(history.deliveries, 30)
    drop(history.stored, 30)
    drop(history.deliveries, 31)
    drop(history.stored, 32, 1)
    history.stored.append(replace(find(history.stored, 33), offset=70))
    history.stored.append(replace(find(history.stored, 33), offset=71, client=5))
    history.deliveries.append(replace(find(history.deliveries, 34), client=1))
    # Two copies, one of them read by two readers, delivered three times.
    again = replace(find(history.stored, 38), offset=80)
    history.stored += [again, replace(again, client=5)]
    history.deliveries += [replace(find(history.deliveries, 38)) for _ in range(2)]
    find(history.sends, 35).outcome = Outcome.REFUSED
    find(history.sends, 36).outcome = Outcome.INDETERMINATE
    find(history.stored, 37).intact = False
    history.deliveries.append(Copy(10**7, offset=72, client=1, received_s=2.9))
    history.stored.append(Copy(-1, offset=73, producer=-1, intact=False))
    for sequence in range(40, 50):
        find(history.sends, sequence).done_s = 3.0
    history.sends.sort(key=lambda send: send.done_s)
    history.deliveries.sort(key=lambda copy: copy.received_s)
    history.faults = [Fault("f1", 1.9, 2.4)]
    history.replicas = [
        Piece(node, offset, digest=5 + (node == "b" and offset == 3))
        for node in ("a", "b", "c") for offset in range(9) if (node, offset) != ("c", 4)
    ]  # fmt: skip
    history.held = {node: {0: (0, 9, 9)} for node in ("a", "b", "c")}
    find(history.sends, 15).offset = 2
    return history


def fold(verifier: Verifier[Any], batches: list[Batch]) -> Any:
    """All batches into one state."""
    state = verifier.start()
    for batch in batches:
        if batch.table in verifier.tables:
            state = verifier.fold(state, batch)
    return state


def whole(verifier: Verifier[Any], history: History) -> tuple[Finding, Facts]:
    """The finding of everything folded at once."""
    return verifier.finish(fold(verifier, history.batches()), history.facts()), history.facts()


@pytest.mark.parametrize("verifier", VERIFIERS, ids=ids)
@given(rows=st.integers(1, 150))
def test_cutting_into_batches_changes_nothing(verifier: Verifier[Any], rows: int) -> None:
    """One batch or many, the finding is the same."""
    expected, facts = whole(verifier, eventful())
    assert verifier.finish(fold(verifier, eventful().batches(rows)), facts) == expected


@pytest.mark.parametrize("verifier", VERIFIERS, ids=ids)
@given(data=st.data())
def test_sharding_by_client_changes_nothing(verifier: Verifier[Any], data: st.DataObject) -> None:
    """Clients in any order and in any of three shards, merged in any order: the same finding."""
    expected, facts = whole(verifier, eventful())
    batches = eventful().batches(data.draw(st.integers(5, 200)))
    clients = data.draw(st.permutations(sorted({batch.client for batch in batches})))
    shards: list[list[Batch]] = [[], [], []]
    for client in clients:
        shard = shards[data.draw(st.integers(0, 2))]
        shard += [batch for batch in batches if batch.client == client]
    a, b, c = (fold(verifier, shard) for shard in shards)
    if data.draw(st.booleans()):
        state = verifier.merge(a, verifier.merge(b, c))
    else:
        state = verifier.merge(verifier.merge(c, a), b)
    assert verifier.finish(state, facts) == expected


@pytest.mark.parametrize("verifier", VERIFIERS, ids=ids)
def test_start_is_the_unit(verifier: Verifier[Any]) -> None:
    """Merging a state that has seen nothing, on either side, changes nothing."""
    expected, facts = whole(verifier, eventful())
    for state in (
        verifier.merge(verifier.start(), fold(verifier, eventful().batches())),
        verifier.merge(fold(verifier, eventful().batches()), verifier.start()),
    ):
        assert verifier.finish(state, facts) == expected


@pytest.mark.parametrize("verifier", VERIFIERS, ids=ids)
def test_nothing_at_all(verifier: Verifier[Any]) -> None:
    """An empty history is answered, never a crash."""
    history = History()
    assert verifier.finish(verifier.start(), history.facts()).why
