"""Puts the page of a run together from its directory alone: verdict, events, history, evidence.

It also works for a run that was interrupted or whose last records are torn. Only the verdict may
be missing altogether: then the page says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from chaos import verdict as report
from chaos.errors import HistoryError
from chaos.facts import EVENTS, Story, tell
from chaos.history.events import read_events
from chaos.report import evidence, series, settings, stages, tables, words
from chaos.report.evidence import Digest
from chaos.report.model import Comparison, Page, Pairs, Tile
from chaos.report.series import Axis, Latency, Series
from chaos.report.timeline import MOST_PARTITIONS, Clock, Watched, lanes
from chaos.spi import Json, Verdict
from chaos.ui.text import listed
from chaos.verdict import Answer, Document

FILE = "report.html"
_MOST_EVENTS = 2000
_GRAVEST = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)


@dataclass(frozen=True)
class _Run:
    """What was read of a run."""

    directory: Path
    events: tuple[Json, ...]
    story: Story
    experiment: Json
    document: Document
    clock: Clock
    series: Series
    digests: tuple[Digest, ...]


def build_page(directory: Path, beside: Comparison | None = None) -> Page:
    """The page of a run, `beside` others where that is asked for. Raises HistoryError when there is
    no history or it cannot be read."""
    run = _read(directory)
    document, clock = run.document, run.clock
    answers = sorted(document.questions, key=lambda answer: _GRAVEST.index(answer.verdict))
    watched = Watched(run.story.sightings)
    known = words.Known(document.faults, run.story.leaders, clock)
    groups = stages.groups(
        stages.rows(document),
        {each.id: (words.title(each), each.attempt_ns) for each in document.faults
         if each.attempt_ns is not None},
        document.load_ended_ns,
    )  # fmt: skip
    events = tuple(tables.events(run.events))
    return Page(
        name=document.name or directory.resolve().name,
        about=str(run.experiment.get("about", "")),
        verdict=document.verdict.value,
        lead=tuple(words.lead(document)),
        wrong=tuple(words.wrong(document, run.digests, known)),
        tiles=tuple(_tiles(answers)),
        head=tuple(_head(run)),
        reproduce=_reproduce(run),
        plots=_plots(run),
        ticks=_ticks(clock),
        lanes=tuple(_lanes(run, watched)),
        lanes_note=tables.left_out(len(watched.partitions), MOST_PARTITIONS, "partitions"),
        stages=tuple(groups[: stages.MOST_GROUPS]),
        stages_note=tables.left_out(len(groups), stages.MOST_GROUPS, "failovers"),
        beside=beside,
        questions=tuple(tables.answered(answer, document) for answer in answers),
        faults=tuple(tables.fault(fault, clock) for fault in document.faults),
        evidence=tables.evidence(run.digests, clock),
        events=tuple(events[place] for place in evidence.sample(len(events), _MOST_EVENTS)),
        events_note=tables.left_out(len(events), _MOST_EVENTS, "events"),
        preconditions=document.preconditions,
        settings=tuple(_settings(run)),
        files=tuple(_files(directory)),
    )


# ----------------------------------------------------------------------------------- reading


def _read(directory: Path) -> _Run:
    events = tuple(read_events(directory / EVENTS))
    if not events:
        raise HistoryError(f"{directory / EVENTS}: no events; is {directory} a run?")
    story = tell(events)
    document = _document(directory, story)
    axis = _axis(events, story)
    clock = Clock(story.started_ns, axis, min(axis.end_ns, _until(story)))
    load_ns = document.load_started_ns, document.load_ended_ns
    drawn = series.read(directory, axis, story.due, load_ns)
    found = tuple(evidence.digests(directory, axis))
    return _Run(
        directory, events, story, settings.experiment(directory), document, clock, drawn, found
    )


def _document(directory: Path, story: Story) -> Document:
    """The verdict; for a run that was never judged one that says only this."""
    if (directory / report.FILE).exists():
        return report.read(directory)
    told = "This run was not judged: run chaos verify on its directory."
    return Document(
        run=story.run, name=story.name, verdict=Verdict.UNKNOWN, reasons=(told,), questions=(),
        preconditions=(told,), faults=(), healed=True, interrupted=bool(story.interrupted),
        started_ns=story.started_ns, load_started_ns=story.load_started_ns or story.started_ns,
        load_ended_ns=story.load_ended_ns or story.last_ns, records={},
    )  # fmt: skip


def _axis(events: Sequence[Json], story: Story) -> Axis:
    """From the first load, warm-up included, until everything was read."""
    starts = [e["time_ns"] for e in events if e["kind"] == "phase" and e["phase"] == "warm-up"]
    start_ns = next(iter(starts), story.load_started_ns or story.started_ns)
    return Axis.over(start_ns, max(_until(story, events), start_ns + 1_000_000_000))


def _until(story: Story, events: Sequence[Json] = ()) -> int:
    """Where what was seen ends: when the cluster was taken down, else with the last event."""
    over = ("clean-up", "verify")
    ends = [e["time_ns"] for e in events if e["kind"] == "phase" and e["phase"] in over]
    return next(iter(ends), story.last_ns)


# -------------------------------------------------------------------------------------- head


def _head(run: _Run) -> Iterator[tuple[str, str]]:
    told = next((event for event in run.events if event["kind"] == "run"), {})
    versions = told.get("versions") or {}
    cluster = run.experiment.get("cluster") or {}
    when = datetime.fromtimestamp(run.story.started_ns / 1e9, UTC)
    yield "when", f"{when:%Y-%m-%d %H:%M:%S} UTC"
    yield "run", run.document.run
    yield "seed", str(told.get("seed", run.experiment.get("seed", "not known")))
    what = [str(cluster.get(name, "")) for name in ("broker", "version")]
    if any(what):
        nodes = cluster.get("nodes")
        count = f", {nodes} nodes" if isinstance(nodes, int) else ""
        yield "cluster", " ".join(filter(None, what)) + count
    yield "runtime", str(told.get("runtime", "not known"))
    if "mqchaos" in versions:
        yield "mqchaos", f"{versions['mqchaos']}, Python {versions.get('python', 'not known')}"
    records = [f"{count:,} {table}" for table, count in sorted(run.document.records.items())]
    if records:
        yield "records", listed(records)


def _reproduce(run: _Run) -> str:
    """The command that runs the same again, in the directory in which this run's lies."""
    if not run.experiment:
        return ""
    told = next((event for event in run.events if event["kind"] == "run"), {})
    where = f" --runtime {quote(str(told['runtime']))}" if "runtime" in told else ""
    path = f"{run.directory.resolve().name}/experiment.json"
    return f"chaos run {quote(path)}{where} --runs ."


