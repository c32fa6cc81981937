"""The verdict as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from printed import assert_plain, text, widest, words

from chaos.spi import Json, Verdict
from chaos.ui.summary import overview, summary, without_verdict
from chaos.verdict import Answer, CaveatRow, Document, Evidence, FaultRow, FigureRow, Label

START_NS = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


LOST = Evidence(
    question="loss", kind="lost", producer=1, sequence=4711, key=12, partition=0, offset=1500,
    done_ns=START_NS + 9_500_000_000, outcome="ok", leader="b-1", faults=("1-process.kill",),
)  # fmt: skip
FAILED = Answer(
    name="loss",
    question="Were acknowledged messages lost?",
    verdict=Verdict.FAIL,
    why="9 of 20,000 acknowledged messages were lost.",
    figures=(
        FigureRow(name="lost", value=9, unit="messages", threshold="<= 0", ok=False),
        FigureRow(name="skipped", value=0, unit="messages", threshold="<= 0", ok=True),
        FigureRow(name="stored", value=None, unit="messages"),
    ),
    label=Label.UNSAFE_SETTING,
    caveats=(CaveatRow(setting="acks=1", why="only the leader has it"),),
    anomalies={"lost": 9},
    evidence=(LOST,) * 9,
)
UNCLEAR = Answer(
    name="failover", question="How long?", verdict=Verdict.UNKNOWN, why="Nothing before the fault."
)
FINE = Answer(
    name="phantoms",
    question="Did messages appear?",
    verdict=Verdict.PASS,
    why="All records are of messages that were sent.",
    details=(
        {"client": "producer-0", "first_after_ns": START_NS + 10**9, "gap_s": 1.5, "what": "x"},
        {"client": "producer-1", "first_after_ns": None, "gap_s": 0.5, "what": "x"},
    ),
)
KILL = FaultRow(
    id="1-process.kill", fault="process.kill", nodes=("b-1",), attempt_ns=START_NS + 8 * 10**9,
    injected_ns=START_NS + 8_100_000_000, effect_ns=START_NS + 8_200_000_000,
    heal_ns=START_NS + 20 * 10**9, gone_ns=START_NS + 21_500_000_000, proved=True, healed=True,
    on={"b-1": "dead"}, after={"b-1": "running"}, why="",
)  # fmt: skip


def document(verdict: Verdict, *answers: Answer, faults: Sequence[FaultRow] = (KILL,)) -> Document:
    return Document(
        run="ab", name="drill", verdict=verdict, reasons=(), questions=answers,
        preconditions=("A client failed: \x1b[1mproducer-0.",) if verdict == "UNKNOWN" else (),
        faults=tuple(faults), healed=all(each.healed for each in faults), interrupted=False,
        started_ns=START_NS, load_started_ns=START_NS, load_ended_ns=START_NS, records={},
    )  # fmt: skip


def test_a_fail_shows_its_answer_label_figures_and_evidence() -> None:
    """In words, not only in colours."""
    shown = words(summary(document(Verdict.FAIL, FAILED, FINE), Path("runs/x")))
    for part in (
        "FAIL drill: an expectation was not met",
        "FAIL Were acknowledged messages lost? 9 of 20,000 acknowledged messages were lost.",
        "unsafe setting: acks=1: only the leader has it",
        "lost 9 messages <= 0 not met skipped 0 messages <= 0 ok stored not known",
        "Evidence: 9 lost; the first 5",
        "lost: producer 1 number 4,711, key 12, partition 0 offset 1,500, acknowledged at 9.5 s,",
        "at 9.5 s, leader b-1, during 1-process.kill, never delivered",
        "8.0 s process.kill on b-1 on after 0.200 s, proved: b-1 dead gone after 13.50 s,",
        "gone after 13.50 s, proved: b-1 running",
        "chaos verify runs/x",
    ):
        assert part in shown
    assert shown.count("number 4,711") == 5
    assert shown.endswith("FAIL drill")


@pytest.mark.parametrize(("question", "called"), [
    ("divergence", "acknowledged twice: a position, partition 0 offset 7"),
    ("phantoms", "acknowledged twice: not ours, partition 0 offset 7"),
])  # fmt: skip
def test_what_no_producer_sent_is_called_what_it_is(question: str, called: str) -> None:
    """A position where two messages of ours were acknowledged is none that is not ours."""
    row = Evidence(question=question, kind="acknowledged twice", producer=-1, sequence=-1,
                   partition=0, offset=7)  # fmt: skip
    answer = FAILED.model_copy(update={"name": question, "evidence": (row,)})
    assert called in words(summary(document(Verdict.FAIL, answer), Path("runs/x")))


def test_a_broken_promise_is_told_from_an_unsafe_setting() -> None:
    """Where no setting explains a FAIL."""
    broken = FAILED.model_copy(update={"label": Label.BROKEN_PROMISE, "caveats": ()})
    shown = words(summary(document(Verdict.FAIL, broken), Path("x")))
    assert "broken promise: these settings should not allow it" in shown


def test_an_unknown_shows_what_is_lacking() -> None:
    """The doubts of the run and its own errors."""
    shown = words(summary(document(Verdict.UNKNOWN, UNCLEAR), Path("x"), ("no more disk",)))
    for part in (
        "UNKNOWN drill: this run cannot tell",
        "What this verdict lacks - A client failed: producer-0.",
        "What went wrong with the run - no more disk",
    ):
        assert part in shown


def test_the_gravest_answer_comes_first() -> None:
    """What people look for is on top."""
    shown = text(summary(document(Verdict.FAIL, FINE, UNCLEAR, FAILED), Path("x")))
    places = [shown.index(answer.question) for answer in (FAILED, UNCLEAR, FINE)]
    assert places == sorted(places)


def test_details_have_units_and_say_once_what_is_always_the_same() -> None:
    """Times count from the start of the run."""
    shown = words(summary(document(Verdict.PASS, FINE), Path("x")))
    assert "what x client first after gap producer-0 1.0 s 1.50 s producer-1 never 0.500 s" in shown


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"proved": False, "effect_ns": None, "why": "late"}, "effect NOT proved: late"),
        ({"healed": False, "gone_ns": None, "why": "no daemon"}, "NOT HEALED: no daemon"),
        ({"attempt_ns": None, "why": "the run was stopped"}, "not injected: the run was stopped"),
    ],
)
def test_a_fault_without_proof_says_so(changes: Json, told: str) -> None:
    """Each way in which one can lack it."""
    row = KILL.model_copy(update=changes)
    shown = words(summary(document(Verdict.UNKNOWN, FINE, faults=[row]), Path("x")))
    assert told in shown
    assert ("something is NOT HEALED: see chaos heal" in shown) is not row.healed


def test_what_is_not_healed_after_the_verdict_is_told_as_well() -> None:
    """The exit code 4 of the run knows of it, the verdict does not."""
    shown = words(summary(document(Verdict.PASS, FINE), Path("x"), ("no daemon",), 4))
    assert "PASS drill: something is NOT HEALED: see chaos heal;" in shown


def test_the_summary_fits_into_80_columns() -> None:
    """On a terminal and without one, where it has no control characters."""
    whole = summary(document(Verdict.FAIL, FAILED, UNCLEAR, FINE), Path("runs") / ("x" * 90))
    assert widest(whole) <= 80
    assert_plain(text(whole))
    assert_plain(text(without_verdict(Path("x"), ["\x1b[1mbad\x07"])))
    assert "UNKNOWN no verdict could be written" in words(without_verdict(Path("x"), []))


def test_several_runs_end_with_an_overview() -> None:
    """One row each, also for what was not run."""
    shown = text(overview([("PASS", "a", "runs/a"), ("not run", "b", "-")]))
    assert [line.split() for line in shown.splitlines()[-3:-1]] == [
        ["PASS", "a", "runs/a"],
        ["not", "run", "b", "-"],
    ]
