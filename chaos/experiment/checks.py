"""What can be wrong between the parts of an experiment that are right each on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from chaos.experiment.records import MIN_BASELINE_S, Load, Phases, Step, When
from chaos.experiment.source import split_path
from chaos.machine import CLOCK
from chaos.plugin import Flaw, shape
from chaos.spi import (
    OF_THE_STREAM,
    Broker,
    ChecksBroker,
    ChecksUse,
    Fault,
    Json,
    Momentary,
    NeedsDisk,
    TakesBack,
    Transacts,
    Use,
    Volume,
    contested,
)
from chaos.targets import client_names, client_problem, parse_target, target_problem

MOST_PARTITIONS = 10_000
MIN_SETTLE_S = 0.25


@dataclass(frozen=True)
class Scene:
    """What is known of the cluster and its stream; None: could not be built."""

    broker_type: type[Any] | None
    broker: Broker | None
    stream: Any
    load: Load | None = None


def baseline_flaws(whens: Mapping[int, When]) -> Iterator[Flaw]:
    """Too little undisturbed time before the first fault."""
    first = min(whens, key=lambda index: whens[index].at_s, default=None)
    if first is not None and whens[first].at_s < MIN_BASELINE_S:
        least = f"{MIN_BASELINE_S:g}s"
        what = f"should be at least {least}: the time before the first fault is the baseline"
        yield Flaw(("faults", first, "at"), what)


def lasting_flaws(steps: Mapping[int, Step], phases: Phases | None) -> Iterator[Flaw]:
    """A fault that is over at once has no length; one without an end of its own lasts as long as
    the load still settles."""
    for index, step in steps.items():
        if step.for_s is not None and isinstance(step.fault, Momentary):
            yield Flaw(
                ("faults", index, "for"), f"{step.name} is over when it is done: leave it out"
            )
        elif step.stays and phases is not None and phases.settle_s < MIN_SETTLE_S:
            settle = f"{phases.settle_s:g}s"
            what = (
                f"needs a `for`: without one it lasts as long as phases.settle, which is {settle}"
            )
            yield Flaw(("faults", index), what)


def ability_flaws(steps: Mapping[int, Step], broker: Broker | None) -> Iterator[Flaw]:
    """Faults that need what this broker cannot do."""
    for index, step in steps.items():
        if broker is None or not isinstance(step.fault, ChecksBroker):
            continue
        if what := step.fault.broker_problem(broker):
            yield Flaw(("faults", index, "fault"), what)


def disk_flaws(steps: Mapping[int, Step], disk: Volume | None) -> Iterator[Flaw]:
    """Faults that act on disks, which nodes do not have or are not such."""
    for index, step in steps.items():
        if not isinstance(step.fault, NeedsDisk):
            continue
        if disk is None:
            what = "acts on disks of the nodes' own: write `disk: {size: 1GiB}` under `cluster`"
            yield Flaw(("faults", index, "fault"), f"{step.name} {what}")
        elif what := step.fault.disk_problem(disk):
            yield Flaw(("faults", index, "fault"), what)


def clock_flaws(steps: Mapping[int, Step], own: bool) -> Iterator[Flaw]:
    """Faults that act on clocks, which nodes share with everybody."""
    for index, step in steps.items():
        if step.fault.claims == CLOCK and not own:
            what = "acts on clocks of the nodes' own: write `clock: own` under `cluster`"
            yield Flaw(("faults", index, "fault"), f"{step.name} {what}")


def overlap_flaws(steps: Mapping[int, Step]) -> Iterator[Flaw]:
    """Two faults that take hold of the same thing at once, as far as their spelling tells."""
    for (one, a), (other, b) in combinations(sorted(steps.items()), 2):
        claims = b.fault.claims
        at_once = a.at_s < b.until_s and b.at_s < a.until_s
        if not at_once or not contested(a.fault.claims, claims):
            continue
        stream = {"the stream"} if claims in OF_THE_STREAM else set()
        if shared := stream or _aims(a.fault) & _aims(b.fault):
            yield Flaw(
                ("faults", other),
                f"takes hold of the {claims} of {' and '.join(sorted(shared))} while faults.{one} "
                f"({a.name}) does: let one end before the other begins",
            )


def target_flaws(fault_type: type[Any], section: Json, scene: Scene) -> Iterator[Flaw]:
    """Targets of one step that no cluster of this topology, or no load of this size, has."""
    yield from _client_flaws(fault_type, section, scene.load)
    if scene.broker_type is None:
        return
    members = None if scene.broker is None else scene.broker.members()
    partitions = None if scene.stream is None else scene.stream.partitions
    known = shape(fault_type)
    for key in known.target_keys:
        text = section.get(key)
        if isinstance(text, str) and key not in known.client_keys:
            what = target_problem(text, scene.broker_type.roles, members, partitions)
            if what or (what := _role_problem(text, scene)):
                yield Flaw((key,), what)


def _role_problem(text: str, scene: Scene) -> str:
    broker = scene.broker
    if broker is None or scene.stream is None or not isinstance(broker, ChecksUse):
        return ""
    return broker.role_problem(parse_target(text).role, scene.stream)


def _client_flaws(fault_type: type[Any], section: Json, load: Load | None) -> Iterator[Flaw]:
    names = None if load is None else client_names(load.producers.count, load.consumers.count)
    for key, of in shape(fault_type).client_keys.items():
        text = section.get(key)
        if isinstance(text, str) and (what := client_problem(text, names, of)):
            yield Flaw((key,), what)


def stream_flaws(
    section: Json | None,
    broker: Broker | None,
    stream: Any,  # noqa: ANN401 - the broker's own type
) -> Iterator[Flaw]:
    """A number of partitions that cannot be, and what the broker itself finds wrong."""
    partitions = (section or {}).get("partitions", 1)
    if type(partitions) is int and not 1 <= partitions <= MOST_PARTITIONS:
        what = f"should be from 1 to {MOST_PARTITIONS}, not {partitions}"
        yield Flaw(("stream", "partitions"), what)
    elif broker is not None and stream is not None:
        for dotted, what in broker.problems(stream):
            yield Flaw(split_path(dotted), what)


def client_flaws(broker: Broker | None, load: Load | None) -> Iterator[Flaw]:
    """What the broker finds wrong with the settings of clients, where it can tell."""
    check = getattr(broker, "client_problems", None)  # spi.ChecksClients
    if load is not None and check is not None:
        for dotted, what in check(load.producers.settings, load.consumers.settings):
            yield Flaw(split_path(dotted), what)


def use_flaws(
    broker: Broker | None,
    stream: Any,  # noqa: ANN401 - the broker's own type
    load: Load | None,
) -> Iterator[Flaw]:
    """A load that this stream is not for, where the broker can tell."""
    if broker is None or stream is None or load is None or not isinstance(broker, ChecksUse):
        return
    consumers = load.consumers
    size = load.producers.size
    use = Use(consumers.count, consumers.hand_back, consumers.settings, size)
    for dotted, what in broker.use_problems(stream, use):
        yield Flaw(split_path(dotted), what)


def hand_back_flaws(
    broker: Broker | None,
    stream: Any,  # noqa: ANN401 - the broker's own type
    load: Load | None,
) -> Iterator[Flaw]:
    """Handing messages back, where this broker or this stream does not take them, or the
    application has settled them or keeps trying by itself."""
    if broker is None or stream is None or load is None or not load.consumers.hand_back:
        return
    path, consumers = ("load", "consumers", "hand_back"), load.consumers
    if not isinstance(broker, TakesBack):
        yield Flaw(path, "this broker takes no message back: leave it out")
    elif what := broker.take_back_problem(stream):
        yield Flaw(path, what)
    if not consumers.dead_letter:
        yield Flaw(
            path, "needs `dead_letter: true`, for the stream into which the broker puts them"
        )
    if consumers.settle == "before":
        yield Flaw(path, "does not go with `settle: before`: what is settled cannot come back")
    if consumers.retries:
        yield Flaw(path, "does not go with `retries`: the broker counts, by a limit of its own")


def transaction_flaws(broker: Broker | None, load: Load | None) -> Iterator[Flaw]:
    """Transactions that this broker, or a producer with these settings, does not have."""
    if broker is None or load is None or load.producers.transactions is None:
        return
    path = ("load", "producers", "transactions")
    if not isinstance(broker, Transacts):
        yield Flaw(path, "this broker has no transactions: leave it out")
        return
    for why in broker.transaction_problems(load.producers.settings):
        yield Flaw(path, f"does not go with these settings: {why}")


def forgetting_flaws(
    broker: Broker | None,
    stream: Any,  # noqa: ANN401 - the broker's own type
    verifiers: Mapping[str, Any],
) -> Iterator[Flaw]:
    """A threshold that could not be missed: queues forget what was consumed, and the rest has no
    positions by which copies could be told apart."""
    keeps = getattr(broker, "keeps", None)  # spi.HandsOut
    if stream is None or keeps is None or keeps(stream):
        return
    if getattr(verifiers.get("duplication"), "max_stored", None) is not None:
        what = "this stream keeps no message that was consumed: use max_delivered"
        yield Flaw(("expect", "duplication", "max_stored"), what)


def _aims(fault: Fault) -> set[str]:
    """The targets of a fault, spelled in one way."""
    aims = set()
    for text in shape(type(fault)).targets(fault).values():
        try:
            aims.add(str(parse_target(text)))
        except ValueError:
            continue  # told as a flaw of its own
    return aims
