"""A fault that does not bite gives UNKNOWN, whichever it is."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaos import guard as guard_module
from chaos.guard import Guard, Stage
from chaos.history.events import EventLog
from chaos.judge import judge
from chaos.plugin import shape
from chaos.registry import load, names
from chaos.spi import Json, Verdict
from chaos.timing import wait_until
from chaos.undo import UndoLog
from chaos_verifiers.loss import Loss
from tests.histories import at, right
from tests.rig import FakeMesh, FakeRig, aimed, mesh, toothless


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(guard_module, "PROVE_WITHIN_S", 0.0)
    monkeypatch.setattr(guard_module, "HEAL_WITHIN_S", 0.0)
    for name, module in list(sys.modules.items()):
        if name.startswith("chaos_adapters.faults") and hasattr(module, "wait_until"):
            monkeypatch.setattr(module, "wait_until", look_once)


def look_once(look: Any, what: str, timeout_s: float, **_: Any) -> Any:
    """`wait_until` that never waits."""
    return wait_until(look, what, 0)


def lived(name: str, cluster: FakeMesh, directory: Path) -> tuple[Guard, list[Json]]:
    """A whole life of a fault, as a schedule has it; and its events, in the middle of a run."""
    directory.mkdir()
    fault = aimed(load("faults", name), "fake-1", "fake-2")
    events: list[Json] = []
    log = EventLog(directory / "events")
    log.listen(events.append)
    parameters = shape(type(fault)).dump(fault)
    guard = Guard(f"1-{name}", name, parameters, fault, log, UndoLog(directory / "undo"))
    guard.plan(FakeRig(cluster), Random(1))
    guard.inject(cluster, threading.Event())
    guard.look_again(cluster)
    stage = guard.stage
    for one in (*cluster.nodes.values(), *cluster.disks.values()):
        one.deaf.clear()
    for link in cluster.links.values():
        link.leaky.clear()
    for client in cluster.load.values():
        client.deaf.clear()
    cluster.broker.deaf = cluster.packets.deaf = False
    cluster.clocks.deaf = cluster.memories.tough = False
    guard.heal(cluster, ())
    guard.stage = stage
    return guard, [{**event, "time_ns": at(0.4) + index} for index, event in enumerate(events)]


def verdict(directory: Path, guard: Guard, events: list[Json]) -> tuple[Verdict, str]:
    """Of a run in which all messages arrived, with this fault in it."""
    history = right(100)
    history.more_events = events
    history.write(directory)
    document = judge(directory, {"loss": Loss()}, [])
    return document.verdict, " ".join(document.preconditions)


@pytest.mark.parametrize("name", names("faults"))
def test_a_fault_that_cannot_bite_makes_the_verdict_unknown(name: str, tmp_path: Path) -> None:
    """On a cluster on which every act seems to work: it is not proved, and the reason names it.
    Where it can bite the same life gives PASS, so it is the proof that decides."""
    guard, events = lived(name, toothless(), tmp_path / "deaf")
    assert guard.stage is Stage.UNPROVED
    found, why = verdict(tmp_path / "deaf", guard, events)
    assert found is Verdict.UNKNOWN
    assert f"1-{name}" in why
    guard, events = lived(name, mesh(), tmp_path / "real")
    assert guard.stage is Stage.PROVED
    assert verdict(tmp_path / "real", guard, events)[0] is Verdict.PASS


def test_a_partition_of_links_that_nobody_uses_is_not_proved(tmp_path: Path) -> None:
    """All nodes behind them are dead, so no byte could be missing."""
    cluster = mesh()
    guard = planned("network.partition", cluster, tmp_path)
    for node in cluster.nodes.values():
        node.kill()
    assert not guard.inject(cluster, threading.Event())
    assert guard.stage is Stage.UNPROVED


@pytest.mark.parametrize("name", ["process.kill", "process.stop", "process.pause"])
def test_a_node_that_somebody_brings_back_at_once_is_not_proved(name: str, tmp_path: Path) -> None:
    """As a supervisor does: what is measured before the heal takes the proof back."""
    cluster = mesh()
    guard = planned(name, cluster, tmp_path)
    assert guard.inject(cluster, threading.Event())
    for node in cluster.nodes.values():
        node.start()
        node.resume()
    guard.look_again(cluster)
    assert guard.stage is Stage.UNPROVED


def planned(name: str, cluster: FakeMesh, directory: Path) -> Guard:
    """A fault that is about to be injected."""
    fault = aimed(load("faults", name), "fake-1")
    log = EventLog(directory / "events")
    parameters = shape(type(fault)).dump(fault)
    guard = Guard("1-x", name, parameters, fault, log, UndoLog(directory / "undo"))
    guard.plan(FakeRig(cluster), Random(1))
    return guard
