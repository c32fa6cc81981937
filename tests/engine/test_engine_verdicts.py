"""Whole runs on a broker that is wrong on request: the verdict names exactly what is wrong."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scenes import Scene, Seen, answer, experiment, figure, journals, step

from chaos.cli.verify import judged
from chaos.spi import Outcome, Verdict
from chaos.verdict import Label

EVERY = 37
"""Every so-manieth message of a node is treated badly."""


@dataclass(frozen=True)
class Wrong:
    """A run with one kind of mischief; the cluster's disks are looked at before they are gone."""

    mischief: str = ""
    expect: dict[str, Any] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.mischief or "honest"

    def play(self, directory: Path) -> tuple[Seen, Counter[tuple[int, int]]]:
        """What was seen, and how often each message is in the journals, by producer and number."""
        whole = experiment(
            cluster={self.mischief: EVERY} if self.mischief else {},
            load={"producers": {"rate": "300/s", "settings": {"timeout_s": 2.0}}},
            expect=self.expect,
            stream=self.stream,
        )
        scene = Scene(str(self), whole, options=("--keep",))
        seen = scene.play(directory)
        return seen, Counter(identities(journals(seen.home)))


Read = Callable[[Any], tuple[Seen, Counter[tuple[int, int]]]]


def identities(stored: dict[int, list[bytes]]) -> Iterable[tuple[int, int]]:
    """Producer and sequence number of each body, by the layout that chaos.message documents."""
    for bodies in stored.values():
        for body in bodies:
            producer, _run, sequence = struct.unpack_from("<IQq", body, 4)
            yield producer, sequence


def named(seen: Seen, question: str, kind: str) -> set[tuple[int, int]]:
    """The messages that the evidence names."""
    rows = [row for row in seen.evidence if row.question == question and row.kind == kind]
    found = {(row.producer, row.sequence) for row in rows}
    assert len(found) == len(rows)
    return found


def sends(seen: Seen, outcome: Outcome) -> set[tuple[int, int]]:
    """The messages with this outcome."""
    rows = seen.rows("sends")
    return {(row["producer"], row["sequence"]) for row in rows if row["outcome"] == outcome}


def verdicts(seen: Seen) -> dict[str, Verdict]:
    """By question."""
    return {answer.name: answer.verdict for answer in seen.document.questions}


def shared(seen: Seen) -> set[tuple[int, int]]:
    """The positions at which two messages or more were acknowledged."""
    rows = [row for row in seen.rows("sends") if row["outcome"] == Outcome.OK]
    times = Counter((row["partition"], row["offset"]) for row in rows)
    return {position for position, count in times.items() if count > 1}


def told_twice(seen: Seen) -> set[tuple[int, int]]:
    """The same, as the evidence names them."""
    rows = [row for row in seen.evidence if row.kind == "acknowledged twice"]
    return {(row.partition, row.offset) for row in rows}


def only(seen: Seen, *questions: str) -> None:
    """It failed at these questions and no other, and says that a setting is to blame."""
    assert seen.status == 1, seen.output
    failed = {name for name, verdict in verdicts(seen).items() if verdict is Verdict.FAIL}
    assert failed == set(questions)
    assert {answer(seen.document, name).label for name in questions} == {Label.UNSAFE_SETTING}
    assert judged(seen.directory) == seen.document


@pytest.mark.parametrize("scene", [Wrong()], ids=str)
def test_an_honest_broker_passes(scene: Wrong, played: Read) -> None:
    """The figures are what the disks say; judged again it is the same verdict."""
    seen, stored = played(scene)
    assert seen.status == 0, seen.output
    document = seen.document
    assert document.verdict is Verdict.PASS, document.reasons
    acknowledged = sends(seen, Outcome.OK)
    assert stored == Counter(acknowledged)
    assert len(acknowledged) > 900
    assert figure(document, "loss", "acknowledged") == len(acknowledged)
    assert figure(document, "loss", "lost") == 0
    assert figure(document, "phantoms", "seen") == 2 * len(acknowledged)
    assert figure(document, "availability", "served") == 1.0
    tables = ["sends", "deliveries", "stored", "replicas"]
    assert document.records == dict.fromkeys(tables, len(acknowledged))
    assert not seen.evidence
    assert judged(seen.directory) == document


