"""`network.partition`: which links it cuts, and that only what bites is proved."""

from __future__ import annotations

from random import Random

import pytest

from chaos.errors import ClusterError, FaultError
from chaos.spi import CLIENTS, Effect, Injection, NodeState, Presence
from chaos_adapters.faults.network_partition import Partition
from tests.rig import NAMES, FakeMesh, FakeRig, mesh, plain

Pair = tuple[str, str]


@pytest.fixture
def cluster() -> FakeMesh:
    return mesh()


def planned(cluster: FakeMesh, *nodes: str, parted_from: str = "both") -> Injection:
    fault = Partition(",".join(nodes), parted_from)  # type: ignore[arg-type]
    return fault.plan(FakeRig(cluster), Random(1))


def cut(injection: Injection) -> set[Pair]:
    """The links on which it cuts anything."""
    ways = [(source, target) for source, target in injection.data["ways"]]
    return {pair for pair in (*ways, *(way[::-1] for way in ways)) if pair[1] != CLIENTS}


def look(cluster: FakeMesh, injection: Injection) -> Effect:
    return Partition("fake-1").in_effect(cluster, injection)


def on(cluster: FakeMesh, *nodes: str) -> Injection:
    injection = planned(cluster, *nodes)
    Partition("fake-1").inject(cluster, injection)
    return injection


PEERS = {("fake-1", "fake-2"), ("fake-1", "fake-3"), ("fake-2", "fake-1"), ("fake-3", "fake-1")}


@pytest.mark.parametrize(
    ("parted_from", "expected"),
    [
        ("peers", PEERS),
        ("clients", {(CLIENTS, "fake-1")}),
        ("both", PEERS | {(CLIENTS, "fake-1")}),
    ],
)
def test_it_cuts_one_node_off_both_ways(
    cluster: FakeMesh, parted_from: str, expected: set[Pair]
) -> None:
    """From its peers, its clients, or both; no link among the others is touched."""
    assert cut(planned(cluster, "fake-1", parted_from=parted_from)) == expected


def test_several_nodes_still_reach_each_other(cluster: FakeMesh) -> None:
    """Only links across the border are cut."""
    found = cut(planned(cluster, "fake-1", "fake-2"))
    assert ("fake-1", "fake-2") not in found
    assert ("fake-2", "fake-1") not in found
    assert len(found) == 6


def test_planning_changes_nothing_and_its_decision_can_be_written_down(cluster: FakeMesh) -> None:
    """It must heal from the disk alone."""
    injection = planned(cluster, "fake-1")
    assert cluster.left_on == []
    assert not any(link.acts for link in cluster.links.values())
    assert all(isinstance(pair, list) for pair in injection.data["ways"])


def test_a_border_that_no_link_crosses_cannot_be_cut(cluster: FakeMesh) -> None:
    """All nodes together have no peers."""
    with pytest.raises(FaultError, match="no link leads"):
        planned(cluster, *NAMES, parted_from="peers")


def test_links_that_are_silent_already_cannot_be_cut(cluster: FakeMesh) -> None:
    """Their silence would prove nothing; they are named. Silent links elsewhere do not matter."""
    cluster.links["fake-2", "fake-3"].broken = {"inner", "outer"}
    planned(cluster, "fake-1")
    cluster.links["fake-2", "fake-1"].broken = {"outer"}
    with pytest.raises(FaultError, match=r"even now: fake-2 -> fake-1$"):
        planned(cluster, "fake-1")


def test_a_runtime_without_links_is_told() -> None:
    """With what to do."""
    with pytest.raises(FaultError, match="--runtime docker"):
        Partition("fake-1").plan(FakeRig(plain()), Random(1))


