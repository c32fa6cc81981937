"""`verdict.json`: what a run showed, for people and for machines. `schema` gives its JSON Schema.

Times are ns on the run's clock, `*_s` are seconds. A verdict is PASS only when every question is
answered with PASS and every precondition holds:

    FAIL      some question was answered with FAIL, whatever else is unknown
    UNKNOWN   else, when a question could not be answered or a precondition does not hold
    PASS      else

Exit codes, the first that fits (2 and 70 come from elsewhere, see `chaos.errors`):

    4   a fault could not be healed: something of it may still be in force
    130 the run was interrupted (and healed)
    1 FAIL, 3 UNKNOWN, 0 PASS
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field

from chaos.errors import HistoryError
from chaos.files import write_whole
from chaos.spi import Json, Verdict

FILE = "verdict.json"
EVIDENCE = "evidence.jsonl"
EVIDENCE_SHOWN = 20
"""How many rows of evidence of each kind stand in verdict.json; all are in evidence.jsonl."""

_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 3}
_HEAL_INCOMPLETE = 4
_INTERRUPTED = 130


class Label(StrEnum):
    """Whether what went wrong is what the settings allow."""

    BROKEN_PROMISE = "broken promise"
    UNSAFE_SETTING = "unsafe setting"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FigureRow(_Record):
    """One measured number; `ok` is null where no threshold was set."""

    name: str
    value: float | None
    unit: str
    threshold: str = ""
    ok: bool | None = None


class CaveatRow(_Record):
    """A setting under which the broker does not promise a good answer to a question."""

    setting: str
    why: str


class Position(_Record):
    """Where a message is stored."""

    partition: int
    offset: int
    intact: bool


class Received(_Record):
    """One delivery of a message."""

    consumer: str
    partition: int
    offset: int
    received_ns: int
    redelivered: bool
    intact: bool


class Holding(_Record):
    """What one node holds from a position on: the piece of messages `offset` to `last`, the first
    of which is `sequence` of `producer` (-1: not known)."""

    node: str
    offset: int
    last: int
    digest: int
    epoch: int
    producer: int
    sequence: int


def unsent(question: str) -> str:
    """What evidence of a question is about, where it names no producer."""
    return "a position" if question == "divergence" else "not ours"


class Evidence(_Record):
    """One message that is wrong, with all that the history has of it.

    `producer` and `sequence` are -1 for a message that is not ours, and where it is a position that
    is wrong, whatever lies there. `leader` led the partition when the message was acknowledged
    (else when it was sent, else when it came out), as last observed before; `faults` were on at
    that time. `found` are its positions at the end of the run; `held` is what each node
    holds at its position, where that is what is wrong.
    """

    question: str
    kind: str
    producer: int
    sequence: int
    key: int | None = None
    partition: int | None = None
    offset: int | None = None
    due_ns: int | None = None
    sent_ns: int | None = None
    done_ns: int | None = None
    outcome: str | None = Field(
        None, description="ok, refused, aborted, weak, indeterminate; null: never known"
    )
    leader: str | None = None
    faults: tuple[str, ...] = ()
    received: tuple[Received, ...] = ()
    found: tuple[Position, ...] = ()
    held: tuple[Holding, ...] = ()
    note: str = ""


class StageRow(_Record):
    """One leg of the way from a fault to full service, see `chaos.spi.Stage`. It ended at most
    `within_ns` before `ended_ns` (null: not before the load did)."""

    fault: str
    partition: int
    client: str
    name: str
    started_ns: int
    ended_ns: int | None
    within_ns: int
    merged: tuple[str, ...] = ()


class Answer(_Record):
    """The answer to one question.

    `label` is set where it FAILs and settings could be to blame; `caveats` then name them.
    `anomalies` counts the rows of evidence by kind, `evidence` shows the first of each kind.
    """

    name: str
    question: str
    verdict: Verdict
    why: str
    figures: tuple[FigureRow, ...] = ()
    label: Label | None = None
    caveats: tuple[CaveatRow, ...] = ()
    details: tuple[Json, ...] = ()
    anomalies: dict[str, int] = {}
    evidence: tuple[Evidence, ...] = ()
    stages: tuple[StageRow, ...] = ()


class FaultRow(_Record):
    """One fault on the timeline, with its proofs: `on` was measured while it was in force, `after`
    when it was gone. Times are null for what did not happen. `consequences` are nodes that ended by
    themselves because of it and were started again."""

    id: str
    fault: str
    nodes: tuple[str, ...]
    attempt_ns: int | None
    injected_ns: int | None
    effect_ns: int | None
    heal_ns: int | None
    gone_ns: int | None
    proved: bool
    healed: bool
    on: Json
    after: Json
    why: str
    consequences: tuple[str, ...] = ()


class Files(_Record):
    """Where the record of the run lies, relative to verdict.json."""

    events: str = "events.jsonl"
    history: str = "history"
    evidence: str = EVIDENCE


class Document(_Record):
    """The whole of verdict.json. `reasons` are sentences: why the verdict is not PASS, or what a
    PASS rests on. `records` counts the rows of the history by table. `healed` is False when a heal
    is known to have failed; what was measured of each fault after it stands in `faults`."""

    format: int = 1
    run: str
    name: str
    verdict: Verdict
    reasons: tuple[str, ...]
    questions: tuple[Answer, ...]
    preconditions: tuple[str, ...]
    faults: tuple[FaultRow, ...]
    healed: bool
    interrupted: bool
    started_ns: int
    load_started_ns: int
    load_ended_ns: int
    records: dict[str, int]
    files: Files = Files()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """See the rules at the head of this module."""
        if not self.healed:
            return _HEAL_INCOMPLETE
        return _INTERRUPTED if self.interrupted else _CODES[self.verdict]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """FAIL before UNKNOWN before PASS; PASS if there are none."""
    given = set(verdicts)
    return next((v for v in (Verdict.FAIL, Verdict.UNKNOWN) if v in given), Verdict.PASS)


def schema() -> dict[str, Any]:
    """The JSON Schema of verdict.json."""
    return Document.model_json_schema(mode="serialization")


def write(run_directory: Path, document: Document) -> Path:
    """Write verdict.json whole or not at all; its path. Raises HistoryError."""
    path = run_directory / FILE
    try:
        write_whole(path, document.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error}") from error
    return path


def read(run_directory: Path) -> Document:
    """Read verdict.json. Raises HistoryError when there is none that this version understands."""
    path = run_directory / FILE
    try:
        stored = json.loads(path.read_text())
        stored.pop("exit_code", None)  # follows from the rest
        return Document.model_validate_json(json.dumps(stored))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise HistoryError(f"{path}: no verdict that can be read: {error}") from error