@pytest.mark.parametrize("scene", [Wrong("lose")], ids=str)
def test_each_lost_message_is_named(scene: Wrong, played: Read) -> None:
    """Acknowledged and on no disk: exactly these. That the next message takes the place of each is
    told as well."""
    seen, stored = played(scene)
    only(seen, "loss", "divergence")
    lost = sends(seen, Outcome.OK) - stored.keys()
    assert len(lost) > 20
    assert named(seen, "loss", "lost") == lost
    assert figure(seen.document, "loss", "lost") == len(lost)
    assert len(shared(seen)) > 20
    assert told_twice(seen) == shared(seen)


@pytest.mark.parametrize("scene", [Wrong("repeat", {"duplication": {"max_stored": 0}})], ids=str)
def test_each_message_stored_twice_is_named(scene: Wrong, played: Read) -> None:
    """Twice on a disk: exactly these, and no delivery is counted a second time."""
    seen, stored = played(scene)
    only(seen, "duplication")
    twice = {identity for identity, times in stored.items() if times == 2}
    assert len(twice) > 20
    assert named(seen, "duplication", "stored twice") == twice
    assert figure(seen.document, "duplication", "delivered twice") == 0


@pytest.mark.parametrize("scene", [Wrong("redeliver")], ids=str)
def test_flagged_redeliveries_are_told_and_not_judged(scene: Wrong, played: Read) -> None:
    """The broker keeps what at-least-once promises."""
    seen, stored = played(scene)
    assert seen.status == 0, seen.output
    flagged = sum(row["redelivered"] for row in seen.rows("deliveries"))
    assert flagged > 20
    assert figure(seen.document, "duplication", "redelivered, flagged by the broker") == flagged
    assert set(stored.values()) == {1}


@pytest.mark.parametrize("scene", [Wrong("invent")], ids=str)
def test_each_invented_message_is_named(scene: Wrong, played: Read) -> None:
    """On a disk and never sent: exactly these."""
    seen, stored = played(scene)
    only(seen, "phantoms")
    invented = stored.keys() - sends(seen, Outcome.OK)
    assert len(invented) > 20
    assert named(seen, "phantoms", "never sent") == invented


@pytest.mark.parametrize("scene", [Wrong("ghost")], ids=str)
def test_each_message_that_was_refused_and_stored_is_named(scene: Wrong, played: Read) -> None:
    """The broker said surely not, and there it is."""
    seen, stored = played(scene)
    only(seen, "phantoms")
    ghosts = sends(seen, Outcome.REFUSED)
    assert len(ghosts) > 20
    assert ghosts <= stored.keys()
    assert named(seen, "phantoms", "refused") == ghosts


@pytest.mark.parametrize("scene", [Wrong("refuse", {"availability": {"min_share": 0.5}})], ids=str)
def test_refused_messages_are_neither_lost_nor_served(scene: Wrong, played: Read) -> None:
    """A definite failure is an honest answer; it only counts as not served."""
    seen, stored = played(scene)
    assert seen.status == 0, seen.output
    refused = sends(seen, Outcome.REFUSED)
    assert len(refused) > 20
    assert not refused & stored.keys()
    assert not seen.evidence
    share = figure(seen.document, "availability", "served")
    assert share == pytest.approx(1 - 1 / EVERY, abs=0.005)


@pytest.mark.parametrize("scene", [Wrong("silent")], ids=str)
def test_a_send_without_an_answer_is_no_phantom_and_no_loss(scene: Wrong, played: Read) -> None:
    """Its fate is unknown; that it is there is right."""
    seen, stored = played(scene)
    assert seen.status == 0, seen.output
    unanswered = sends(seen, Outcome.INDETERMINATE)
    assert len(unanswered) > 20
    assert unanswered <= stored.keys()
    assert not seen.evidence


