"""Turns a document into an Experiment, or tells everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from chaos import registry
from chaos.errors import ChaosError, Problem, UsageError
from chaos.experiment.checks import (
    Scene,
    ability_flaws,
    baseline_flaws,
    client_flaws,
    clock_flaws,
    disk_flaws,
    forgetting_flaws,
    hand_back_flaws,
    lasting_flaws,
    overlap_flaws,
    stream_flaws,
    target_flaws,
    transaction_flaws,
    use_flaws,
)
from chaos.experiment.notes import silence_notes
from chaos.experiment.records import (
    MIN_BASELINE_S,
    Consumers,
    Head,
    Load,
    Phases,
    Producers,
    Step,
    When,
)
from chaos.experiment.source import Document, read_document
from chaos.machine import Machine
from chaos.plugin import Flaw, Path, shape
from chaos.spi import (
    Broker,
    Caveat,
    Fault,
    Json,
    KeepsNoPlaces,
    LosesCaches,
    ReplacesConsumers,
    Transacts,
    TrustsCaches,
    Verifier,
)
from chaos.wording import shown, unknown

T = TypeVar("T")

AUTO = "auto"
"""The runtime that is chosen when the run starts."""

_SECTIONS = ("cluster", "stream", "load", "phases", "faults", "expect")


@dataclass(frozen=True)
class Experiment:
    """One experiment file, checked, with every plug-in built.

    `stream` is an instance of the broker's `stream_type`. `verifiers` holds every registered one,
    with its defaults where `expect:` is silent. `resolved` says all of it as JSON, in the form of
    the file with the defaults filled in; `from_resolved` of it gives an equal experiment.
    """

    name: str
    about: str
    seed: int
    runtime: str
    broker_name: str
    broker: Broker
    machine: Machine
    stream: Any
    load: Load
    phases: Phases
    faults: tuple[Step, ...]
    verifiers: Mapping[str, Verifier[Any]]
    resolved: Json = field(repr=False)
    source: Document = field(repr=False, compare=False)
    """Where each part of it was written."""

    @classmethod
    def from_resolved(cls, resolved: Json, name: str = "experiment") -> Experiment:
        """Build it again from `resolved`; `name` is where that was read from. Raises UsageError."""
        return _build(Document(name, resolved))

    @classmethod
    def recorded(cls, resolved: Json) -> Experiment:
        """Of a run that has been: what this version would refuse to run again can still be judged.
        Raises UsageError for what it cannot read."""
        return _build(Document("experiment", resolved), to_run=False)

    def caveats(self) -> Sequence[Caveat]:
        """Why its settings do not promise what users want: the system's, then the clients'. What
        is not promised to survive a loss of memories, or the end of a consumer, counts where a
        fault brings it about."""
        producers, consumers = self.load.producers.settings, self.load.consumers.settings
        if self.load.producers.transactions and isinstance(self.broker, Transacts):
            producers = self.broker.settings_in_transactions(producers)
        found = [*self.broker.caveats(self.stream, producers, consumers)]
        faults = [step.fault for step in self.faults]
        forgets = any(isinstance(fault, LosesCaches) and fault.loses_caches() for fault in faults)
        if forgets and isinstance(self.broker, TrustsCaches):
            found += self.broker.cache_caveats(self.stream)
        replaces = any(isinstance(f, ReplacesConsumers) and f.replaces_consumers() for f in faults)
        if replaces and isinstance(self.broker, KeepsNoPlaces):
            found += self.broker.place_caveats(self.stream, consumers)
        return [*found, *self.load.caveats()]

    def notes(self) -> Sequence[Problem]:
        """What is right and may not be what people expect of it, each at its place in the file."""
        return self.source.problems([*silence_notes(self.faults, self.load_end_s, self.broker)])

    @property
    def load_end_s(self) -> float:
        """When the load ends: settled after the last fault, on the clock of the steps' `at_s`."""
        ends = [step.at_s + (step.for_s or 0.0) for step in self.faults]
        return max(ends, default=MIN_BASELINE_S) + self.phases.settle_s


