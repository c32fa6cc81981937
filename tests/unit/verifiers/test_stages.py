"""The stages of a failover: exact times out of sightings and interruptions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import Json, Stage, Verdict
from chaos_verifiers.failover import Failover
from chaos_verifiers.interruptions import ACKED, ALL, DELIVERED, Interruption
from chaos_verifiers.stages import (
    ELECTED,
    FIRST_ACKED,
    FIRST_DELIVERED,
    IN_SYNC,
    LEADER,
    NAMES,
    SUSPECTED,
    find,
)
from tests.histories import ORIGIN_NS, Copy, Fault, History, Send, answer, at, figure

NODES = ("kafka-1", "kafka-2", "kafka-3")


def look(
    time_s: float,
    leader: str | None = "kafka-1",
    *,
    lacks: Sequence[str] = (),
    dead: Sequence[str] = (),
    controller: str | None = "kafka-3",
    since_s: float | None = None,
    partition: int = 0,
    replicas: Sequence[str] = NODES,
) -> Json:
    """The event of a look that found something new; the look before it was 20 ms earlier."""
    return {
        "time_ns": at(time_s), "kind": "view", "controller": controller,
        "since_ns": at(time_s - 0.02 if since_s is None else since_s),
        "leaders": {str(partition): leader}, "replicas": {str(partition): list(replicas)},
        "in_sync": {str(partition): [node for node in replicas if node not in lacks]},
        "alive": [node for node in NODES if node not in dead],
    }  # fmt: skip


def gap(start_s: float, end_s: float | None, what: str = ACKED, client: str = ALL) -> Interruption:
    """An interruption of partition 0 that counts for the fault `f1`."""
    end_ns = None if end_s is None else at(end_s)
    return Interruption("f1", what, client, 0, at(start_s), end_ns, 0.0, 0.0)


def stages(
    views: Sequence[Json],
    gaps: Sequence[Interruption] = (),
    faults: Sequence[Fault] = (Fault("f1", 5.0, 25.0),),
) -> list[Stage]:
    """What is found in a run of 60 s."""
    return find(History(faults=list(faults), more_events=list(views)).facts(), gaps)


def told(found: Sequence[Stage]) -> list[tuple[Any, ...]]:
    """(client, name, start, end) in s, and in ms the uncertainty, of each stage."""
    return [
        (stage.client, stage.name, _s(stage.started_ns), _s(stage.ended_ns),
         stage.within_ns / 1e6)
        for stage in found
    ]  # fmt: skip


def _s(time_ns: int | None) -> float | None:
    return None if time_ns is None else (time_ns - ORIGIN_NS) / 1e9


KILLED = [
    look(0.5),
    look(14.0, "kafka-2", lacks=["kafka-1"], dead=["kafka-1"], since_s=13.97),
    look(31.0, "kafka-2", lacks=["kafka-1"]),
    look(33.0, "kafka-2"),
]
"""A leader is killed at 5 s and back at 25 s."""


def test_a_killed_leader() -> None:
    """Fencing and choice are one sighting, so they are one stage; each stage starts where the one
    before ended, also for each client."""
    found = stages(KILLED, [
        gap(4.9, 14.5), gap(4.9, 14.5, client="producer-0"), gap(4.95, 14.7, client="producer-1"),
        gap(5.0, 14.9, DELIVERED), gap(5.0, 14.9, DELIVERED, "consumer-0"),
    ])  # fmt: skip
    assert told(found) == [
        (ALL, LEADER, 5.0, 14.0, 30.0),
        (ALL, FIRST_ACKED, 14.0, 14.5, 0.0),
        (ALL, FIRST_DELIVERED, 14.5, 14.9, 0.0),
        (ALL, IN_SYNC, 14.9, 33.0, 20.0),
        ("producer-0", FIRST_ACKED, 14.0, 14.5, 0.0),
        ("producer-1", FIRST_ACKED, 14.0, 14.7, 0.0),
        ("consumer-0", FIRST_DELIVERED, 14.5, 14.9, 0.0),
    ]
    assert found[0].merged == (SUSPECTED,)
    assert all(not stage.merged for stage in found[1:])


def test_suspicion_that_is_seen_first_is_a_stage_of_its_own() -> None:
    """Whoever can be told apart is told apart."""
    views = [look(0.5), look(13.0, None, dead=["kafka-1"]), look(14.0, "kafka-2"), *KILLED[2:]]
    found = stages(views)
    assert told(found)[:2] == [(ALL, SUSPECTED, 5.0, 13.0, 20.0), (ALL, LEADER, 13.0, 14.0, 20.0)]
    assert not found[1].merged


def elects(event: Json, elected: str) -> Json:
    """The same look at a cluster that tells who was elected."""
    return {**event, "elected": {"0": elected}}


def test_an_election_that_clients_are_told_of_later_is_a_stage_of_its_own() -> None:
    """Whatever comes in one look with something later lies in that; nobody's election is made up
    where only some looks tell of one."""
    first = elects(look(0.5), "kafka-1")
    noticed = elects(look(13.0, dead=["kafka-1"]), "kafka-1")
    elected = elects(look(13.5, dead=["kafka-1"]), "kafka-2")
    chosen = elects(look(14.0, "kafka-2", dead=["kafka-1"]), "kafka-2")

    def rows(*views: Json) -> list[tuple[Any, ...]]:
        return [(stage.name, _s(stage.ended_ns), stage.merged) for stage in stages(views)]

    assert rows(first, noticed, elected, chosen) == [
        (SUSPECTED, 13.0, ()), (ELECTED, 13.5, ()), (LEADER, 14.0, ()),
    ]  # fmt: skip
    assert rows(first, elected, chosen) == [(ELECTED, 13.5, (SUSPECTED,)), (LEADER, 14.0, ())]
    assert rows(first, noticed, chosen) == [(SUSPECTED, 13.0, ()), (LEADER, 14.0, (ELECTED,))]
    assert rows(first, chosen) == [(LEADER, 14.0, (SUSPECTED, ELECTED))]
    assert rows(look(0.5), elected, chosen) == [(SUSPECTED, 13.5, ()), (LEADER, 14.0, ())]


def test_a_client_waits_from_the_choice_on_not_from_the_election() -> None:
    """It goes by what it is told, and so does a threshold; the worst election has a figure of its
    own where there is any."""
    views = [
        elects(look(0.5), "kafka-1"), elects(look(13.5), "kafka-2"),
        elects(look(14.0, "kafka-2"), "kafka-2"),
    ]  # fmt: skip
    gaps = [gap(4.9, 14.5), gap(4.9, 14.5, client="producer-0")]
    assert told(stages(views, gaps))[-1] == ("producer-0", FIRST_ACKED, 14.0, 14.5, 0.0)
    found = answer(Failover(leader=8.7), run(views))
    assert figure(found, f"until {ELECTED}") == pytest.approx(8.5)
    assert figure(found, f"until {LEADER}") == pytest.approx(9.0)
    assert found.verdict is Verdict.FAIL
    assert figure(answer(Failover(), run(KILLED)), f"until {ELECTED}") is None


def test_what_a_broker_does_not_expose_is_merged() -> None:
    """Without `alive` the suspicion lies in the choice; without leaders both lie in the first
    acknowledgement."""
    mute = [{**event, "alive": []} for event in KILLED]
    assert stages(mute)[0].merged == (SUSPECTED,)
    (first,) = stages([], [gap(4.9, 14.5)])
    assert (first.name, first.merged) == (FIRST_ACKED, (SUSPECTED, LEADER))


def test_a_partition_without_a_replica_on_the_node_has_no_rows() -> None:
    """A fault is not blamed for what it cannot have touched."""
    elsewhere = [{**event, "replicas": {"0": ["kafka-2", "kafka-3"]}} for event in KILLED]
    assert stages(elsewhere) == []


def test_a_follower_that_dies_costs_no_leader() -> None:
    """The cluster suspects it, and the in-sync set shrinks and is whole again; nobody waited."""
    views = [
        look(0.5, "kafka-2"),
        look(14.0, "kafka-2", lacks=["kafka-1"], dead=["kafka-1"]),
        look(33.0, "kafka-2"),
    ]
    assert told(stages(views)) == [
        (ALL, SUSPECTED, 5.0, 14.0, 20.0),
        (ALL, IN_SYNC, 14.0, 33.0, 20.0),
    ]


def test_a_leader_that_moves_without_a_gap() -> None:
    """What clients did not notice is a stage of the cluster all the same."""
    views = [look(0.5), look(6.0, "kafka-2")]
    assert told(stages(views)) == [(ALL, LEADER, 5.0, 6.0, 20.0)]


def test_a_paused_leader_that_stays_leader() -> None:
    """It is healed before the cluster suspected it: only clients have stages."""
    found = stages([look(0.5)], [gap(4.9, 9.0)], [Fault("f1", 5.0, 8.9)])
    assert told(found) == [(ALL, FIRST_ACKED, 5.0, 9.0, 0.0)]
    assert found[0].merged == ()


def test_healed_before_a_leader_was_chosen() -> None:
    """A node that was down for too short to notice is fenced after its return all the same."""
    found = stages(KILLED, [gap(4.9, 14.5)], [Fault("f1", 5.0, 7.0)])
    assert told(found)[0] == (ALL, LEADER, 5.0, 14.0, 30.0)


def test_an_in_sync_set_that_shrinks_again_is_whole_the_last_time() -> None:
    """A set that is whole for a moment is not whole for good."""
    views = [*KILLED, look(34.0, "kafka-2", lacks=["kafka-1"]), look(36.0, "kafka-2")]
    assert told(stages(views))[-1] == (ALL, IN_SYNC, 14.0, 36.0, 20.0)


def test_what_never_happened_has_no_end() -> None:
    """No new leader, a client that never came back, a set that is not whole."""
    views = [look(0.5), look(14.0, None, lacks=["kafka-1"], dead=["kafka-1"])]
    found = stages(views, [gap(4.9, None), gap(4.9, None, client="producer-0")])
    assert told(found) == [
        (ALL, SUSPECTED, 5.0, 14.0, 20.0),
        (ALL, LEADER, 14.0, None, 0.0),
        (ALL, FIRST_ACKED, 14.0, None, 0.0),
        (ALL, IN_SYNC, 14.0, None, 0.0),
        ("producer-0", FIRST_ACKED, 14.0, None, 0.0),
    ]


def test_faults_one_after_the_other_do_not_share_their_stages() -> None:
    """What happens after the second began is not told of the first."""
    views = [
        *KILLED,
        look(49.0, "kafka-3", lacks=["kafka-2"], dead=["kafka-2"]),
        look(55.0, "kafka-3"),
    ]
    second = Fault("f2", 40.0, 50.0, nodes=("kafka-2",))
    found = stages(views, faults=[Fault("f1", 5.0, 25.0), second])
    assert [(s.fault, s.name, _s(s.ended_ns)) for s in found] == [
        ("f1", LEADER, 14.0), ("f1", IN_SYNC, 33.0), ("f2", LEADER, 49.0), ("f2", IN_SYNC, 55.0),
    ]  # fmt: skip


def test_faults_at_once_both_tell_of_what_happens() -> None:
    """Nobody can tell which of two faults a change is due to."""
    second = Fault("f2", 6.0, 25.0, nodes=("kafka-1",), fault="network.partition")
    found = stages(KILLED, faults=[Fault("f1", 5.0, 25.0), second])
    assert [(s.fault, _s(s.started_ns)) for s in found if s.name == LEADER] == [
        ("f1", 5.0), ("f2", 6.0),
    ]  # fmt: skip


@given(
    chosen=st.integers(51, 200),
    acked=st.integers(50, 200),
    delivered=st.integers(50, 200),
    whole=st.integers(201, 400),
)
def test_the_stages_of_a_partition_follow_on_each_other(
    chosen: int, acked: int, delivered: int, whole: int
) -> None:
    """Whatever came first: they lie end to end, from the fault to the last of them."""
    views = [
        look(0.5),
        look(chosen / 10, "kafka-2", lacks=["kafka-1"]),
        look(whole / 10, "kafka-2"),
    ]
    found = stages(views, [gap(4.9, acked / 10), gap(4.9, delivered / 10, DELIVERED)])
    assert {stage.name for stage in found} == set(NAMES) - {SUSPECTED, ELECTED}
    assert found[0].started_ns == at(5.0)
    assert found[-1].ended_ns == at(whole / 10)
    for one, following in itertools.pairwise(found):
        assert one.ended_ns == following.started_ns
    ends = {stage.name: _s(stage.ended_ns) for stage in found}
    assert ends[LEADER] == pytest.approx(chosen / 10)
    assert ends[FIRST_ACKED] == pytest.approx(acked / 10)
    assert ends[FIRST_DELIVERED] == pytest.approx(delivered / 10)


# ------------------------------------------------------------------- as Failover judges them


def run(views: Sequence[Json], *, until_s: float = 14.5, nodes: Sequence[str] = ()) -> History:
    """One producer and consumer, served but from 5 s on until a time; a fault from 5 to 25 s."""
    fault = Fault("f1", 5.0, 25.0, nodes=tuple(nodes) or ("kafka-1",))
    history = History(faults=[fault], more_events=list(views))
    for sequence in range(1200):
        due_s = sequence * 0.05
        done_s = max(due_s, until_s) if due_s > 5.0 else due_s
        history.sends.append(Send(sequence, 0, sequence, due_s, done_s + 0.001))
        history.deliveries.append(Copy(sequence, 0, sequence, done_s + 0.002))
    return history


def test_the_figures_count_from_the_fault() -> None:
    """The worst of each stage from the start of its fault; none for one that did not happen."""
    finding = answer(Failover(max=20, leader=12, in_sync=40), run(KILLED))
    assert finding.verdict is Verdict.PASS
    assert figure(finding, f"until {SUSPECTED}") is None
    assert figure(finding, f"until {LEADER}") == pytest.approx(9.0)
    assert figure(finding, f"until {FIRST_ACKED}") == pytest.approx(9.501)
    assert figure(finding, f"until {FIRST_DELIVERED}") == pytest.approx(9.502)
    assert figure(finding, f"until {IN_SYNC}") == pytest.approx(28.0)
    assert {stage.client for stage in finding.stages} == {ALL, "producer-0", "consumer-0"}


def test_a_stage_that_takes_too_long_fails() -> None:
    """Each threshold alone."""
    assert answer(Failover(leader=8.9), run(KILLED)).verdict is Verdict.FAIL
    assert answer(Failover(in_sync=27.9), run(KILLED)).verdict is Verdict.FAIL
    assert answer(Failover(max=9.4), run(KILLED)).verdict is Verdict.FAIL


def test_a_late_heal_is_no_excuse_for_a_stage() -> None:
    """A client that waited for a fault to be undone is not held against the brokers; what the
    cluster itself had to do, and when, is."""
    history = run(KILLED)
    history.faults = [Fault("f1", 5.0, 25.0, heal_s=10.0, undone_s=11.0)]
    assert answer(Failover(max=9.4, leader=9.1), history).verdict is Verdict.UNKNOWN
    assert answer(Failover(max=9.4, leader=8.9), history).verdict is Verdict.FAIL


def test_a_stage_that_did_not_end() -> None:
    """UNKNOWN as long as it may still be in time, FAIL when it cannot."""
    history = run(KILLED[:3])
    assert answer(Failover(in_sync=60), history).verdict is Verdict.UNKNOWN
    assert answer(Failover(in_sync=54), history).verdict is Verdict.FAIL
    assert answer(Failover(), history).verdict is Verdict.PASS


def test_leaders_that_are_not_on_record_are_unknown() -> None:
    """A threshold for what nobody saw cannot be met."""
    assert answer(Failover(leader=12), run([])).verdict is Verdict.UNKNOWN
    assert answer(Failover(max=12), run([])).verdict is Verdict.PASS


def test_no_new_leader_was_needed() -> None:
    """Then the threshold is met."""
    finding = answer(Failover(leader=1), run([look(0.5)], until_s=7.0))
    assert finding.verdict is Verdict.PASS
    assert figure(finding, f"until {LEADER}") is None


def test_the_clock_stands_still_without_a_majority() -> None:
    """Two of three nodes are down and no controller is named from 7 to 25 s: nobody could have
    chosen a leader then. With one node down, or while one is named, it goes on."""
    views = [
        look(0.5),
        look(7.0, controller=None),
        look(25.0),
        look(27.0, "kafka-3", lacks=["kafka-1"]),
        look(30.0, "kafka-3"),
    ]
    both = run(views, until_s=27.5, nodes=("kafka-1", "kafka-2"))
    finding = answer(Failover(leader=5), both)
    assert finding.verdict is Verdict.PASS
    assert figure(finding, f"until {LEADER}") == pytest.approx(4.0)
    assert figure(finding, "without a majority") == pytest.approx(18.0)
    assert figure(finding, "longest without acknowledgement") == pytest.approx(22.5)
    one = run(views, until_s=27.5)
    assert figure(answer(Failover(), one), f"until {LEADER}") == pytest.approx(22.0)
    named = [{**event, "controller": "kafka-3"} for event in views]
    history = replace(both, more_events=named)
    assert figure(answer(Failover(), history), f"until {LEADER}") == pytest.approx(22.0)
    assert figure(answer(Failover(), history), "without a majority") == 0.0
