"""What the page of a run shows, ready to be written down: no sum is left to the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.report.timeline import Lane
from chaos.spi import Json

SIGNS = {"PASS": "✓", "FAIL": "✗", "UNKNOWN": "?"}
"""A verdict is told by word and sign, never by colour alone."""

Pairs = tuple[tuple[str, str], ...]
"""Names and what they are."""


@dataclass(frozen=True)
class Wrong:
    """What went wrong, in a sentence and point by point."""

    title: str
    points: Pairs


@dataclass(frozen=True)
class Tile:
    """The most important figure of a question."""

    name: str
    value: str
    question: str
    verdict: str


@dataclass(frozen=True)
class Table:
    """Rows of text; `numeric` says which columns are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side, in columns of their names: what they were told differently, and
    what was measured."""

    settings: Table
    figures: Table


@dataclass(frozen=True)
class FigureLine:
    """A measured number; `kept` is "ok", "not met" or empty where there is no threshold."""

    name: str
    value: str
    threshold: str
    kept: str


@dataclass(frozen=True)
class Answered:
    """One question with its answer."""

    name: str
    question: str
    verdict: str
    why: str
    label: str
    caveats: Pairs
    figures: tuple[FigureLine, ...]
    details: Table | None


@dataclass(frozen=True)
class StageBar:
    """One stage of a failover. `from_share` and `to_share` place it on the scale of its group;
    `length` says how long it took, `note` how sure that is and what it contains."""

    name: str
    length: str
    note: str
    from_share: float
    to_share: float
    ended: bool


@dataclass(frozen=True)
class StageGroup:
    """The stages of one fault for one partition and client, `span_s` from the fault to the last."""

    title: str
    span_s: float
    scale: str
    bars: tuple[StageBar, ...]


@dataclass(frozen=True)
class FaultLine:
    """A fault with its proofs. `state` is what became of it in a word or two."""

    title: str
    state: str
    good: bool
    times: Pairs
    on: str
    after: str
    why: str


@dataclass(frozen=True)
class EvidenceTable:
    """Rows of evidence, of which the first ones also stand in the page's text."""

    columns: tuple[str, ...]
    kinds: tuple[tuple[str, int, int], ...]
    """Kind, how many there are, how many of them are on the page."""
    rows: tuple[tuple[str | int | float | None, ...], ...]
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class EventLine:
    """A line of what happened; `tone` is one of `chaos.ui.progress.Tone`."""

    time_s: float
    kind: str
    text: str
    tone: str


@dataclass(frozen=True)
class Page:
    """All of it, from top to bottom."""

    name: str
    about: str
    verdict: str
    lead: tuple[str, ...]
    wrong: tuple[Wrong, ...]
    tiles: tuple[Tile, ...]
    head: Pairs
    reproduce: str
    plots: Json
    ticks: tuple[float, ...]
    lanes: tuple[Lane, ...]
    lanes_note: str
    stages: tuple[StageGroup, ...]
    stages_note: str
    beside: Comparison | None
    questions: tuple[Answered, ...]
    faults: tuple[FaultLine, ...]
    evidence: EvidenceTable
    events: tuple[EventLine, ...]
    events_note: str
    preconditions: tuple[str, ...]
    settings: tuple[tuple[str, Pairs], ...]
    files: Pairs

    @property
    def sign(self) -> str:
        """Of the verdict."""
        return SIGNS[self.verdict]

    @property
    def span(self) -> tuple[float, float]:
        """The seconds that plots and lanes cover."""
        return self.plots["from_s"], self.plots["to_s"]


def sign(verdict: str) -> str:
    """Of any verdict."""
    return SIGNS.get(verdict, "")


def share(value: float, span: Sequence[float]) -> str:
    """Where a time lies in a span, as SVG wants it."""
    start, end = span
    return f"{100 * (value - start) / (end - start):.3f}%"