def load_experiment(path: FilePath, overrides: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file, with `key=value` overrides of the command line.

    Raises UsageError with every problem of it, each at its line and column.
    """
    document = read_document(path, overrides)
    written = _build(document)
    # What is written down in a run directory is what runs, to the last digit.
    return replace(_build(Document(document.name, written.resolved)), source=document)


def _build(document: Document, to_run: bool = True) -> Experiment:
    builder = _Builder(document)
    experiment = None if document.data is None else builder.build(document.data)
    # What could not even be read is told once, not again as a value of the wrong type.
    unread = {flaw.path for flaw in document.flaws if not flaw.at_key}
    flaws = [*builder.flaws, *(builder.refusals if to_run else ())]
    problems = document.problems(
        [*document.flaws, *(flaw for flaw in flaws if flaw.path not in unread)]
    )
    if experiment is None or problems:
        raise UsageError(problems)
    return experiment


class _Builder:
    """Builds section by section; a section that fails leaves its flaws and None.

    What fails in one place keeps nothing from being checked that does not depend on it.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.data: Json = {}
        self.flaws: list[Flaw] = []
        self.refusals: list[Flaw] = []
        """What could be built, but makes no sense to run."""

    def build(self, data: Json) -> Experiment | None:
        """The experiment, unless a part of it could not be built at all."""
        self.data = data
        head = self._head()
        broker_name, broker_type, broker = self._broker()
        machine = self._machine()
        stream = self._record(broker_type.stream_type, ("stream",)) if broker_type else None
        load, phases = self._load(), self._record(Phases, ("phases",))
        steps = self._steps(Scene(broker_type, broker, stream, load), phases)
        verifiers = self._verifiers()
        self.refusals += stream_flaws(self._mapping(("stream",), told=True), broker, stream)
        self.refusals += client_flaws(broker, load)
        self.refusals += use_flaws(broker, stream, load)
        self.refusals += hand_back_flaws(broker, stream, load)
        self.refusals += transaction_flaws(broker, load)
        self.refusals += forgetting_flaws(broker, stream, verifiers)
        if machine is not None:
            self.refusals += disk_flaws(dict(enumerate(steps)), machine.disk)
            self.refusals += clock_flaws(dict(enumerate(steps)), machine.clock == "own")
        if head is None or broker is None or machine is None:
            return None
        if stream is None or load is None or phases is None:
            return None
        cluster = {"broker": broker_name, **_dump(machine), **_dump(broker)}
        resolved = _resolved(head, cluster, stream, load, phases, steps, verifiers)
        return Experiment(
            head.name, head.about, head.seed, head.runtime, broker_name, broker, machine, stream,
            load, phases, tuple(steps), verifiers, resolved, self.document,
        )  # fmt: skip

    def _head(self) -> Head | None:
        own = {key: value for key, value in self.data.items() if key not in _SECTIONS}
        head = self._shaped(Head, (), own, _SECTIONS)
        runtime, known = own.get("runtime", AUTO), [AUTO, *registry.names("runtimes")]
        if isinstance(runtime, str) and runtime not in known:
            self._flaw(("runtime",), unknown("runtime", runtime, known, "runtimes"))
        return head and replace(head, about=" ".join(head.about.split()))

    def _broker(self) -> tuple[str, type[Any] | None, Broker | None]:
        path = ("cluster",)
        section = self._mapping(path)
        if section is None:
            return "", None, None
        beside = ("broker", *shape(Machine).keys.values())
        fields = {key: value for key, value in section.items() if key not in beside}
        name = section.get("broker")
        cls = self._plugin("brokers", name, (*path, "broker"))
        return str(name), cls, self._shaped(cls, path, fields, beside) if cls else None

    def _machine(self) -> Machine | None:
        section = self._mapping(("cluster",), told=True)
        if section is None:
            return None
        own = shape(Machine).keys.values()
        return self._shaped(Machine, ("cluster",), {k: v for k, v in section.items() if k in own})

    def _load(self) -> Load | None:
        section = self._mapping(("load",))
        if section is None:
            return None
        known = shape(Load).keys.values()
        for key in section:
            if key not in known:
                self._flaw(("load", key), unknown("key", key, known, "keys"), at_key=True)
        producers = self._record(Producers, ("load", "producers"))
        consumers = self._record(Consumers, ("load", "consumers"))
        return Load(producers, consumers) if producers and consumers else None

    def _steps(self, scene: Scene, phases: Phases | None) -> list[Step]:
        written = self.data.get("faults")
        if not isinstance(written, list):
            missing = "is missing: write [] for a run without any"
            wrong = f"should be a list, not {shown(written)}"
            self._flaw(("faults",), wrong if "faults" in self.data else missing)
            return []
        whens: dict[int, When] = {}
        faults: dict[int, Fault] = {}
        for index in range(len(written)):
            when, fault = self._step(("faults", index), scene)
            if when:
                whens[index] = when
            if fault is not None:
                faults[index] = fault
        self.flaws += baseline_flaws(whens)
        steps = {
            index: Step(f"{index + 1}-{when.fault}", when.at_s, when.for_s, when.fault, fault)
            for index, fault in faults.items()
            if (when := whens.get(index))
        }
        self.flaws += lasting_flaws(steps, phases)
        self.flaws += overlap_flaws(steps)
        self.flaws += ability_flaws(steps, scene.broker)
        return list(steps.values())

    def _step(self, path: Path, scene: Scene) -> tuple[When | None, Fault | None]:
        section = self._mapping(path)
        if section is None:
            return None, None
        own = shape(When).keys.values()
        when = self._shaped(When, path, {k: v for k, v in section.items() if k in own})
        name = section.get("fault")
        cls = self._plugin("faults", name, (*path, "fault")) if isinstance(name, str) else None
        if cls is None:
            return when, None
        for flaw in target_flaws(cls, section, scene):
            self._flaw((*path, *flaw.path), flaw.what)
        rest = {key: value for key, value in section.items() if key not in own}
        return when, self._shaped(cls, path, rest, tuple(own))

    def _verifiers(self) -> dict[str, Any]:
        section = self._mapping(("expect",))
        if section is None:
            return {}
        known = registry.names("verifiers")
        for name in section:
            if name not in known:
                what = unknown("verifier", name, known, "verifiers")
                self._flaw(("expect", name), what, at_key=True)
        built = {}
        for name in known:
            cls = self._plugin("verifiers", name, ("expect", name))
            verifier = self._record(cls, ("expect", name)) if cls else None
            if verifier is not None:
                built[name] = verifier
        return built

    def _plugin(self, kind: str, name: object, path: Path) -> type[Any] | None:
        if name is None:
            known = ", ".join(registry.names(kind))
            self._flaw(path, f"is missing ({kind}: {known})")
        elif not isinstance(name, str):
            self._flaw(path, f"should be text, not {shown(name)}")
        else:
            try:
                return registry.load(kind, name)
            except ChaosError as error:
                self._flaw(path, str(error))
        return None

    def _record(self, cls: type[T], path: Path) -> T | None:
        section = self._mapping(path)
        return None if section is None else self._shaped(cls, path, section)

    def _shaped(
        self, cls: type[T], path: Path, values: Json, beside: Sequence[str] = ()
    ) -> T | None:
        built = shape(cls).build(values, beside)
        if not isinstance(built, list):
            return built
        self.flaws += [replace(flaw, path=(*path, *flaw.path)) for flaw in built]
        return None

    def _mapping(self, path: Path, told: bool = False) -> Json | None:
        """A section; one that is not there, or is there and empty, has all its defaults.

        `told`: that it is no mapping has been said already.
        """
        found: Any = self.data
        for part in path:
            found = found.get(part) if isinstance(part, str) else found[part]
            if found is None:
                return {}
            if not isinstance(found, dict | list):
                break
        if isinstance(found, dict):
            return found
        if not told:
            self._flaw(path, f"should be a mapping (key: value), not {shown(found)}")
        return None

    def _flaw(self, path: Path, what: str, at_key: bool = False) -> None:
        self.flaws.append(Flaw(path, what, at_key))


def _resolved(
    head: Head,
    cluster: Json,
    stream: Any,  # noqa: ANN401 - the broker's own type
    load: Load,
    phases: Phases,
    steps: Sequence[Step],
    verifiers: Mapping[str, Any],
) -> Json:
    return {
        **_dump(head),
        "cluster": cluster,
        "stream": _dump(stream),
        "load": {"producers": _dump(load.producers), "consumers": _dump(load.consumers)},
        "phases": _dump(phases),
        "faults": [
            {**_dump(When(step.at_s, step.name, step.for_s)), **_dump(step.fault)} for step in steps
        ],
        "expect": {name: _dump(verifier) for name, verifier in verifiers.items()},
    }


def _dump(record: Any) -> Json:  # noqa: ANN401 - any dataclass
    return shape(type(record)).dump(record)
