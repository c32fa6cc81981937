"""The parts of the memory broker that need no process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import message
from chaos.spi import View
from chaos_adapters.brokers.memory import Memory
from chaos_adapters.brokers.memory.group import Group
from chaos_adapters.brokers.memory.mischief import (
    FAR_BEYOND,
    REFUSED,
    Mischief,
    damaged,
    invented,
)
from chaos_adapters.brokers.memory.store import Store, UnknownStreamError
from chaos_adapters.brokers.memory.wire import LARGEST, Frames, Head, pack, split


def body(sequence: int = 5, size: int = 100) -> bytes:
    return message.encode(7, 1, sequence, np.array([11]), 12, size)[0]


# -------------------------------------------------------------------------------------- frames


@settings(deadline=None)
@given(st.lists(st.tuples(st.dictionaries(st.text(), st.integers()), st.binary())), st.data())
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    frames: list[tuple[Head, bytes]], data: st.DataObject
) -> None:
    """What a reader gets does not depend on how the bytes arrived."""
    raw = b"".join(pack(head, blob) for head, blob in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    reader, found = Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[start:end])
    assert found == frames
    assert reader.unread == 0


def test_what_cannot_be_a_frame_is_refused_before_it_is_waited_for() -> None:
    """A client that speaks another protocol is not buffered for ever."""
    with pytest.raises(ValueError, match="frame of"):
        list(Frames().feed((LARGEST + 1).to_bytes(4, "little") + bytes(4)))


def test_a_blob_is_split_by_lengths_that_fit_it_only() -> None:
    """A batch whose lengths do not add up is an error, not a wrong cut."""
    assert split(b"abbccc", [1, 2, 3, 0]) == [b"a", b"bb", b"ccc", b""]
    with pytest.raises(ValueError, match="5 bytes in a blob of 6"):
        split(b"abbccc", [2, 3])


# ------------------------------------------------------------------------------------- mischief


def test_an_invented_message_is_right_but_was_never_sent() -> None:
    """It passes for a message of the run, with a number that no producer used."""
    found = message.decode(7, [invented(body(5))])
    assert found.intact.tolist() == [True]
    assert (found.producer[0], found.sequence[0]) == (1, 5 + FAR_BEYOND)


@pytest.mark.parametrize("size", [message.SMALLEST, 100])
def test_a_damaged_message_shows_whose_it_is_and_that_it_is_wrong(size: int) -> None:
    """Exactly its content is wrong, its header can be read."""
    found = message.decode(7, [damaged(body(5, size))])
    assert (found.ours.tolist(), found.intact.tolist()) == ([True], [False])
    assert (found.producer[0], found.sequence[0]) == (1, 5)


@pytest.mark.parametrize("foreign", [b"", b"x", b"mqc1 but short", b"hello" * 20])
def test_foreign_messages_can_be_damaged_and_invented_too(foreign: bytes) -> None:
    """Whatever is sent, what comes of it differs."""
    assert damaged(foreign) != foreign
    assert invented(foreign) != foreign


@pytest.mark.parametrize(
    ("mischief", "stored", "answer"),
    [
        (Mischief(), ["as sent"], 40),
        (Mischief(refuse=3), [], REFUSED),
        (Mischief(ghost=3), ["as sent"], REFUSED),
        (Mischief(lose=3), [], 40),
        (Mischief(silent=3), ["as sent"], None),
        (Mischief(repeat=3), ["as sent", "as sent"], 40),
        (Mischief(invent=3), ["as sent", "invented"], 40),
        (Mischief(damage=3), ["damaged"], 40),
        (Mischief(repeat=3, invent=3), ["as sent", "as sent", "invented"], 40),
        (Mischief(refuse=3, ghost=3, lose=3, silent=3), [], REFUSED),
        (Mischief(lose=3, silent=3), [], 40),
    ],
    ids=str,
)
def test_every_third_message_is_treated_as_asked_and_no_other(
    mischief: Mischief, stored: list[str], answer: int | None
) -> None:
    """Which messages go wrong, and how, is settled by their number alone."""
    sent = body()
    forms = {"as sent": sent, "damaged": damaged(sent), "invented": invented(sent)}
    for number in range(1, 10):
        found = mischief.intake(number, sent, 40)
        assert found == (
            ([forms[name] for name in stored], answer) if number % 3 == 0 else ([sent], 40)
        )


def test_caveats_name_all_mischief_that_was_asked_for() -> None:
    """A report can say which setting made the broker go wrong, at each question that it spoils."""
    assert list(Memory().caveats(Memory().stream_type(), {}, {})) == []
    broker = Memory(lose=7, durable=False)
    for question in ("loss", "divergence"):
        found = broker.caveats(broker.stream_type(), {}, {})
        settings = [caveat.setting for caveat in found if caveat.question == question]
        assert settings == ["lose=7", "durable=false"]
    names = Mischief.__dataclass_fields__
    every = Memory(**dict.fromkeys(names, 5))
    settings = [caveat.setting for caveat in every.caveats(every.stream_type(), {}, {})]
    assert set(settings) == {f"{name}=5" for name in names}


@pytest.mark.parametrize("wrong", [{"nodes": 0}, {"lose": -1}, {"session_timeout": 0.0}], ids=str)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    """A wrong field is told by its name before anything starts."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Memory(**wrong)


