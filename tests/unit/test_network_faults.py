"""The faults on links, packets and processors: only what bites is proved."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from chaos.errors import FaultError
from chaos.spi import CLIENTS, NodeState, Presence
from chaos_adapters.faults.cpu_limit import CpuLimit
from chaos_adapters.faults.network_bandwidth import Bandwidth
from chaos_adapters.faults.network_flap import Flap
from chaos_adapters.faults.network_latency import Latency
from chaos_adapters.faults.network_loss import Loss
from chaos_adapters.faults.network_partition import Partition
from chaos_adapters.faults.network_reset import Reset
from chaos_adapters.faults.node_crash import Crash
from tests.rig import FakeMesh, FakeRig, mesh

FULL, PARTIAL, NONE = Presence.FULL, Presence.PARTIAL, Presence.NONE


@pytest.fixture
def cluster() -> FakeMesh:
    return mesh()


def on(cluster: FakeMesh, fault: Any, seed: int = 1) -> Any:
    """Planned and injected."""
    injection = fault.plan(FakeRig(cluster), Random(seed))
    fault.inject(cluster, injection)
    return injection


def looks(cluster: FakeMesh, fault: Any, injection: Any) -> Presence:
    found: Presence = fault.in_effect(cluster, injection).presence
    return found


# ------------------------------------------------------------------------------------ latency


@pytest.mark.parametrize(("direction", "least"), [("both", 0.2), ("in", 0.1), ("out", 0.1)])
def test_latency_is_measured_to_and_fro(cluster: FakeMesh, direction: Any, least: float) -> None:
    """Each way takes the delay; a link on which one way is slow takes it once."""
    fault = Latency("fake-1", 0.1, direction=direction)
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["shortest round trip"] == pytest.approx(least, abs=0.01)
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE


def test_latency_that_is_not_felt_is_not_proved(cluster: FakeMesh) -> None:
    """The toxic is there, and pings on one link are as quick as ever."""
    fault = Latency("fake-1", 0.1)
    injection = on(cluster, fault)
    cluster.links["fake-1", "fake-2"].leaky = {"inner", "outer"}
    assert looks(cluster, fault, injection) is PARTIAL


def test_links_that_are_as_slow_already_are_refused(cluster: FakeMesh) -> None:
    """Nobody could tell the one from the other."""
    cluster.links["fake-1", "fake-2"].base_s = 0.3
    with pytest.raises(FaultError, match="as slow even now, or silent: fake-1 -> fake-2"):
        Latency("fake-1", 0.1).plan(FakeRig(cluster), Random(1))


def test_one_slow_ping_of_a_busy_machine_is_no_slow_link(cluster: FakeMesh) -> None:
    """The quickest of three counts, before and after."""
    link = cluster.links["fake-1", "fake-2"]
    link.late = [0.5, 0.5]
    fault = Latency("fake-1", 0.1)
    injection = on(cluster, fault)
    assert looks(cluster, fault, injection) is FULL
    fault.heal(cluster, injection)
    link.late = [0.5, 0.5]
    assert looks(cluster, fault, injection) is NONE
    link.late = [0.5, 0.5, 0.5]
    assert looks(cluster, fault, injection) is PARTIAL


# ---------------------------------------------------------------------------------- bandwidth


def test_a_narrow_link_is_measured_in_bytes(cluster: FakeMesh) -> None:
    """At the rate while it is on, above it afterwards."""
    fault = Bandwidth("fake-1", 100_000)
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert (effect.presence, effect.figures["fastest, bytes/s"]) == (FULL, 100_000)
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE


def test_a_rate_above_the_links_is_refused(cluster: FakeMesh) -> None:
    """It would not be felt; the message tells what the link carries."""
    cluster.links["fake-1", "fake-2"].fast = 120_000
    with pytest.raises(FaultError, match="fake-1 -> fake-2 carries 120000 bytes/s"):
        Bandwidth("fake-1", 100_000).plan(FakeRig(cluster), Random(1))


def test_a_link_whose_rate_cannot_be_measured_is_refused(cluster: FakeMesh) -> None:
    """That of RabbitMQ's nodes among themselves, whose protocol answers once a connection."""
    cluster.links["fake-1", "fake-2"].fast = 0
    with pytest.raises(FaultError, match="rate of fake-1 -> fake-2 cannot be measured"):
        Bandwidth("fake-1", 100_000).plan(FakeRig(cluster), Random(1))


def test_a_rate_that_does_not_hold_is_not_proved(cluster: FakeMesh) -> None:
    """One link carries all that it can."""
    fault = Bandwidth("fake-1", 100_000)
    injection = on(cluster, fault)
    cluster.links["fake-1", "fake-2"].leaky = {"inner"}
    assert looks(cluster, fault, injection) is PARTIAL


# ------------------------------------------------------------------------------ reset and flap


def test_every_burst_is_seen_on_every_link(cluster: FakeMesh) -> None:
    """Connections closed: links times bursts; nothing is left afterwards."""
    fault = Reset("fake-1", times=3)
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert effect.figures == {"links": 5, "bursts": 3, "connections seen closed": 15}
    assert effect.presence is FULL
    assert fault.residue(cluster, injection).presence is NONE
    assert cluster.left_on == []


