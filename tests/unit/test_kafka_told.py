"""What is believed when brokers tell different things."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chaos.spi import View
from chaos_adapters.brokers.kafka.told import Partition, Told, behind, view

NODES = ("kafka-1", "kafka-2", "kafka-3")


def tale(
    leader: str | None = "kafka-1",
    epoch: int = 0,
    in_sync: tuple[str, ...] = NODES,
    alive: tuple[str, ...] = NODES,
) -> Told:
    """What a broker says of partition 0; partition 1 never changes."""
    other = Partition("kafka-2", 4, NODES, NODES)
    return Told(frozenset(alive), {0: Partition(leader, epoch, NODES, in_sync), 1: other})


OLD = tale()
NEW = tale("kafka-2", 1, NODES[1:], NODES[1:])


def test_all_say_the_same() -> None:
    """Then it is so."""
    found = view(dict.fromkeys(NODES, OLD), View(), 3)
    assert found == View(
        "kafka-3", {0: "kafka-1", 1: "kafka-2"}, dict.fromkeys((0, 1), NODES),
        dict.fromkeys((0, 1), NODES), NODES, (),
    )  # fmt: skip


def test_an_isolated_leader_believes_in_itself_alone() -> None:
    """It knows the older epoch, so nothing that it says counts; it is named."""
    tales = {"kafka-1": OLD, "kafka-2": NEW, "kafka-3": NEW}
    assert behind(tales) == ["kafka-1"]
    found = view(tales, View(), None, behind(tales))
    assert found.leaders[0] == "kafka-2"
    assert found.in_sync[0] == found.alive == NODES[1:]
    assert found.dissenting == ("kafka-1",)


def test_one_that_knows_a_new_leader_is_enough() -> None:
    """Epochs only grow: two that do not know yet are late. And who is fenced is told with it."""
    found = view({"kafka-1": OLD, "kafka-2": NEW, "kafka-3": OLD}, View(), 1)
    assert found.leaders[0] == "kafka-2"
    assert found.alive == NODES[1:]


def test_a_broker_that_wakes_up_is_not_believed_about_partitions_that_kept_their_leader() -> None:
    """Older by one partition is older altogether."""
    stale = replace(OLD, partitions={**OLD.partitions, 1: Partition("kafka-2", 4, NODES, NODES)})
    shrunk = Partition("kafka-2", 4, NODES, NODES[1:])
    young = replace(NEW, partitions={**NEW.partitions, 1: shrunk})
    found = view({"kafka-1": stale, "kafka-3": young}, View(), None)
    assert found.in_sync[1] == NODES[1:]


def test_the_leader_speaks_for_its_in_sync_set() -> None:
    """The others hear of it later."""
    shrunk = tale(in_sync=NODES[:2])
    before = View(in_sync={0: NODES})
    found = view({"kafka-1": shrunk, "kafka-2": OLD, "kafka-3": OLD}, before, None)
    assert found.in_sync[0] == NODES[:2]


def test_without_the_leader_what_is_disputed_stays() -> None:
    """One of two is late, or wakes up: neither changes what was believed."""
    shrunk = tale(in_sync=NODES[:2], alive=NODES[:2])
    for last in (NODES, NODES[:2]):
        before = View(in_sync={0: last}, alive=last)
        found = view({"kafka-2": shrunk, "kafka-3": OLD}, before, None)
        assert found.in_sync[0] == found.alive == last
    found = view({"kafka-2": shrunk, "kafka-3": shrunk}, View(in_sync={0: NODES}), None)
    assert found.in_sync[0] == NODES[:2]


@given(
    epochs=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    silent=st.sets(st.sampled_from(NODES), max_size=2),
)
def test_the_believed_leader_never_goes_back(epochs: list[int], silent: set[str]) -> None:
    """Whoever answers: the leader is that of the highest epoch that anybody told."""
    leaders = {0: "kafka-1", 1: "kafka-2", 2: "kafka-3", 3: None}
    tales = {
        node: tale(leaders[epoch], epoch)
        for node, epoch in zip(NODES, epochs, strict=True)
        if node not in silent
    }
    highest = max(told.partitions[0].epoch for told in tales.values())
    assert view(tales, View(), None).leaders[0] == leaders[highest]
    assert set(behind(tales)) == {
        node for node, told in tales.items() if told.partitions[0].epoch < highest
    }