@pytest.mark.parametrize("scene", [Wrong("damage")], ids=str)
def test_each_damaged_message_is_named(scene: Wrong, played: Read) -> None:
    """It is a phantom where it lies, and lost, as nobody got what was sent."""
    seen, _ = played(scene)
    damaged = named(seen, "phantoms", "damaged")
    assert len(damaged) > 20
    assert damaged == named(seen, "loss", "lost")
    assert len(damaged) == figure(seen.document, "phantoms", "damaged")
    taken = Counter(row["partition"] for row in seen.rows("sends"))
    assert len(damaged) == sum(count // EVERY for count in taken.values())
    only(seen, "phantoms", "loss")


@pytest.mark.parametrize("scene", [Wrong("diverge", stream={"replicas": 2})], ids=str)
def test_each_position_that_differs_is_named(scene: Wrong, played: Read) -> None:
    """Every so-manieth message of each partition is another one on the follower: exactly these, and
    nobody who reads the leader gets a wrong one."""
    seen, stored = played(scene)
    only(seen, "divergence")
    assert stored == Counter(sends(seen, Outcome.OK))
    places = {(row["partition"], row["offset"]) for row in seen.rows("stored")}
    rows = [row for row in seen.evidence if row.question == "divergence"]
    assert {(row.partition, row.offset) for row in rows} == {
        (partition, offset) for partition, offset in places if (offset + 1) % EVERY == 0
    }
    assert {tuple(each.node for each in row.held) for row in rows} == {("memory-1", "memory-2")}
    assert figure(seen.document, "divergence", "compared") == len(places)


@pytest.mark.parametrize("scene", [Wrong("reorder")], ids=str)
def test_each_message_out_of_order_is_named(scene: Wrong, played: Read) -> None:
    """Behind a later one of its partition on the disk: exactly these, and none is lost or doubled.

    There is one producer, so the numbers of a partition should go up.
    """
    seen, stored = played(scene)
    only(seen, "ordering")
    assert stored == Counter(sends(seen, Outcome.OK))
    late = set()
    for bodies in journals(seen.home).values():
        highest = -1
        for producer, sequence in identities({0: bodies}):
            if sequence < highest:
                late.add((producer, sequence))
            highest = max(highest, sequence)
    assert len(late) > 20
    assert named(seen, "ordering", "stored out of order") == late
    assert named(seen, "ordering", "delivered out of order") == late


FORGETFUL = Scene(
    "forgetful",
    experiment(step("process.kill", "memory-1"), cluster={"durable": False}),
)


@pytest.mark.parametrize("scene", [FORGETFUL], ids=str)
def test_a_real_loss_by_a_real_fault_is_found(scene: Scene, played: Callable[[Any], Seen]) -> None:
    """A node that keeps nothing is killed: what it had acknowledged is lost if nobody had read it,
    else told as no longer stored; what came after is skipped where its group stands further on, and
    takes positions that were given before."""
    seen = played(scene)
    document = seen.document
    acknowledged = sends(seen, Outcome.OK)
    whole = {
        name: {(row["producer"], row["sequence"]) for row in seen.rows(name)}
        for name in ("deliveries", "stored")
    }
    lost = acknowledged - whole["deliveries"] - whole["stored"]
    vanished = (acknowledged & whole["deliveries"]) - whole["stored"]
    assert len(vanished) > 100
    assert named(seen, "loss", "lost") == lost
    skipped = acknowledged - whole["deliveries"] - lost
    assert named(seen, "loss", "skipped") == skipped
    assert figure(document, "loss", "delivered but no longer stored") == len(vanished)
    assert shared(seen)
    assert told_twice(seen) == shared(seen)
    only(seen, "divergence", *(["loss"] if lost or skipped else []))