def test_connections_that_stay_open_are_no_reset(cluster: FakeMesh) -> None:
    """On one link nothing is closed."""
    cluster.links["fake-1", "fake-2"].leaky = {"inner"}
    fault = Reset("fake-1")
    assert looks(cluster, fault, on(cluster, fault)) is PARTIAL


@pytest.mark.parametrize("how", ["hang", "reset", "drop"])
def test_each_cut_of_a_flap_is_seen_and_its_end_too(cluster: FakeMesh, how: Any) -> None:
    """As many as were asked for, whatever cuts."""
    fault = Flap("fake-1", 3, 1.0, 1.0, how=how)
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert effect.figures == {"asked for": 3, "cuts seen": 3, "restored": 3}
    assert effect.presence is FULL
    assert fault.residue(cluster, injection).presence is NONE
    assert cluster.left_on == []


def test_a_flap_that_does_not_cut_is_not_proved(cluster: FakeMesh) -> None:
    """Bytes go through one of the links all the time."""
    cluster.links["fake-1", "fake-2"].leaky = {"inner"}
    fault = Flap("fake-1", 2, 1.0, 1.0)
    assert looks(cluster, fault, on(cluster, fault)) is NONE


def test_what_a_busy_machine_shows_late_is_seen_within_the_period(cluster: FakeMesh) -> None:
    """One link does not answer in time when it is first looked at after a cut."""
    fault = Flap("fake-1", 1, 2.0, 2.0)
    injection = fault.plan(FakeRig(cluster), Random(1))
    cluster.links["fake-1", "fake-2"].late = [9.0, 9.0]
    fault.inject(cluster, injection)
    assert looks(cluster, fault, injection) is FULL


# ---------------------------------------------------------------------------- loss and crashes


def test_loss_is_what_the_kernel_counted(cluster: FakeMesh) -> None:
    """About the share, and segments that were sent again."""
    fault = Loss("fake-1", 0.1)
    injection = on(cluster, fault)
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert (effect.figures["share"], effect.figures["sent again"]) == (0.1, 7)
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE


def test_loss_on_a_way_that_nobody_uses_is_not_proved(cluster: FakeMesh) -> None:
    """The rule is there and has seen no packet."""
    fault = Loss("fake-1", 0.1)
    injection = on(cluster, fault)
    cluster.packets.quiet = {("fake-1", "fake-2")}
    assert looks(cluster, fault, injection) is PARTIAL


def test_rules_that_drop_nothing_prove_nothing(cluster: FakeMesh) -> None:
    """Neither a loss nor a crash: what was to be stopped got through."""
    cluster.packets.deaf = True
    for fault in (Loss("fake-1", 0.1), Crash("fake-2")):
        assert looks(cluster, fault, on(cluster, fault)) is PARTIAL


def test_a_crash_is_silent_first_and_dead_then(cluster: FakeMesh) -> None:
    """The order is the point: whatever closes the connections finds no way out any more."""
    fault = Crash("fake-1")
    injection = fault.plan(FakeRig(cluster), Random(1))
    cluster.trouble.moments.clear()
    fault.inject(cluster, injection)
    moments = cluster.trouble.moments
    assert moments.index("before kill fake-1") > max(
        number for number, moment in enumerate(moments) if "losing" in moment
    )
    assert looks(cluster, fault, injection) is FULL
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE
    assert cluster.left_on == []


@pytest.mark.parametrize("closings", [0])
def test_a_crash_that_nobody_would_have_heard_of_is_not_proved(
    cluster: FakeMesh, closings: int
) -> None:
    """No packet that closes a connection was there to be dropped."""
    cluster.packets.closings = closings
    fault = Crash("fake-1")
    assert looks(cluster, fault, on(cluster, fault)) is PARTIAL


def test_a_late_answer_of_a_busy_machine_is_no_cut(cluster: FakeMesh) -> None:
    """Asked once more and with patience, whoever is not cut answers; one that does not is cut off,
    though nobody asked for that."""
    fault = Partition(isolate="fake-1", parted_from="peers")
    injection = on(cluster, fault)
    other = cluster.links["fake-2", "fake-3"]
    other.late = [1.0]
    assert looks(cluster, fault, injection) is FULL
    other.late = [1.0, 9.0]
    assert looks(cluster, fault, injection) is PARTIAL
    cut = cluster.links["fake-1", "fake-2"]
    cut.leaky, cut.late = {"inner"}, [0.4]
    assert looks(cluster, fault, injection) is PARTIAL


# ----------------------------------------------------------------------------------- processors


def test_a_node_that_wants_less_than_its_limit_proves_nothing(cluster: FakeMesh) -> None:
    """Only one that was held up felt it."""
    fault = CpuLimit("fake-1", 0.5)
    injection = on(cluster, fault)
    assert looks(cluster, fault, injection) is FULL
    cluster.nodes["fake-1"].wants = 0.1
    assert looks(cluster, fault, injection) is PARTIAL
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE


def test_a_limit_that_was_there_before_comes_back(cluster: FakeMesh) -> None:
    """And one that is lower already is not raised."""
    cluster.nodes["fake-1"].cores = 1.0
    fault = CpuLimit("fake-1", 0.5)
    fault.heal(cluster, on(cluster, fault))
    assert cluster.nodes["fake-1"].cores == 1.0
    with pytest.raises(FaultError, match="no more than that even now"):
        CpuLimit("fake-1", 2.0).plan(FakeRig(cluster), Random(1))


# ------------------------------------------------------------------- partitions of other shapes


def streams(cluster: FakeMesh) -> dict[tuple[str, str], str]:
    return {pair: next(iter(link.streams.values())) for pair, link in cluster.links.items()
            if link.toxics}  # fmt: skip


def test_one_way_is_a_direction_of_data(cluster: FakeMesh) -> None:
    """What the node sends goes over its own connections and over those of its peers; what comes
    back to it still does, and is seen to."""
    fault = Partition("fake-1", "peers", "out")
    injection = on(cluster, fault)
    assert streams(cluster) == {
        ("fake-1", "fake-2"): "upstream", ("fake-1", "fake-3"): "upstream",
        ("fake-2", "fake-1"): "downstream", ("fake-3", "fake-1"): "downstream",
    }  # fmt: skip
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["links on which bytes still arrive"] == 2
    cluster.links["fake-2", "fake-1"].impose("more", "latency", "upstream", latency=86_400_000)
    assert looks(cluster, fault, injection) is PARTIAL


@pytest.mark.parametrize("how", ["hang", "reset", "drop"])
def test_every_way_of_cutting_is_measured_alike(cluster: FakeMesh, how: Any) -> None:
    """On, with no cut link answering and all others; then gone without a trace."""
    fault = Partition("fake-1", how=how)
    injection = on(cluster, fault)
    assert looks(cluster, fault, injection) is FULL
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE
    assert cluster.left_on == []


def test_halves_and_a_bridge(cluster: FakeMesh) -> None:
    """Of three: the smaller half is one node, which loses its clients too; in a bridge one node
    sees both others, and clients see all."""
    for shape, clients, ways in (("halves", 2, 6), ("bridge", 0, 2)):
        injection = Partition(shape=shape).plan(  # type: ignore[arg-type]
            FakeRig(cluster, {"all": "fake-1,fake-2,fake-3"}), Random(3)
        )
        found = [tuple(way) for way in injection.data["ways"]]
        assert len(found) == ways
        assert sum(CLIENTS in way for way in found) == clients


def test_groups_may_name_the_clients(cluster: FakeMesh) -> None:
    """Whoever stands in no group sees everybody."""
    fault = Partition(groups=(("fake-1", CLIENTS), ("fake-2",)))
    injection = fault.plan(FakeRig(cluster), Random(1))
    assert {tuple(way) for way in injection.data["ways"]} == {
        ("fake-1", "fake-2"), ("fake-2", "fake-1"), (CLIENTS, "fake-2"), ("fake-2", CLIENTS),
    }  # fmt: skip
    assert "nobody" in Partition(groups=(("nobody",), ("fake-1",))).broker_problem(cluster.broker)


@pytest.mark.parametrize(
    "given",
    [{}, {"isolate": "fake-1", "shape": "bridge"}, {"shape": "bridge", "one_way": "in"},
     {"groups": (("a",),)}, {"groups": (("a",), ("a",))}],
)  # fmt: skip
def test_who_is_parted_is_said_once(given: dict[str, Any]) -> None:
    """By one of three keys, without contradictions."""
    with pytest.raises(ValueError, match=r"one of isolate|one_way goes|groups are"):
        Partition(**given)


def test_a_node_that_is_just_starting_spoils_no_proof(cluster: FakeMesh) -> None:
    """Its process runs and answers nobody yet: neither its silence nor that of links to it says
    anything about the links."""
    fault = Partition("fake-1")
    injection = on(cluster, fault)
    cluster.nodes["fake-3"].mute = True
    effect = fault.in_effect(cluster, injection)
    assert effect.presence is FULL
    assert effect.figures["other links"] == 2
    cluster.nodes["fake-1"].mute = True
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE


def test_silence_of_nodes_that_do_not_serve_is_no_cut(cluster: FakeMesh) -> None:
    """All are frozen inside: every ping is in vain, and nothing is proved."""
    fault = Partition("fake-1")
    injection = on(cluster, fault)
    for node in cluster.nodes.values():
        node.mute = True
    assert looks(cluster, fault, injection) is PARTIAL


def test_a_crashed_node_heals_beside_one_that_is_dead(cluster: FakeMesh) -> None:
    """A partition whose node died meanwhile is gone when nothing is imposed any more."""
    fault = Partition("fake-1")
    injection = on(cluster, fault)
    cluster.nodes["fake-1"].now = NodeState.DEAD
    fault.heal(cluster, injection)
    assert looks(cluster, fault, injection) is NONE
