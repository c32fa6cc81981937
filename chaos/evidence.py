"""Everything that the history has of the messages that verifiers named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from chaos.facts import Story
from chaos.history.reader import Row, Wanted, look_up
from chaos.spi import Anomaly, Finding, Outcome
from chaos.verdict import Evidence, Holding, Position, Received

_Key = tuple[int, int, int, int]
"""(producer, sequence, -1, -1) for a message of ours, (-1, -1, partition, offset) for a place."""

_Values = Mapping[str, Any]
"""One record, by column."""


def collect(
    run_directory: Path, story: Story, findings: Mapping[str, Finding], pool: Executor
) -> dict[str, list[Evidence]]:
    """By question, one row for each anomaly. The history is read only if there are any."""
    everything = [anomaly for finding in findings.values() for anomaly in finding.anomalies]
    known: dict[_Key, list[Row]] = defaultdict(list)
    if everything:
        wanted = _wanted(everything)
        for row in look_up(run_directory, wanted, pool):
            for key in _keys(row, wanted):
                known[key].append(row)
    return {
        question: [
            _evidence(question, anomaly, known.get(_key(vars(anomaly)), []), story)
            for anomaly in finding.anomalies
        ]
        for question, finding in findings.items()
    }


def _key(values: Mapping[str, int]) -> _Key:
    if values["producer"] < 0:
        return -1, -1, values["partition"], values["offset"]
    return values["producer"], values["sequence"], -1, -1


def _keys(row: Row, wanted: Wanted) -> Iterator[_Key]:
    """The anomalies that a row is about: its message, and its position."""
    place = row.values["partition"], row.values["offset"]
    if place in wanted.places:
        yield -1, -1, *place
    if row.values["producer"] >= 0 and row.table != "replicas":
        yield _key(row.values)


def _wanted(anomalies: Iterable[Anomaly]) -> Wanted:
    keys = {_key(vars(anomaly)) for anomaly in anomalies}
    return Wanted(
        frozenset((producer, sequence) for producer, sequence, *_ in keys if producer >= 0),
        # What is about a partition as a whole, or a queue without offsets, is about no record.
        frozenset((p, offset) for producer, _, p, offset in keys if producer < 0 <= offset),
    )


def _evidence(question: str, anomaly: Anomaly, rows: Sequence[Row], story: Story) -> Evidence:
    send = next((row.values for row in rows if row.table == "sends"), {})
    copies = [row for row in rows if row.table in ("deliveries", "stored")]
    place = _place(anomaly, send, copies)
    moment_ns = _moment_ns(send, copies)
    return Evidence(
        question=question,
        kind=anomaly.kind,
        producer=anomaly.producer,
        sequence=anomaly.sequence,
        **{name: send.get(name) for name in ("key", "due_ns", "sent_ns", "done_ns")},
        **place,
        outcome=Outcome(send["outcome"]).name.lower() if send else None,
        leader=_leader(story, place["partition"], moment_ns),
        faults=tuple(story.active(moment_ns)) if moment_ns is not None else (),
        received=tuple(_received(row) for row in copies if row.table == "deliveries"),
        found=tuple(
            Position(**{name: row.values[name] for name in ("partition", "offset", "intact")})
            for row in copies
            if row.table == "stored"
        ),
        held=tuple(_holding(row) for row in rows if row.table == "replicas"),
        note=anomaly.note or _acknowledged(anomaly, rows),
    )


def _acknowledged(anomaly: Anomaly, rows: Sequence[Row]) -> str:
    """The messages that were acknowledged at a place, if it is one that is wrong."""
    if anomaly.producer >= 0:
        return ""
    found = [
        f"{row.values['sequence']} of {row.client}"
        for row in rows
        if row.table == "sends" and row.values["outcome"] == Outcome.OK
    ]
    return f"acknowledged here: {', '.join(found)}" if found else ""


def _place(anomaly: Anomaly, send: _Values, copies: Sequence[Row]) -> dict[str, int | None]:
    """What the verifier said; else where it was acknowledged; else where it came out."""
    for values in (vars(anomaly), send, *(row.values for row in copies)):
        if values.get("partition", -1) >= 0:
            offset = values["offset"]
            return {"partition": values["partition"], "offset": offset if offset >= 0 else None}
    return {"partition": None, "offset": None}


def _moment_ns(send: _Values, copies: Sequence[Row]) -> int | None:
    """When it was acknowledged, else sent, else when it came out."""
    if send:
        return int(send["done_ns"] if send["outcome"] == Outcome.OK else send["sent_ns"])
    return min((row.values["received_ns"] for row in copies), default=None)


def _leader(story: Story, partition: int | None, time_ns: int | None) -> str | None:
    if partition is None or time_ns is None:
        return None
    return story.leader(partition, time_ns)


def _holding(row: Row) -> Holding:
    names = ("offset", "last", "digest", "epoch", "producer", "sequence")
    return Holding(node=row.client, **{name: row.values[name] for name in names})


def _received(row: Row) -> Received:
    names = ("partition", "offset", "received_ns", "redelivered", "intact")
    return Received(consumer=row.client, **{name: row.values[name] for name in names})
