"""What the events of a run tell: the life of each fault, who led when, what went wrong.

`read_story` is for the verdict and for people; `facts` is the part of it that verifiers get.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.history.events import read_events
from chaos.history.reader import Stream
from chaos.spi import Facts, FaultSpan, Json, PartitionEnd, Sighting, View

EVENTS = "events.jsonl"


@dataclass
class FaultStory:
    """The life of one fault; times are None for what did not happen (yet).

    `on` and `after` are the figures measured while it was on and when it was gone; `why` is what
    was said last of why it was not proved, skipped or not healed; `consequences` are nodes that
    ended by themselves because of it and were started again.
    """

    id: str
    fault: str
    nodes: tuple[str, ...] = ()
    planned_ns: int | None = None
    attempt_ns: int | None = None
    injected_ns: int | None = None
    effect_ns: int | None = None
    heal_ns: int | None = None
    undone_ns: int | None = None
    gone_ns: int | None = None
    proved: bool = False
    skipped: bool = False
    heal_failed: bool = False
    on: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    why: str = ""
    consequences: list[str] = field(default_factory=list)

    def take(self, event: Json) -> None:
        """Take in the next event of this fault."""
        what, time_ns = event["what"], event["time_ns"]
        self.nodes = tuple(event.get("nodes") or self.nodes)
        self.why = event.get("why", self.why)
        if what in ("planned", "attempt", "injected", "effect", "heal", "gone"):
            setattr(self, f"{what}_ns", time_ns)
        if what in ("effect", "unproved"):
            self.proved = what == "effect"
            self.on = event.get("figures", self.on)
        elif what == "skipped":
            self.skipped = True
        elif what in ("gone", "failed"):
            self.heal_failed = what == "failed" and self.heal_ns is not None
            self.after = event.get("figures", self.after)
            self.undone_ns = event.get("undone_ns")

    @property
    def healed(self) -> bool:
        """Nothing of it is left: it was proved gone, or never attempted."""
        return self.attempt_ns is None or self.gone_ns is not None

    @property
    def span(self) -> FaultSpan | None:
        """The time for which it counts as on; None when it was never attempted."""
        if self.attempt_ns is None:
            return None
        return FaultSpan(
            self.id, self.fault, self.nodes, self.attempt_ns, self.effect_ns, self.gone_ns,
            self.proved, self.heal_ns, self.undone_ns,
        )  # fmt: skip


@dataclass
class Story:
    """A run as its events tell it. `leaders` is by partition: times and who led from then on."""

    run: str = ""
    name: str = ""
    started_ns: int = 0
    last_ns: int = 0
    load_started_ns: int | None = None
    load_ended_ns: int | None = None
    due: dict[int, int] = field(default_factory=dict)
    faults: dict[str, FaultStory] = field(default_factory=dict)
    leaders: dict[int, list[tuple[int, str | None]]] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)
    failed_clients: list[str] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)
    """When clients were started in the place of others."""
    crashed: dict[str, int] = field(default_factory=dict)
    """When clients were killed by a fault."""
    supplanted: dict[str, int] = field(default_factory=dict)
    """When a fault put others in the place of clients that stood still."""
    connections: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    """By client: times and the node to which it was connected from then on."""
    blocked: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    """By client: times and why the broker took nothing from it from then on; None: it did."""
    phase: str = ""
    interrupted: str = ""
    errors: list[str] = field(default_factory=list)
    expects: Json = field(default_factory=dict)
    """What the run said at its start that there must be at its end (event `run`)."""

    def take(self, event: Json) -> None:
        """Take in the next event; kinds that say nothing for a verdict are passed over."""
        self.started_ns = self.started_ns or event["time_ns"]
        self.last_ns = event["time_ns"]
        handler = getattr(self, f"_on_{event['kind']}", None)
        if handler:
            handler(event)

    def leader(self, partition: int, time_ns: int) -> str | None:
        """Who led a partition at a time, as last observed before it; None: not known."""
        known = self.leaders.get(partition, [])
        index = bisect_right(known, time_ns, key=lambda change: change[0])
        return known[index - 1][1] if index else None

    def active(self, time_ns: int) -> list[str]:
        """The faults that were on at a time, by name."""
        return [span.name for span in self.spans if _is_on(span, time_ns)]

    @property
    def spans(self) -> list[FaultSpan]:
        """All faults that were attempted, in the order of their attempts."""
        spans = [fault.span for fault in self.faults.values()]
        return sorted((span for span in spans if span), key=lambda span: span.started_ns)

    def _on_run(self, event: Json) -> None:
        self.run, self.name = str(event.get("run", "")), event.get("name", "")
        self.expects = event.get("expects", {})

    def _on_phase(self, event: Json) -> None:
        self.phase = event["phase"]

    def _on_load(self, event: Json) -> None:
        if event["what"] == "started":
            self.load_started_ns = event["time_ns"]
        else:
            self.load_ended_ns = event["time_ns"]
            self.due = {int(number): due for number, due in event.get("due", {}).items()}

    def _on_fault(self, event: Json) -> None:
        known = self.faults.setdefault(event["id"], FaultStory(event["id"], event["fault"]))
        known.take(event)

    def _on_view(self, event: Json) -> None:
        time_ns = int(event["time_ns"])
        self.sightings.append(Sighting(time_ns, event.get("since_ns", time_ns), _view(event)))
        for partition, leader in (event.get("leaders") or {}).items():
            self.leaders.setdefault(int(partition), []).append((event["time_ns"], leader))

    def _on_client(self, event: Json) -> None:
        if event["what"] in ("started", "crashed", "supplanted"):
            getattr(self, event["what"])[event["client"]] = event["time_ns"]
        elif event["what"] == "fenced" and event["client"] not in self.supplanted:
            self.failed_clients.append(f"{event['client']}: {event['why']}, and no fault did that")
        elif event["what"] == "error":
            self.failed_clients.append(f"{event['client']}: {event.get('why', 'no reason given')}")

    def _on_connection(self, event: Json) -> None:
        for what, changes in (("node", self.connections), ("blocked", self.blocked)):
            if what in event:
                known = changes.setdefault(event["client"], [])
                known.append((event["time_ns"], event[what]))

    def _on_interrupted(self, event: Json) -> None:
        self.interrupted = event.get("why") or "no reason given"

    def _on_error(self, event: Json) -> None:
        self.errors.append(event.get("why") or "no reason given")

    def _on_node(self, event: Json) -> None:
        fault = self.faults.get(event.get("id", ""))
        if fault and event["what"] == "consequence" and event["node"] not in fault.consequences:
            fault.consequences.append(event["node"])


def _view(event: Json) -> View:
    """As JSON it has text for keys and lists for tuples."""

    def by_partition(name: str) -> dict[int, tuple[str, ...]]:
        return {int(number): tuple(nodes) for number, nodes in (event.get(name) or {}).items()}

    leaders = {int(number): leader for number, leader in (event.get("leaders") or {}).items()}
    return View(
        event.get("controller"), leaders, by_partition("replicas"), by_partition("in_sync"),
        tuple(event.get("alive") or ()), tuple(event.get("dissenting") or ()),
        alarms={node: tuple(kinds) for node, kinds in (event.get("alarms") or {}).items()},
        rivals={
            int(number): {leader: tuple(nodes) for leader, nodes in camps.items()}
            for number, camps in (event.get("rivals") or {}).items()
        },
        elected={int(number): node for number, node in (event.get("elected") or {}).items()},
    )  # fmt: skip


def _is_on(span: FaultSpan, time_ns: int) -> bool:
    return span.started_ns <= time_ns and (span.ended_ns is None or time_ns <= span.ended_ns)


def read_story(run_directory: Path) -> Story:
    """The story of a run. Raises HistoryError when there is none or it cannot be read."""
    return tell(read_events(run_directory / EVENTS))


def tell(events: Iterable[Json]) -> Story:
    """The story that these events make."""
    story = Story()
    for event in events:
        story.take(event)
    return story


def not_final(story: Story, streams: Sequence[Stream]) -> list[str]:
    """Why the last moments of the run may not be on record, a sentence each; empty: they are."""
    reasons = [
        f"The record of {stream.client} ({stream.table}) has no orderly end."
        for stream in streams
        if (stream.torn or not stream.final) and stream.client not in story.crashed
    ]
    if story.load_ended_ns is None:
        reasons.append("The run ended while load was still offered.")
    elif story.phase not in ("", "clean-up", "verify", "done"):
        reasons.append(f"The run broke off before all was read, in the phase {story.phase}.")
    return reasons


def facts(story: Story, streams: Sequence[Stream]) -> Facts:
    """What verifiers may know; `streams` were read to their end, so their metadata is complete."""
    return Facts(
        handed_out={s.producer: s.reserved for s in streams if s.table == "sends"},
        final=not not_final(story, streams) and not story.interrupted,
        faults=tuple(story.spans),
        ends=_ends(streams, "stored"),
        load_started_ns=story.load_started_ns or story.started_ns,
        load_ended_ns=story.load_ended_ns or story.last_ns,
        due=story.due,
        sightings=tuple(story.sightings),
        partitions=story.expects.get("partitions", 0),
        replicas=_replicas(streams) if story.expects.get("replicas") else None,
        lives=_lives(story),
        dead_ends=_ends(streams, "dead") if story.expects.get("dead_letter") else None,
        keeps=story.expects.get("keeps", True),
        connections={name: tuple(known) for name, known in story.connections.items()},
        blocked={name: tuple(known) for name, known in story.blocked.items()},
    )


def _lives(story: Story) -> Mapping[str, tuple[int, int]]:
    from_ns = story.load_started_ns or story.started_ns
    until_ns = story.load_ended_ns or story.last_ns
    ended = story.crashed | story.supplanted
    return {
        client: (story.started.get(client, from_ns), ended.get(client, until_ns))
        for client in sorted({*story.started, *ended})
    }


def _ends(streams: Sequence[Stream], table: str) -> Mapping[int, PartitionEnd]:
    return {end.partition: end for s in streams if s.table == table for end in s.ends}


def _replicas(streams: Sequence[Stream]) -> Mapping[str, Mapping[int, PartitionEnd]]:
    return {
        stream.client: {end.partition: end for end in stream.ends}
        for stream in streams
        if stream.table == "replicas"
    }
