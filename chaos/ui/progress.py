"""What is known of a run so far, and what each of its events says to people.

Live display and plain lines both show this; they only differ in where they put it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chaos.spi import Json
from chaos.ui.text import clean, figures, listed, partitions

PHASES: Mapping[str, str] = {
    "start": "starting the cluster",
    "ready": "waiting until the cluster is ready",
    "prepare": "creating the stream",
    "warm-up": "warming up",
    "baseline": "baseline: nothing is disturbed yet",
    "faults": "faults",
    "settle": "settling after the faults",
    "drain": "draining: consumers read what is left",
    "read-back": "reading back what the brokers hold",
    "clean-up": "cleaning up",
    "verify": "judging from the record",
    "done": "done",
}
LOADED = ("warm-up", "baseline", "faults", "settle")
"""The phases in which load is offered, so that rates mean something."""


class Tone(StrEnum):
    """How grave a line is; its words say the same."""

    PLAIN = "plain"
    QUIET = "quiet"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Line:
    """Something that happened, `time_s` after the run began."""

    time_s: float
    text: str
    tone: Tone = Tone.PLAIN


@dataclass
class Rates:
    """Messages per second between the last two reports; `waiting` are due but not yet answered."""

    time_ns: int = 0
    acknowledged: float = 0.0
    failed: float = 0.0
    received: float = 0.0
    waiting: int = 0


@dataclass
class FaultNow:
    """One fault between its attempt and its end."""

    fault: str
    nodes: tuple[str, ...]
    since_ns: int
    state: str = "being injected"
    tone: Tone = Tone.WARN

    def __str__(self) -> str:
        return f"{self.fault} on {listed(self.nodes)}" if self.nodes else self.fault


@dataclass
class Progress:
    """Takes the events of one run, in order; not safe to use from several threads."""

    started_ns: int = 0
    phase: str = ""
    phase_ns: int = 0
    until_ns: int | None = None
    about: str = ""
    rates: Rates | None = None
    faults: dict[str, FaultNow] = field(default_factory=dict)
    _counts: Json | None = None
    _view: Json = field(default_factory=dict)
    _planned: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, event: Json) -> list[Line]:
        """Take in the next event; the lines to show for it, none for an unknown kind."""
        self.started_ns = self.started_ns or event["time_ns"]
        handler = getattr(self, f"_on_{event['kind']}", None)
        told: Sequence[tuple[str, Tone]] = handler(event) if handler else ()
        time_s = self.time_s(event["time_ns"])
        return [
            Line(time_s, text, tone) for block, tone in told for text in clean(block).split("\n")
        ]

    def time_s(self, time_ns: int) -> float:
        """Seconds since the run began."""
        return (time_ns - self.started_ns) / 1e9

    def _on_run(self, event: Json) -> list[tuple[str, Tone]]:
        self.about = f"runtime {event.get('runtime')}, seed {event.get('seed')}"
        return [(f"run of {event.get('name')}, {self.about}", Tone.PLAIN)]

    def _on_cluster(self, event: Json) -> list[tuple[str, Tone]]:
        how = "kept from an earlier run" if event.get("reused") else "new"
        addresses = listed(f"{name} {at}" for name, at in event.get("clients", {}).items())
        return [(f"cluster {event.get('id')} ({how}) is ready: {addresses}", Tone.GOOD)]

    def _on_phase(self, event: Json) -> list[tuple[str, Tone]]:
        self.phase, self.phase_ns = event["phase"], event["time_ns"]
        self.until_ns = event.get("until_ns")
        if self.phase not in LOADED:
            self.rates = self._counts = None
        left_s = ((self.until_ns or 0) - event["time_ns"]) / 1e9
        span = f" ({left_s:.0f} s)" if left_s >= 0.5 else ""
        return [(PHASES.get(self.phase, self.phase) + span, Tone.QUIET)]

    def _on_rates(self, event: Json) -> list[tuple[str, Tone]]:
        last, self._counts = self._counts, event
        span_s = (event["time_ns"] - last["time_ns"]) / 1e9 if last else 0.0
        if last is None or span_s <= 0:
            return []

        def grown(*names: str) -> float:
            return float(sum(event.get(name, 0) - last.get(name, 0) for name in names)) / span_s

        answered = sum(event.get(name, 0) for name in ("ok", "refused", "indeterminate"))
        self.rates = Rates(
            event["time_ns"], grown("ok"), grown("refused", "indeterminate"), grown("received"),
            max(0, event.get("due", 0) - answered),
        )  # fmt: skip
        return []

    def _on_fault(self, event: Json) -> list[tuple[str, Tone]]:
        handler = getattr(self, f"_fault_{event['what']}", None)
        if event["what"] == "planned":
            self._planned[event["id"]] = tuple(event.get("nodes") or ())
        told: tuple[str, Tone] | None = handler(event) if handler else None
        return [told] if told else []

    def _fault_attempt(self, event: Json) -> tuple[str, Tone]:
        nodes = tuple(event.get("nodes") or self._planned.get(event["id"], ()))
        now = self.faults[event["id"]] = FaultNow(event["fault"], nodes, event["time_ns"])
        return f"{now}: injecting", Tone.WARN

    def _fault_effect(self, event: Json) -> tuple[str, Tone]:
        return self._fault_is(
            event, f"on, proved: {figures(event.get('figures') or {})}", Tone.WARN
        )

    def _fault_unproved(self, event: Json) -> tuple[str, Tone]:
        why = event.get("why") or figures(event.get("figures") or {})
        return self._fault_is(event, f"effect NOT proved: {why}", Tone.BAD)

    def _fault_heal(self, event: Json) -> tuple[str, Tone]:
        return self._fault_is(event, "healing", Tone.WARN)

    def _fault_gone(self, event: Json) -> tuple[str, Tone]:
        now = self._fault(event)
        self.faults.pop(event["id"], None)
        lasted_s = (event["time_ns"] - now.since_ns) / 1e9
        measured = figures(event.get("figures") or {})
        return f"{now}: healed, proved gone after {lasted_s:.1f} s: {measured}", Tone.GOOD

    def _fault_failed(self, event: Json) -> tuple[str, Tone]:
        return self._fault_is(event, f"NOT HEALED: {event.get('why', '')}", Tone.BAD)

    def _fault_skipped(self, event: Json) -> tuple[str, Tone]:
        now = self._fault(event)
        return f"{now}: not injected: {event.get('why', '')}", Tone.BAD

    def _fault(self, event: Json) -> FaultNow:
        nodes = self._planned.get(event["id"], ())
        return self.faults.get(event["id"]) or FaultNow(event["fault"], nodes, event["time_ns"])

    def _fault_is(self, event: Json, state: str, tone: Tone) -> tuple[str, Tone]:
        now = self._fault(event)
        now.state, now.tone = state, tone
        return f"{now}: {state}", tone

    def _on_view(self, event: Json) -> list[tuple[str, Tone]]:
        last, self._view = self._view, event
        return [(text, Tone.PLAIN) for text in view_changes(last, event)]

    def _on_node(self, event: Json) -> list[tuple[str, Tone]]:
        what = {"consequence": "ended by itself", "restarted": "was started again"}
        return [(f"{event['node']} {what.get(event['what'], event['what'])}", Tone.WARN)]

    def _on_client(self, event: Json) -> list[tuple[str, Tone]]:
        if event["what"] == "crashed":
            return [(f"{event['client']} crashed", Tone.WARN)]
        if event["what"] == "started":
            return [(f"{event['client']} takes the place of {event['after']}", Tone.PLAIN)]
        if event["what"] != "error":
            return []
        return [(f"{event['client']} failed: {event.get('why', 'no reason given')}", Tone.BAD)]

    def _on_connection(self, event: Json) -> list[tuple[str, Tone]]:
        if "blocked" in event:
            why = event["blocked"]
            told = f"is blocked by the broker: {why}" if why else "is not blocked any more"
            return [(f"{event['client']} {told}", Tone.WARN if why else Tone.GOOD)]
        if "channel" in event:
            return [(f"{event['client']} opened a new channel: {event['channel']}", Tone.WARN)]
        if "left" in event:
            return [(f"{event['client']} left its connection: {event['left']}", Tone.WARN)]
        where = f"is connected to {event['node']}" if event["node"] else "lost its connection"
        return [(f"{event['client']} {where}", Tone.PLAIN)]

    def _on_drain(self, event: Json) -> list[tuple[str, Tone]]:
        waited = f"consumers had not seen everything after {event.get('seconds', 0):g} s"
        return [(waited, Tone.WARN)]

    def _on_note(self, event: Json) -> list[tuple[str, Tone]]:
        return [(str(event.get("text", "")), Tone.PLAIN)]

    def _on_interrupted(self, event: Json) -> list[tuple[str, Tone]]:
        return [(f"interrupted {event.get('why', '')}".rstrip(), Tone.WARN)]

    def _on_error(self, event: Json) -> list[tuple[str, Tone]]:
        return [(f"error: {event.get('why', 'no reason given')}", Tone.BAD)]


def view_changes(last: Json, now: Json) -> list[str]:
    """What is different in how the cluster sees itself: a line for each kind of change."""
    lines = []
    if not last:
        lines += _first_view(now)
    elif now.get("controller") != last.get("controller"):
        old, new = (view.get("controller") or "none" for view in (last, now))
        lines.append(f"controller: {old} -> {new}")
    if last:
        lines += _leader_changes(last, now)
        lines += _in_sync_changes(last, now)
        lines += _trouble_changes(last, now)
    return lines


def _trouble_changes(last: Json, now: Json) -> list[str]:
    """Alarms, and who was parted from whom."""
    lines = []
    for key, told in (("alarms", "alarm on {}: {}"), ("apart", "{} was parted from {}")):
        old, new = (view.get(key) or {} for view in (last, now))
        lines += [
            told.format(node, listed(new.get(node, [])) or "none any more")
            for node in sorted({*old, *new})
            if old.get(node) != new.get(node)
        ]
    for partition, camps in (now.get("rivals") or {}).items():
        if (last.get("rivals") or {}).get(partition) != camps:
            told = listed(f"{leader} (say {', '.join(nodes)})" for leader, nodes in camps.items())
            lines.append(f"partition {partition} has more than one leader: {told}")
    return lines


def _first_view(view: Json) -> list[str]:
    told = [f"controller {view['controller']}"] if view.get("controller") else []
    by_leader: dict[str, list[int]] = {}
    for partition, leader in (view.get("leaders") or {}).items():
        by_leader.setdefault(leader or "nobody", []).append(int(partition))
    told += [f"{leader} leads {partitions(led)}" for leader, led in sorted(by_leader.items())]
    return [listed(told)] if told else []


def _leader_changes(last: Json, now: Json) -> list[str]:
    moved: dict[tuple[str, str], list[int]] = {}
    old = {int(partition): leader for partition, leader in (last.get("leaders") or {}).items()}
    for text, leader in (now.get("leaders") or {}).items():
        partition = int(text)
        if old.get(partition) != leader:
            change = (old.get(partition) or "none", leader or "none")
            moved.setdefault(change, []).append(partition)
    return [f"leader of {partitions(led)}: {a} -> {b}" for (a, b), led in moved.items()]


def _in_sync_changes(last: Json, now: Json) -> list[str]:
    left: dict[str, list[int]] = {}
    joined: dict[str, list[int]] = {}
    old = {int(partition): set(nodes) for partition, nodes in (last.get("in_sync") or {}).items()}
    for text, nodes in (now.get("in_sync") or {}).items():
        partition = int(text)
        for node in sorted(old.get(partition, set()) - set(nodes)):
            left.setdefault(node, []).append(partition)
        for node in sorted(set(nodes) - old.get(partition, set(nodes))):
            joined.setdefault(node, []).append(partition)
    return [f"{node} left the in-sync set of {partitions(p)}" for node, p in left.items()] + [
        f"{node} is back in the in-sync set of {partitions(p)}" for node, p in joined.items()
    ]