def _tiles(answers: Iterable[Answer]) -> Iterator[Tile]:
    for answer in answers:
        if answer.figures:
            first = next((each for each in answer.figures if each.ok is False), answer.figures[0])
            yield Tile(first.name, tables.value_of(first), answer.name, answer.verdict.value)


# --------------------------------------------------------------------------- plots and lanes


def _plots(run: _Run) -> Json:
    """Columns for the plots, short enough to be written down: rates per second, latencies in s."""
    drawn, axis, clock = run.series, run.clock.axis, run.clock
    width_s = axis.width_ns / 1e9
    start_s = clock.at(axis.start_ns)

    def rate(counts: Sequence[int]) -> list[float]:
        return [_short(count / width_s) for count in counts]

    return {
        "from_s": round(start_s, 3),
        "to_s": round(clock.at(axis.end_ns), 3),
        "width_s": width_s,
        "x": [_short(start_s + (place + 0.5) * width_s) for place in range(axis.count)],
        "due": rate(drawn.due),
        "acknowledged": rate(drawn.acknowledged),
        "delivered": rate(drawn.delivered),
        "failed": rate(drawn.failed),
        "aborted": rate(drawn.aborted) if any(drawn.aborted) else None,
        "lag": _lag(run),
        "sending": _latency(drawn.sending),
        "delivery": _latency(drawn.delivery),
        "faults": [list(span) for span in _bands(run)],
        "outside": drawn.outside,
    }


def _lag(run: _Run) -> list[int | None] | None:
    """The backlog of the consumers' group in all partitions as last seen in each bucket; None when
    nobody looked."""
    known = [(e["time_ns"], sum(e["lag"].values())) for e in run.events if e["kind"] == "group"]
    if not known:
        return None
    axis, found, place = run.clock.axis, list[int | None](), -1
    for bucket in range(axis.count):
        end_ns = axis.start_ns + (bucket + 1) * axis.width_ns
        while place + 1 < len(known) and known[place + 1][0] < end_ns:
            place += 1
        found.append(known[place][1] if place >= 0 and end_ns <= run.clock.until_ns else None)
    return found


def _latency(latency: Latency) -> Json:
    return {name: [_short(each) for each in values] for name, values in vars(latency).items()}


def _short(value: float | None) -> Any:  # noqa: ANN401 - a number as short as its figures allow
    if value is None:
        return None
    rounded = float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
    return int(rounded) if rounded.is_integer() else rounded


def _bands(run: _Run) -> Iterator[tuple[float, float, str]]:
    for span in run.story.spans:
        ended_ns = span.ended_ns if span.ended_ns is not None else run.clock.axis.end_ns
        name = f"{span.fault} on {listed(span.nodes)}" if span.nodes else span.fault
        yield round(run.clock.cut(span.started_ns), 3), round(run.clock.cut(ended_ns), 3), name


def _ticks(clock: Clock) -> tuple[float, ...]:
    """Round times on the axis, some eight of them."""
    start_s, end_s = clock.at(clock.axis.start_ns), clock.at(clock.axis.end_ns)
    wide_s = (end_s - start_s) / 8
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
    step_s = next((step for step in steps if step >= wide_s), wide_s)
    first = int(-(-start_s // step_s))
    return tuple(step_s * number for number in range(first, int(end_s // step_s) + 1))


def _lanes(run: _Run, watched: Watched) -> Iterable[Any]:
    phases = [(e["phase"], e["time_ns"]) for e in run.events if e["kind"] == "phase"]
    states = [(e["time_ns"], str(e["state"])) for e in run.events if e["kind"] == "group"]
    faults, blocked = run.story.faults.values(), run.story.blocked
    return lanes(run.clock, phases, faults, run.digests, watched, states, blocked)


# --------------------------------------------------------------------------- settings, files


def _settings(run: _Run) -> Iterator[tuple[str, Pairs]]:
    for event in run.events:
        if event["kind"] == "settings":
            for owner, values in (event.get("in_force") or {}).items():
                yield f"in force: {owner}", tuple(settings.flat(values))
    for name, section in run.experiment.items():
        if isinstance(section, Mapping | list) and section:
            yield f"experiment: {name}", tuple(settings.flat(section))
    versions = next((e.get("versions") or {} for e in run.events if e["kind"] == "run"), {})
    if versions:
        yield "versions", tuple((name, str(value)) for name, value in versions.items())


def _files(directory: Path) -> Iterator[tuple[str, str]]:
    """What lies in the run's directory, with its size; nothing temporary."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != FILE and not path.name.startswith("."):
            yield name, _size(path.stat().st_size)


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:,.0f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"