def test_roles_are_found_in_the_view() -> None:
    """A leader that is down is nobody."""
    view = View(controller="memory-2", leaders={0: "memory-1", 1: None})
    broker = Memory()
    assert broker.locate("leader", 0, view) == ("memory-1",)
    assert broker.locate("leader", 1, view) == ()
    assert broker.locate("controller", None, view) == ("memory-2",)


# --------------------------------------------------------------------------------------- groups

LOGS = {0: [b"a"] * 10, 1: [b"b"] * 10}


def take(group: Group, member: str, most: int = 100) -> list[tuple[int, int, bool]]:
    return group.take(member, LOGS, most, 1 << 20)


def test_a_single_member_gets_everything_once_and_in_order() -> None:
    """Each message once, by partition in the order of offsets, and not marked."""
    group = Group(LOGS)
    group.join("a")
    found = take(group, "a", 7) + take(group, "a") + take(group, "a")
    assert found == [(partition, offset, False) for partition in LOGS for offset in range(10)]


def test_a_newcomer_gets_a_partition_only_when_the_owner_has_settled_what_it_got() -> None:
    """Nothing is delivered twice because somebody joined."""
    group = Group(LOGS)
    group.join("a")
    take(group, "a", 12)
    group.join("b")
    assert take(group, "b") == []
    assert take(group, "a", 1) == []  # of partition 0 nothing is left; 1 is about to move
    group.settle([(0, 10), (1, 1)])
    assert take(group, "b") == []
    group.settle([(1, 2)])
    assert take(group, "b") == [(1, offset, False) for offset in range(2, 10)]


def test_what_a_member_left_unsettled_goes_to_the_others_marked() -> None:
    """At least once: nothing is skipped, and what may come twice says so."""
    group = Group(LOGS)
    group.join("a")
    take(group, "a", 4)
    group.settle([(0, 2)])
    group.leave("a")
    group.join("b")
    assert take(group, "b", 4) == [(0, 2, True), (0, 3, True), (0, 4, False), (0, 5, False)]


def test_a_member_that_joins_again_starts_from_what_it_settled() -> None:
    """Its first connection broke with deliveries on it."""
    group = Group(LOGS)
    group.join("a")
    take(group, "a", 4)
    group.join("a")
    assert take(group, "a", 5)[0] == (0, 0, True)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["join", "leave", "take", "settle"]).flatmap(
    lambda what: st.tuples(st.just(what), st.sampled_from("abc"), st.integers(1, 7)))))  # fmt: skip