def test_a_life_of_a_partition(cluster: FakeMesh) -> None:
    """Not there, wholly there with figures, wholly gone."""
    injection = planned(cluster, "fake-1")
    assert look(cluster, injection).presence is Presence.NONE
    Partition("fake-1").inject(cluster, injection)
    effect = look(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures == {
        "links cut": 5, "cut links that answer": 0, "other links": 4, "other links that answer": 4,
    }  # fmt: skip
    Partition("fake-1").heal(cluster, injection)
    assert look(cluster, injection).presence is Presence.NONE
    assert cluster.left_on == []


def test_nothing_is_closed_at_the_heal(cluster: FakeMesh) -> None:
    """A latency of a day holds the bytes back; Toxiproxy's `timeout` would close connections."""
    injection = on(cluster, "fake-1")
    for pair in cut(injection):
        assert cluster.links[pair].toxics == {
            injection.data["name"]: ("latency", {"latency": 86_400_000})
        }


@pytest.mark.parametrize("ports", [{"inner"}, {"inner", "outer"}])
def test_a_cut_that_half_bites_is_partial(cluster: FakeMesh, ports: set[str]) -> None:
    """One port of one link still answers: no proof, although every toxic is in place."""
    injection = on(cluster, "fake-1")
    cluster.links["fake-1", "fake-2"].leaky = ports
    effect = look(cluster, injection)
    assert effect.presence is Presence.PARTIAL
    assert effect.figures["cut links that answer"] == 1


def test_silence_without_the_cut_is_not_proved(cluster: FakeMesh) -> None:
    """A link that is silent for another reason, and one toxic missing: partial."""
    injection = on(cluster, "fake-1")
    link = cluster.links["fake-1", "fake-2"]
    link.toxics.clear()
    link.broken = {"inner", "outer"}
    assert look(cluster, injection).presence is Presence.PARTIAL


@pytest.mark.parametrize("broken", [{"inner"}, {"inner", "outer"}])
def test_other_links_that_do_not_answer_are_more_than_what_was_asked(
    cluster: FakeMesh, broken: set[str]
) -> None:
    """A partition that cuts too much is not the one that was planned: not FULL."""
    injection = on(cluster, "fake-1")
    cluster.links["fake-2", "fake-3"].broken = broken
    effect = look(cluster, injection)
    assert effect.presence is Presence.PARTIAL
    assert effect.figures["other links that answer"] == 3


def test_links_that_another_fault_disturbs_do_not_count(cluster: FakeMesh) -> None:
    """Faults may overlap; what the other one imposed stays when this one is healed."""
    injection = on(cluster, "fake-1")
    other = cluster.links["fake-2", "fake-3"]
    other.impose("slow", "latency", latency=5000)
    effect = look(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures["other links"] == 3
    cluster.links["fake-1", "fake-2"].impose("slow", "latency", latency=1)
    Partition("fake-1").heal(cluster, injection)
    assert set(other.toxics) == set(cluster.links["fake-1", "fake-2"].toxics) == {"slow"}


@pytest.mark.parametrize("state", [NodeState.DEAD, NodeState.PAUSED])
def test_a_target_that_does_not_run_proves_nothing(cluster: FakeMesh, state: NodeState) -> None:
    """Its silence is not the cut's: it is not asked, neither as cut nor as other link, so a node
    that another fault holds down spoils neither the proof nor the heal."""
    injection = on(cluster, "fake-1")
    cluster.nodes["fake-3"].now = state
    before = {pair: link.probes for pair, link in cluster.links.items()}
    effect = look(cluster, injection)
    assert effect.presence is Presence.FULL
    assert effect.figures["other links"] == 2
    for (_, target), link in cluster.links.items():
        assert link.probes - before[link.source, link.target] == (target != "fake-3")
    Partition("fake-1").heal(cluster, injection)
    assert look(cluster, injection).presence is Presence.NONE


def test_a_cut_that_is_still_imposed_on_a_dead_target_is_not_gone(cluster: FakeMesh) -> None:
    """What cannot be pinged is at least looked up."""
    injection = on(cluster, "fake-1")
    cluster.nodes["fake-3"].now = NodeState.DEAD
    Partition("fake-1").heal(cluster, injection)
    cluster.links["fake-1", "fake-3"].impose(injection.data["name"], "latency", latency=86_400_000)
    assert look(cluster, injection).presence is Presence.PARTIAL


def test_healing_after_none_half_or_all_of_it_and_again(cluster: FakeMesh) -> None:
    """Whatever was imposed before an error is lifted; a second heal changes nothing."""
    injection = planned(cluster, "fake-1")
    for moments in range(11):
        cluster.trouble.arm(moments)
        try:
            Partition("fake-1").inject(cluster, injection)
        except ClusterError:
            assert moments < 10
        cluster.trouble.disarm()
        for _ in range(2):
            Partition("fake-1").heal(cluster, injection)
            assert cluster.left_on == []


def test_a_link_that_answers_slowly_after_the_heal_is_not_yet_gone(cluster: FakeMesh) -> None:
    """Gone means that bytes cross every link that was cut."""
    injection = on(cluster, "fake-1")
    Partition("fake-1").heal(cluster, injection)
    cluster.links["fake-1", "fake-2"].broken = {"outer"}
    assert look(cluster, injection).presence is Presence.PARTIAL
