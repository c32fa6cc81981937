"""verdict.json: what is written, what is read, what its schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaos.errors import HistoryError
from chaos.spi import Verdict
from chaos.verdict import (
    Answer,
    CaveatRow,
    Document,
    Evidence,
    FaultRow,
    FigureRow,
    Label,
    Position,
    Received,
    read,
    schema,
    worst,
    write,
)

EVIDENCE = Evidence(
    question="loss", kind="lost", producer=0, sequence=7, partition=1, offset=5, leader="kafka-1",
    outcome="ok", faults=("f1",), found=(Position(partition=1, offset=9, intact=True),),
    received=(Received(consumer="consumer-0", partition=1, offset=9, received_ns=3,
                       redelivered=False, intact=True),),
)  # fmt: skip
ANSWER = Answer(
    name="loss", question="Were acknowledged messages lost?", verdict=Verdict.FAIL,
    why="1 of 10 acknowledged messages was lost.",
    figures=(FigureRow(name="lost", value=1, unit="messages", threshold="<= 0", ok=False),
             FigureRow(name="unread tail", value=None, unit="messages")),
    label=Label.UNSAFE_SETTING, caveats=(CaveatRow(setting="acks: 1", why="the leader alone"),),
    details=({"client": "a", "gap_s": 1.5},), anomalies={"lost": 21}, evidence=(EVIDENCE,),
)  # fmt: skip
FAULT = FaultRow(
    id="f1", fault="process.kill", nodes=("kafka-1",), attempt_ns=1, injected_ns=2, effect_ns=3,
    heal_ns=4, gone_ns=5, proved=True, healed=True, on={"gone": 1}, after={"gone": 0}, why="",
)  # fmt: skip


def document(**changes: Any) -> Document:
    """A whole verdict."""
    fields: dict[str, Any] = {
        "run": "1f", "name": "broker-down", "verdict": Verdict.FAIL, "reasons": ("loss: ...",),
        "questions": (ANSWER,), "preconditions": (), "faults": (FAULT,), "healed": True,
        "interrupted": False, "started_ns": 1, "load_started_ns": 2, "load_ended_ns": 9,
        "records": {"sends": 10},
    }  # fmt: skip
    return Document(**{**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    """What was written is what is read."""
    assert write(tmp_path, document()).name == "verdict.json"
    assert read(tmp_path) == document()


def test_exit_code_is_on_record(tmp_path: Path) -> None:
    """Whoever reads the file need not know the rules."""
    write(tmp_path, document())
    assert json.loads((tmp_path / "verdict.json").read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"verdict": Verdict.PASS}, 0),
        ({"verdict": Verdict.FAIL}, 1),
        ({"verdict": Verdict.UNKNOWN}, 3),
        ({"verdict": Verdict.FAIL, "interrupted": True}, 130),
        ({"verdict": Verdict.PASS, "interrupted": True, "healed": False}, 4),
    ],
)
def test_exit_codes(changes: dict[str, Any], code: int) -> None:
    """Heal incomplete, interrupted, verdict: in this order."""
    assert document(**changes).exit_code == code


def test_worst() -> None:
    """FAIL is worse than UNKNOWN is worse than PASS."""
    assert worst([Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL]) is Verdict.FAIL
    assert worst([Verdict.UNKNOWN, Verdict.PASS]) is Verdict.UNKNOWN
    assert worst([]) is Verdict.PASS


def test_schema_describes_what_is_written() -> None:
    """Every field that is written is in the schema, at every level, and described."""
    whole = schema()
    written = json.loads(document().model_dump_json())
    models = {"questions": "Answer", "faults": "FaultRow"}
    assert set(whole["properties"]) == set(written)
    for name, model in models.items():
        assert set(whole["$defs"][model]["properties"]) == set(written[name][0])
    evidence = written["questions"][0]["evidence"][0]
    assert set(whole["$defs"]["Evidence"]["properties"]) == set(evidence)
    assert all(model.get("description") for model in whole["$defs"].values())


def test_unknown_fields_are_refused() -> None:
    """A typing error does not get into a verdict."""
    with pytest.raises(ValidationError):
        document(verdikt="PASS")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "1"}'])
def test_unreadable(tmp_path: Path, text: str) -> None:
    """What is no verdict is told with its path."""
    (tmp_path / "verdict.json").write_text(text)
    with pytest.raises(HistoryError, match=r"verdict\.json"):
        read(tmp_path)


def test_missing(tmp_path: Path) -> None:
    """A run without a verdict is told."""
    with pytest.raises(HistoryError):
        read(tmp_path)