def test_no_two_members_hold_the_same_message_and_none_is_skipped(
    steps: list[tuple[str, str, int]],
) -> None:
    """In every history of a group, each partition is delivered gapless from where it is settled."""
    group = Group(LOGS)
    held: dict[str, dict[int, list[int]]] = {}
    for what, member, most in steps:
        if what == "join":
            held.pop(member, None)
            group.join(member)
            held[member] = {0: [], 1: []}
        elif what == "leave":
            held.pop(member, None)
            group.leave(member)
        elif what == "take":
            for partition, offset, _ in take(group, member, most):
                held[member][partition].append(offset)
        elif member in held:
            group.settle([(p, offsets[-1] + 1) for p, offsets in held[member].items() if offsets])
            held[member] = {0: [], 1: []}
        for partition, settled in group.settled.items():
            open_now = [offsets[partition] for offsets in held.values() if offsets[partition]]
            assert len(open_now) <= 1
            assert all(each == list(range(settled, each[-1] + 1)) for each in open_now)


# -------------------------------------------------------------------------------------- journal


def test_a_journal_cut_anywhere_gives_back_whole_batches(tmp_path: Path) -> None:
    """However a writer was killed, what it had acknowledged is there, and nothing torn."""
    whole = Store(tmp_path / "whole", durable=True)
    sizes = []
    for step in (
        lambda: whole.create("s", [0, 2]),
        lambda: whole.append("s", 0, [b"one", b"two"]),
        lambda: whole.settle("s", "g", [(0, 1)]),
        lambda: whole.append("s", 2, [b"three"]),
    ):
        step()
        sizes.append((tmp_path / "whole").stat().st_size)
    raw = (tmp_path / "whole").read_bytes()
    for cut in range(len(raw) + 1):
        path = tmp_path / "cut"
        path.write_bytes(raw[:cut])
        steps = sum(size <= cut for size in sizes)
        found = Store(path, durable=True)
        assert path.stat().st_size == ([0, *sizes])[steps]
        if steps:
            logs = {0: [b"one", b"two"] if steps >= 2 else [], 2: [b"three"] if steps == 4 else []}
            assert found.stream("s").logs == logs
            assert found.stream("s").group("g").settled == {0: int(steps >= 3), 2: 0}
            found.append("s", 0, [b"more"])
            assert Store(path, durable=True).stream("s").logs[0] == [*logs[0], b"more"]


def test_a_restarted_node_marks_what_it_may_have_delivered_before(tmp_path: Path) -> None:
    """It cannot know how far it had got, so it says so instead of guessing."""
    store = Store(tmp_path / "journal", durable=True)
    store.create("s", [0])
    store.append("s", 0, [b"a", b"b"])
    store.settle("s", "g", [(0, 1)])
    again = Store(tmp_path / "journal", durable=True)
    again.append("s", 0, [b"c"])
    group = again.stream("s").group("g")
    group.join("m")
    assert group.take("m", again.stream("s").logs, 9, 99) == [(0, 1, True), (0, 2, False)]


def test_without_durable_a_restart_empties_the_streams(tmp_path: Path) -> None:
    """This is the unsafe setting: streams and nothing in them."""
    store = Store(tmp_path / "journal", durable=False)
    store.create("s", [0])
    store.append("s", 0, [b"a"])
    store.settle("s", "g", [(0, 1)])
    again = Store(tmp_path / "journal", durable=False)
    assert again.stream("s").logs == {0: []}
    assert again.stream("s").group("g").settled == {0: 0}


def test_what_is_dropped_does_not_come_back(tmp_path: Path) -> None:
    """A reset holds across a restart."""
    store = Store(tmp_path / "journal", durable=True)
    store.create("s", [0])
    store.append("s", 0, [b"a"])
    store.drop()
    for found in (store, Store(tmp_path / "journal", durable=True)):
        with pytest.raises(UnknownStreamError):
            found.stream("s")


def test_a_node_imports_nothing_but_the_standard_library() -> None:
    """What makes a cluster of three start in a fraction of a second."""
    look = (
        "import sys, chaos_adapters.brokers.memory.server;"
        "print({name.split('.')[0] for name in sys.modules} & {'chaos', 'numpy', 'pydantic'})"
    )
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
