"""From a run directory to its verdict."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.errors import HistoryError
from chaos.judge import judge
from chaos.spi import Anomaly, Batch, Caveat, Facts, Finding, Json, Outcome, Verdict, Verifier
from chaos.verdict import EVIDENCE, Answer, Document, Label, read
from chaos_verifiers.availability import Availability
from chaos_verifiers.duplication import Duplication
from chaos_verifiers.failover import Failover
from chaos_verifiers.loss import Loss
from chaos_verifiers.phantoms import Phantoms
from tests.histories import Copy, Fault, History, at, drop, find, right

ALL: Mapping[str, Verifier[Any]] = {
    "loss": Loss(), "duplication": Duplication(max_stored=0, max_delivered=0),
    "phantoms": Phantoms(), "failover": Failover(), "availability": Availability(),
}  # fmt: skip
ACKS_1 = Caveat("loss", "acks: 1", "the leader alone acknowledges")


def good() -> History:
    """A run in which all went well, with a fault that was proved."""
    history = right(100, partitions=2)
    history.faults = [Fault("f1", 0.4, 0.6)]
    return history


def answered(document: Document, name: str) -> Answer:
    """The answer to one question."""
    return next(answer for answer in document.questions if answer.name == name)


def event(kind: str, **fields: object) -> Json:
    """An event in the middle of the run."""
    return {"time_ns": at(0.5), "kind": kind, **fields}


def test_all_well_passes(tmp_path: Path) -> None:
    """All questions answered with PASS, preconditions met: PASS, exit code 0."""
    document = judge(good().write(tmp_path), ALL, [])
    assert (document.verdict, document.exit_code) == (Verdict.PASS, 0)
    assert document.preconditions == ()
    assert [answer.name for answer in document.questions] == list(ALL)
    assert document.records == {"sends": 100, "deliveries": 100, "stored": 100}
    assert (document.run, document.name) == ("1f", "by-hand")
    (fault,) = document.faults
    assert (fault.id, fault.proved, fault.healed, fault.on, fault.after) == (
        "f1", True, True, {"n": 1}, {"n": 0},
    )  # fmt: skip
    assert read(tmp_path) == document


def test_evidence(tmp_path: Path) -> None:
    """A lost message stands there with everything that the history has of it."""
    history = good()
    history.leaders = [(-1.0, {0: "a", 1: "b"}), (0.45, {0: "c", 1: "b"}), (0.9, {0: "d", 1: "b"})]
    send = find(history.sends, 50)
    send.key = 3
    drop(history.deliveries, 50)
    drop(history.stored, 50)
    document = judge(history.write(tmp_path), ALL, [])
    assert (document.verdict, document.exit_code) == (Verdict.FAIL, 1)
    (row,) = answered(document, "loss").evidence
    assert row.model_dump() == {
        "question": "loss", "kind": "lost", "producer": 0, "sequence": 50, "key": 3,
        "partition": 0, "offset": 25, "due_ns": at(0.5), "sent_ns": at(0.5), "done_ns": at(0.501),
        "outcome": "ok", "leader": "c", "faults": ("f1",), "received": (), "found": (), "held": (),
        "note": "",
    }  # fmt: skip
    lines = (tmp_path / EVIDENCE).read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [50]


def test_evidence_of_a_duplicate_shows_all_copies(tmp_path: Path) -> None:
    """All positions and deliveries of a doubled message are listed."""
    history = good()
    history.stored.append(Copy(7, 1, 90))
    history.deliveries.append(Copy(7, 1, 90, 0.9, client=1))
    document = judge(history.write(tmp_path), ALL, [])
    (row,) = answered(document, "duplication").evidence
    assert [(copy.partition, copy.offset) for copy in row.found] == [(1, 3), (1, 90)]
    assert [copy.consumer for copy in row.received] == ["consumer-0", "consumer-1"]


def test_evidence_of_a_foreign_message(tmp_path: Path) -> None:
    """A message that is not ours is found by its position."""
    history = good()
    history.stored.append(Copy(-1, 1, 90, 5.0, producer=-1, intact=False))
    document = judge(history.write(tmp_path), ALL, [])
    (row,) = answered(document, "phantoms").evidence
    assert (row.kind, row.partition, row.offset) == ("foreign", 1, 90)
    assert [(copy.offset, copy.intact) for copy in row.found] == [(90, False)]


def test_twenty_of_each_kind_are_shown(tmp_path: Path) -> None:
    """verdict.json shows the first rows of each kind, evidence.jsonl has all."""
    history = good()
    for sequence in range(30, 60):
        drop(history.deliveries, sequence)
        drop(history.stored, sequence)
    for sequence in range(60, 65):
        drop(history.deliveries, sequence)
    document = judge(history.write(tmp_path), ALL, [])
    loss = answered(document, "loss")
    assert loss.anomalies == {"lost": 30, "skipped": 5}
    assert len(loss.evidence) == 20 + 5
    assert len((tmp_path / EVIDENCE).read_text().splitlines()) == 35


def test_labels(tmp_path: Path) -> None:
    """A FAIL under a setting that promises nothing is labelled so, any other one is a broken
    promise; what passes has no label."""
    history = good()
    drop(history.deliveries, 50)
    drop(history.stored, 50)
    history.write(tmp_path)
    unsafe = answered(judge(tmp_path, ALL, [ACKS_1]), "loss")
    assert unsafe.label is Label.UNSAFE_SETTING
    assert [caveat.setting for caveat in unsafe.caveats] == ["acks: 1"]
    other = Caveat("duplication", "x", "y")
    document = judge(tmp_path, ALL, [other])
    assert answered(document, "loss").label is Label.BROKEN_PROMISE
    assert answered(document, "duplication").label is None


def test_liveness_has_a_label_only_where_settings_are_in_its_way(tmp_path: Path) -> None:
    """No setting promises how long a failover takes; some make it longer."""
    history = good()
    history.due = {0: 200}
    verifiers = {"availability": Availability(min_share=0.9)}
    document = judge(history.write(tmp_path), verifiers, [])
    assert document.verdict is Verdict.FAIL
    assert answered(document, "availability").label is None
    slow = Caveat("availability", "x", "y")
    assert answered(judge(tmp_path, verifiers, [slow]), "availability").label == "unsafe setting"
    passed = {"availability": Availability(min_share=0.1)}
    assert answered(judge(tmp_path, passed, [slow]), "availability").label is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"faults": [Fault("f1", 0.4, 0.6, proved=False)]}, "not measured to be in effect"),
        ({"faults": [Fault("f1", 0.4, None)]}, "not measured to be gone"),
        ({"faults": [Fault("f1", -1.0, 0.6)]}, "No message was acknowledged before the first"),
        ({"final": False}, "no orderly end"),
        ({"more_events": [event("interrupted", why="Ctrl-C")]}, "interrupted: Ctrl-C"),
        ({"more_events": [event("error", why="no disk")]}, "no disk"),
        (
            {"more_events": [event("client", client="producer-0", what="error", why="boom")]},
            "producer-0: boom",
        ),
        (
            {"more_events": [
                event("fault", id="f2", fault="x", nodes=["n"], what="planned"),
                event("fault", id="f2", fault="x", what="skipped", why="load over"),
            ]},
            "f2 (x on n) was not injected: load over",
        ),
    ],
)  # fmt: skip
def test_preconditions(tmp_path: Path, change: Json, told: str) -> None:
    """Where a precondition does not hold the verdict is UNKNOWN, with a sentence that says why."""
    history = good()
    for name, value in change.items():
        setattr(history, name, value)
    document = judge(history.write(tmp_path), {"loss": Loss()}, [])
    assert document.verdict is Verdict.UNKNOWN
    assert any(told in sentence for sentence in document.preconditions)
    assert set(document.preconditions) <= set(document.reasons)


def test_warm_up_is_no_baseline(tmp_path: Path) -> None:
    """What was acknowledged before the load began does not make a baseline."""
    history = good()
    history.load_s = (0.39, 1.0)
    history.sends = [send for send in history.sends if not 0.38 < send.due_s < 0.5]
    document = judge(history.write(tmp_path), {"loss": Loss()}, [])
    assert document.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("early", "held"), [(29, False), (31, True)])
def test_a_cluster_that_hardly_works_is_no_baseline(tmp_path: Path, early: int, held: bool) -> None:
    """A tenth of what was due until one second before the first fault has to be acknowledged by
    then: here of 300 messages."""
    history = right(600)
    history.faults = [Fault("f1", 4.0, 5.0)]
    history.sends = [send for send in history.sends if not early <= send.sequence < 400]
    history.due = {0: 600}
    document = judge(history.write(tmp_path), {"loss": Loss()}, [])
    assert (document.verdict is Verdict.PASS) is held
    assert any("of some 300 messages due" in told for told in document.reasons) is not held


def test_exit_codes(tmp_path: Path) -> None:
    """A heal that failed comes before an interruption, which comes before the verdict."""
    history = good()
    history.more_events = [event("interrupted", why="Ctrl-C")]
    assert judge(history.write(tmp_path / "a"), ALL, []).exit_code == 130
    failed = event("fault", id="f1", fault="process.kill", what="failed", why="still there")
    history.faults = [Fault("f1", 0.4, None)]
    history.more_events += [event("fault", id="f1", fault="process.kill", what="heal"), failed]
    document = judge(history.write(tmp_path / "b"), ALL, [])
    assert (document.healed, document.exit_code) == (False, 4)


def test_fail_stays_fail_when_interrupted(tmp_path: Path) -> None:
    """What is proved lost is lost, however the run ended."""
    history = good()
    history.final = False
    history.stored = []
    drop(history.deliveries, 20)
    assert judge(history.write(tmp_path), ALL, []).verdict is Verdict.FAIL


@dataclass(frozen=True)
class Crashing:
    """A verifier that raises at one place."""

    where: str
    question: ClassVar[str] = "Does it crash?"
    tables: ClassVar[frozenset[str]] = frozenset({"sends"})

    def _at(self, where: str) -> None:
        if where == self.where:
            raise KeyError("oops")

    def start(self) -> int:
        self._at("start")
        return 0

    def fold(self, state: int, batch: Batch) -> int:
        self._at("fold")
        return state + len(batch)

    def merge(self, a: int, b: int) -> int:
        return a + b

    def finish(self, state: int, facts: Facts) -> Finding:
        self._at("finish")
        return Finding(Verdict.PASS, f"{state}")


@pytest.mark.parametrize("where", ["start", "fold", "finish"])
def test_crashed_verifier_is_unknown(tmp_path: Path, where: str) -> None:
    """A verifier that crashes gives UNKNOWN with its error; the others go on."""
    verifiers: Mapping[str, Verifier[Any]] = {"bad": Crashing(where), "loss": Loss()}
    document = judge(good().write(tmp_path), verifiers, [])
    assert document.verdict is Verdict.UNKNOWN
    assert "oops" in answered(document, "bad").why
    assert answered(document, "loss").verdict is Verdict.PASS


def test_verifier_sees_only_its_tables(tmp_path: Path) -> None:
    """A verifier is shown the tables that it asks for, all rows of them."""
    document = judge(good().write(tmp_path), {"sends": Crashing("nowhere")}, [])
    assert answered(document, "sends").why == "100"


def test_no_run(tmp_path: Path) -> None:
    """A directory that is no run is an error, not a verdict."""
    with pytest.raises(HistoryError):
        judge(tmp_path, ALL, [])


def test_unfound_anomaly(tmp_path: Path) -> None:
    """A verifier may name a message of which nothing is on record; it is listed all the same."""

    class Naming(Crashing):
        def finish(self, state: int, facts: Facts) -> Finding:
            return Finding(Verdict.FAIL, "x", anomalies=(Anomaly("odd", 9, 9, note="why"),))

    document = judge(good().write(tmp_path), {"odd": Naming("nowhere")}, [])
    (row,) = answered(document, "odd").evidence
    assert (row.partition, row.outcome, row.leader, row.note) == (None, None, None, "why")


def test_what_is_about_a_partition_is_about_none_of_its_records(tmp_path: Path) -> None:
    """Of queues all records are without an offset; none of them is the evidence of such a row."""

    class Naming(Crashing):
        def finish(self, state: int, facts: Facts) -> Finding:
            return Finding(Verdict.FAIL, "x", anomalies=(Anomaly("odd", -1, -1, 0, note="why"),))

    history = good()
    for copy in history.deliveries:
        copy.offset = -1
    document = judge(history.write(tmp_path), {"odd": Naming("nowhere")}, [])
    (row,) = answered(document, "odd").evidence
    assert (row.partition, row.offset, row.received, row.key, row.note) == (
        0,
        None,
        (),
        None,
        "why",
    )


@settings(deadline=None, max_examples=25)
@given(
    change=st.sampled_from(["lose", "skip", "store twice", "deliver twice", "refuse", "damage"]),
    data=st.data(),
)
def test_one_change_is_named_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, change: str, data: st.DataObject
) -> None:
    """Change one operation of a right history: the verdict names exactly that message."""
    history = right(data.draw(st.integers(4, 12)), partitions=1, producers=2)
    sequence = data.draw(st.integers(0, len(history.sends) // 2 - 2))
    producer = data.draw(st.integers(0, 1))
    if change in ("lose", "skip"):
        drop(history.deliveries, sequence, producer)
    if change == "lose":
        drop(history.stored, sequence, producer)
    if change == "store twice":
        history.stored.append(Copy(sequence, 0, 100, 9.0, producer))
    if change == "deliver twice":
        offset = find(history.deliveries, sequence, producer).offset
        history.deliveries.append(Copy(sequence, 0, offset, 9.0, producer))
    if change == "refuse":
        find(history.sends, sequence, producer).outcome = Outcome.REFUSED
    if change == "damage":
        find(history.deliveries, sequence, producer).intact = False
    document = judge(history.write(tmp_path_factory.mktemp("run")), ALL, [])
    assert document.verdict is Verdict.FAIL
    rows = [row for answer in document.questions for row in answer.evidence]
    assert {(row.producer, row.sequence) for row in rows} == {(producer, sequence)}
    kinds = {
        "lose": {"lost"}, "skip": {"skipped"}, "store twice": {"stored twice"},
        "deliver twice": {"delivered twice"}, "refuse": {"refused"},
        "damage": {"damaged", "skipped"},
    }  # fmt: skip
    assert {row.kind for row in rows} == kinds[change]


def test_what_is_made_of_a_batch_once_keeps_nothing_in_memory() -> None:
    """All rows of a batch are the batch itself: a cycle would hold its columns until the collector
    comes by, which doubled the memory of a large history."""
    made: list[int] = []

    def used() -> weakref.ref[Batch]:
        batch = Batch("stored", "reader-0", -1, {"producer": np.zeros(3, np.int32)})

        def itself() -> Batch:
            made.append(1)
            return batch

        assert batch.once("all", itself) is batch
        assert batch.once("all", itself) is batch
        return weakref.ref(batch)

    gc.disable()
    try:
        assert used()() is None
    finally:
        gc.enable()
    assert made == [1]
