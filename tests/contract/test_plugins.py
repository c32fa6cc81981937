"""What the engine relies on in every registered runtime, fault and verifier."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from random import Random
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.errors import ChaosError
from chaos.history.schema import TABLES
from chaos.plugin import shape, summary
from chaos.recorded import fields_of, rebuild
from chaos.registry import KINDS, load, names
from chaos.spi import (
    ANOMALY_LIMIT,
    Batch,
    Effect,
    Fault,
    Finding,
    Handling,
    Injection,
    Kind,
    Momentary,
    Outcome,
    Presence,
    Question,
    Runtime,
    Verdict,
    Verifier,
)
from tests.histories import Attempt, Copy, History, Piece, Send
from tests.rig import NAMES, FakeMesh, FakeRig, Trouble, aimed, mesh, sample

PROTOCOLS = {"runtimes": Runtime, "faults": Fault, "verifiers": Verifier}
ATTRIBUTES = {
    "runtimes": {"meshed": bool},
    "faults": {"claims": str, "needs_links": bool},
    "verifiers": {"question": str, "tables": frozenset},
}
PLUGINS = [(kind, name) for kind in PROTOCOLS for name in names(kind)]
every_plugin = pytest.mark.parametrize(
    ("kind", "name"), PLUGINS, ids=[f"{kind}-{name}" for kind, name in PLUGINS]
)
every_fault = pytest.mark.parametrize("name", names("faults"))
every_verifier = pytest.mark.parametrize("name", names("verifiers"))


def signature(function: Any) -> list[tuple[str, Any]]:
    return [(each.name, each.kind) for each in inspect.signature(function).parameters.values()]


def methods(protocol: type[Any]) -> list[str]:
    return [
        name for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]  # fmt: skip


def test_the_built_in_ones_are_registered() -> None:
    """The tests below are about them."""
    assert {"docker", "local"} <= set(names("runtimes"))
    assert {"network.partition", "process.kill", "process.pause"} <= set(names("faults"))
    assert set(Question) <= set(names("verifiers"))
    assert set(PROTOCOLS) | {"brokers"} == set(KINDS)


# --------------------------------------------------------------------------------- all of them


@every_plugin
def test_it_is_frozen_data_with_every_method_of_its_protocol(kind: str, name: str) -> None:
    """Nothing needs to be inherited, and the engine may call by position or by name."""
    cls, protocol = load(kind, name), PROTOCOLS[kind]
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert cls.__mro__[1:] == (object,)
    assert len(methods(protocol)) >= 4
    for method in methods(protocol):
        assert signature(getattr(cls, method)) == signature(getattr(protocol, method)), method


@every_plugin
def test_its_class_attributes_are_there_and_no_parameters(kind: str, name: str) -> None:
    """They are known without an instance, and nobody can set them in a file."""
    cls = load(kind, name)
    for attribute, of in ATTRIBUTES[kind].items():
        assert isinstance(getattr(cls, attribute), of)
        assert attribute not in {each.name for each in fields(cls)}


@every_plugin
def test_it_says_what_it_is_in_its_first_sentence(kind: str, name: str) -> None:
    """`chaos plugins` shows it: a sentence, not the signature that dataclasses make up."""
    cls = load(kind, name)
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")
    assert 10 <= len(summary(cls)) <= 240
    assert inspect.getmodule(cls).__doc__  # type: ignore[union-attr]


@every_plugin
def test_every_parameter_can_be_written_read_and_explained(kind: str, name: str) -> None:
    """Of a type that people are told of by name; JSON and back gives an equal plug-in."""
    cls = load(kind, name)
    plugin = sample(cls)
    assert rebuild(kind, name, json.loads(json.dumps(fields_of(plugin)))) == plugin
    assert hash(plugin) == hash(sample(cls)) or "dict" in str(get_type_hints(cls))
    for parameter in shape(cls).parameters():
        assert "Annotated" not in parameter.type, parameter
        assert "[" not in parameter.type, parameter


@every_plugin
def test_an_unknown_parameter_is_refused(kind: str, name: str) -> None:
    """A typing mistake never becomes a default."""
    flaws = shape(load(kind, name)).build({"surely_no_parameter": 1})
    assert isinstance(flaws, list)
    assert any("surely_no_parameter" in str(flaw.path) for flaw in flaws)


# --------------------------------------------------------------------------------------- faults


def planned(name: str, cluster: FakeMesh) -> tuple[Any, Injection]:
    fault = aimed(load("faults", name), "fake-1", "fake-2")
    return fault, fault.plan(FakeRig(cluster), Random(1))


@every_fault
def test_it_has_a_target_and_says_what_it_takes_hold_of(name: str) -> None:
    """Two faults that would fight are found before anything starts."""
    cls = load("faults", name)
    assert shape(cls).target_keys or cls.claims == "leaders"  # all of a stream has no target
    assert cls.claims in {
        "process", "network", "network.delay", "network.rate", "node", "disk", "clock", "memory",
        "cpu", "client", "replicas", "leaders",
    }  # fmt: skip
    assert name == name.lower()
    assert name.count(".") == 1


@every_fault
def test_planning_only_looks_and_decides_the_same_for_the_same_seed(name: str) -> None:
    """No act on any node or link; what it decided can be written to the disk and read again."""
    cluster = mesh()
    fault, injection = planned(name, cluster)
    assert cluster.left_on == []
    assert not cluster.broker.acts
    assert not any(node.acts for node in cluster.nodes.values())
    assert not any(link.acts for link in cluster.links.values())
    assert not any(client.acts for client in cluster.load.values())
    assert not any(disk.acts for disk in cluster.disks.values())
    whose = "client" if load("faults", name).claims == "client" else "fake"
    aimed_at = (f"{whose}-1", f"{whose}-2")
    assert injection.nodes == (aimed_at if shape(type(fault)).target_keys else NAMES)
    assert json.loads(json.dumps(injection.data)) == injection.data
    assert planned(name, mesh())[1] == injection


@every_fault
def test_measuring_only_looks(name: str) -> None:
    """Before, while it is on, and afterwards; figures can be written to the disk."""
    cluster = mesh()
    fault, injection = planned(name, cluster)
    for step, presence in (
        (lambda *_: None, Presence.NONE),
        (fault.inject, Presence.FULL),
        (fault.heal, Presence.FULL if isinstance(fault, Momentary) else Presence.NONE),
    ):
        step(cluster, injection)
        before = acts(cluster)
        for _ in range(2):
            effect = fault.in_effect(cluster, injection)
            assert effect.presence is presence
            assert json.dumps(effect.figures)
        assert acts(cluster) == before


def acts(cluster: FakeMesh) -> list[list[str]]:
    acting = (
        *cluster.nodes.values(), *cluster.links.values(), *cluster.load.values(),
        *cluster.disks.values(), cluster.broker, cluster.packets, cluster.memories,
        cluster.clocks,
    )  # fmt: skip
    return [each.acts[:] for each in acting]


def presence_left(fault: Any, cluster: FakeMesh, injection: Injection) -> Presence:
    """What a heal has to bring to NONE."""
    look = fault.residue if isinstance(fault, Momentary) else fault.in_effect
    effect: Effect = look(cluster, injection)
    return effect.presence


def moments_of(trouble: Trouble, act: Any) -> int:
    before = len(trouble.moments)
    act()
    return len(trouble.moments) - before


@every_fault
def test_heal_restores_after_none_some_or_all_of_inject_and_twice(name: str) -> None:
    """An error at each moment of `inject` in turn, before, between and after its acts; healed by a
    fault and an injection that were read from the disk."""
    cluster = mesh()
    fault, injection = planned(name, cluster)
    moments = moments_of(cluster.trouble, lambda: fault.inject(cluster, injection))
    assert moments
    assert bool(cluster.left_on) is not isinstance(fault, Momentary)
    for moment in range(moments + 1):
        cluster = mesh()
        fault, injection = planned(name, cluster)
        cluster.trouble.arm(moment)
        try:
            fault.inject(cluster, injection)
        except ChaosError:
            assert moment < moments
        cluster.trouble.disarm()
        data = json.loads(json.dumps(injection.data))
        again = rebuild("faults", name, json.loads(json.dumps(fields_of(fault))))
        for _ in range(2):
            again.heal(cluster, Injection(injection.nodes, data))
            assert cluster.left_on == [], moment
            assert presence_left(again, cluster, injection) is Presence.NONE


@every_fault
def test_a_heal_that_failed_half_way_can_be_repeated(name: str) -> None:
    """An error at each moment of `heal` in turn; the next one does the rest."""
    moment = 0
    while True:
        cluster = mesh()
        fault, injection = planned(name, cluster)
        fault.inject(cluster, injection)
        cluster.trouble.arm(moment)
        try:
            fault.heal(cluster, injection)
        except ChaosError:
            moment += 1
        else:
            break
        cluster.trouble.disarm()
        fault.heal(cluster, injection)
        assert cluster.left_on == []
    assert moment > 0 or fault.claims == "leaders"  # there is nothing to heal


@every_fault
def test_injecting_twice_and_healing_once_leaves_nothing(name: str) -> None:
    """Acts are idempotent, so a repeated one needs no second undo."""
    cluster = mesh()
    fault, injection = planned(name, cluster)
    fault.inject(cluster, injection)
    fault.inject(cluster, injection)
    fault.heal(cluster, injection)
    assert cluster.left_on == []


# ------------------------------------------------------------------------------------ verifiers


def history(data: st.DataObject) -> History:
    """Any records at all, right or not: they only have to be well formed."""
    numbers = st.integers(0, 12)
    found = History(load_s=(0.0, 1.0))
    for producer in range(2):
        for sequence in range(data.draw(numbers)):
            outcome = data.draw(st.sampled_from([Outcome.OK] * 3 + list(Outcome)))
            ok = outcome is Outcome.OK
            due_s = sequence * 0.05
            found.sends.append(Send(
                sequence, data.draw(st.integers(0, 1)), sequence * 2 + producer if ok else -1,
                due_s, due_s + data.draw(st.floats(0.001, 0.5)), producer=producer, outcome=outcome,
            ))  # fmt: skip
    for records in (found.deliveries, found.stored, found.dead):
        for _ in range(data.draw(numbers)):
            sequence = data.draw(numbers)
            records.append(Copy(
                sequence, data.draw(st.integers(0, 1)), data.draw(st.integers(0, 30)),
                data.draw(st.floats(0.001, 2.0)), data.draw(st.integers(-1, 2)),
                client=data.draw(st.integers(0, 2)), intact=data.draw(st.booleans()),
                kind=data.draw(st.sampled_from([Kind.NORMAL, *Kind])),
            ))  # fmt: skip
    for _ in range(data.draw(numbers)):
        started_s = data.draw(st.floats(0.001, 2.0))
        found.handlings.append(Attempt(
            data.draw(numbers), data.draw(st.sampled_from(Handling)), data.draw(numbers),
            started_s, started_s + data.draw(st.floats(0, 1.0)),
            client=data.draw(st.integers(0, 2)),
        ))  # fmt: skip
    found.sends.sort(key=lambda send: send.done_s)
    found.deliveries.sort(key=lambda copy: copy.received_s)
    found.ends = {0: (0, 31, 31), 1: (0, 31, 31)}
    found.held = {node: {0: (0, 8, 8)} for node in ("a", "b")}
    found.replicas = [
        Piece(node, offset, digest=data.draw(st.integers(0, 1)))
        for node in found.held for offset in range(8) if data.draw(st.booleans())
    ]  # fmt: skip
    found.dead_ends = data.draw(st.sampled_from([None, {}, found.ends]))
    return found


def folded(verifier: Any, batches: list[Batch]) -> Any:
    state = verifier.start()
    for batch in batches:
        if batch.table in verifier.tables:
            state = verifier.fold(state, batch)
    return state


def shards(batches: list[Batch], data: st.DataObject) -> list[list[Batch]]:
    """The batches of each client go to one of three shards, in any order of the clients."""
    found: list[list[Batch]] = [[], [], []]
    clients = data.draw(st.permutations(sorted({batch.client for batch in batches})))
    for client in clients:
        number = data.draw(st.integers(0, 2))
        found[number] += [batch for batch in batches if batch.client == client]
    return found


@every_verifier
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_states_are_a_commutative_monoid(name: str, data: st.DataObject) -> None:
    """However the clients are put into shards, and however these are merged, the finding is that of
    one pass; the empty state changes nothing."""
    verifier, made = sample(load("verifiers", name)), history(data)
    batches, facts = made.batches(data.draw(st.integers(1, 9))), made.facts()
    parts = shards(batches, data)

    def states() -> list[Any]:  # anew each time, as `merge` may change its arguments
        return [folded(verifier, part) for part in parts]

    def merged(states: list[Any]) -> Finding:
        first, *others = states
        for other in others:
            first = verifier.merge(first, other)
        return verifier.finish(first, facts)

    expected = verifier.finish(folded(verifier, batches), facts)
    order = data.draw(st.permutations(range(3)))
    assert merged([states()[index] for index in order]) == expected
    one, two, three = states()
    assert merged([one, verifier.merge(two, three)]) == expected
    assert merged([verifier.start(), *states(), verifier.start()]) == expected


@every_verifier
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_finding_is_complete_and_can_be_written_down(name: str, data: st.DataObject) -> None:
    """A verdict with its reason in one sentence, figures with units, rows alike, at most so many
    anomalies; nothing in it is a number that JSON cannot write."""
    verifier, made = sample(load("verifiers", name)), history(data)
    finding = verifier.finish(folded(verifier, made.batches()), made.facts())
    assert isinstance(finding.verdict, Verdict)
    assert finding.why.strip().endswith((".", "!"))
    for figure in finding.figures:
        assert figure.name
        assert figure.unit
        assert (figure.ok is None) == (not figure.threshold), figure
        json.dumps(figure.value, allow_nan=False)
    assert len({tuple(row) for row in finding.details}) <= 1
    json.dumps(finding.details, allow_nan=False)
    assert len(finding.anomalies) <= ANOMALY_LIMIT
    assert all(isinstance(anomaly.sequence, int) for anomaly in finding.anomalies)


@every_verifier
def test_it_says_which_tables_it_wants_and_asks_in_plain_words(name: str) -> None:
    """For the table at the end; it is shown no other table."""
    cls = load("verifiers", name)
    assert cls.tables
    assert cls.tables <= set(TABLES)
    assert cls.question.endswith("?")


@every_verifier
def test_nothing_recorded_is_no_crash_and_no_pass_by_accident(name: str) -> None:
    """An empty history has an answer, too; whatever it is, it is no FAIL, as nothing was seen."""
    verifier = sample(load("verifiers", name))
    finding = verifier.finish(verifier.start(), History().facts())
    assert finding.verdict is not Verdict.FAIL
    assert finding.anomalies == ()
