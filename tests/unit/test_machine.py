"""What each node gets of its place, from the file to the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from chaos.clusters import State, create, find_kept
from chaos.errors import Unavailable, UsageError
from chaos.experiment import Experiment, load_experiment, place_problems
from chaos.machine import PLAIN, Machine
from chaos.registry import Entry
from chaos.spi import Cluster, Effect, Injection, NeedsDisk, Presence, Rig, Target, Volume
from tests.unit import fake_plugins

GOOD = """\
name: x
cluster: {broker: fake, nodes: 3, disk: {size: 2GiB, filesystem: ext4}}
faults:
  - {at: 5s, for: 5s, fault: disk.rust, target: one}
"""


@dataclass(frozen=True)
class Rust:
    """A fault that acts on disks, of one kind."""

    claims: ClassVar[str] = "disk"
    needs_links: ClassVar[bool] = False

    target: Target

    def disk_problem(self, volume: Volume) -> str:
        return "" if volume.filesystem == "ext4" else "only ext4 rusts"

    def plan(self, rig: Rig, random: Random) -> Injection:
        return Injection(())

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        """Nothing."""

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        return Effect(Presence.NONE)

    heal = inject


@dataclass(frozen=True)
class Stop:
    """A fault that acts on clocks."""

    claims: ClassVar[str] = "clock"
    needs_links: ClassVar[bool] = False

    target: Target

    plan, inject, in_effect, heal = Rust.plan, Rust.inject, Rust.in_effect, Rust.heal


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rust = Entry("faults", "disk.rust", f"{__name__}:Rust", "fakes 1.0")
    stop = Entry("faults", "clock.stop", f"{__name__}:Stop", "fakes 1.0")
    fake_plugins.install(monkeypatch, rust, stop)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "home"))


def load(text: str) -> Experiment:
    Path("x.yaml").write_text(text)
    return load_experiment(Path("x.yaml"))


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        load(text)
    return [str(each) for each in raised.value.problems]


def test_the_disk_stands_beside_the_parameters_of_any_broker() -> None:
    """It is no parameter of the broker, and comes back out of what is written down."""
    it = load(GOOD)
    assert it.machine == Machine(Volume(2 << 30, "ext4"))
    assert "disk" not in vars(it.broker)
    assert Experiment.from_resolved(it.resolved).machine == it.machine
    assert isinstance(it.faults[0].fault, NeedsDisk)


def test_silence_means_no_disk() -> None:
    """An old record does not have the key at all."""
    it = load("name: x\ncluster: {broker: fake}\nfaults: []\n")
    del it.resolved["cluster"]["disk"]
    assert Experiment.from_resolved(it.resolved).machine == PLAIN


@pytest.mark.parametrize(
    ("disk", "told"),
    [
        ("", "faults.0.fault: disk.rust acts on disks of the nodes' own: write `disk: {"),
        (", disk: {filesystem: xfs}", "faults.0.fault: only ext4 rusts"),
        (", disk: {size: 10MiB, filesystem: ext4}", "size is 10485760B: at least 300MiB"),
        (", disk: {filesystem: zfs}", "cluster.disk.filesystem: should be 'xfs' or 'ext4'"),
        (", disk: 1GiB", "cluster.disk: "),
    ],
)
def test_a_disk_that_is_missing_or_wrong_is_told_before_anything_starts(
    disk: str, told: str
) -> None:
    """At its place in the file, with what to write."""
    text = GOOD.replace(", disk: {size: 2GiB, filesystem: ext4}", disk)
    found = problems(text)
    assert any(told in each for each in found), found


def test_a_runtime_without_disks_is_refused_with_one_that_has_them() -> None:
    """At validation."""
    it = load(GOOD)
    assert place_problems(it, "far", fake_plugins.Far) == []
    told = [str(each) for each in place_problems(it, "near", fake_plugins.Near)]
    where = "x.yaml:2:41: cluster.disk: the near runtime gives nodes no disks of their own"
    assert told == [f"{where}: use --runtime far"]
    with pytest.raises(Unavailable, match="no disks"):
        it.machine.on(fake_plugins.Near())  # type: ignore[arg-type]


def test_a_fault_of_clocks_needs_clocks_of_the_nodes_own() -> None:
    """Told at its place in the file; a runtime that has none is refused with one that has."""
    text = GOOD.replace("disk.rust", "clock.stop")
    (told,) = [each for each in problems(text) if "clock" in each]
    assert "faults.0.fault: clock.stop acts on clocks of the nodes' own: write `clock: own`" in told
    it = load(text.replace("{size: 2GiB, filesystem: ext4}", "null, clock: own"))
    assert it.machine == Machine(clock="own")
    assert Experiment.from_resolved(it.resolved).machine == it.machine
    assert place_problems(it, "far", fake_plugins.Far) == []
    (refused,) = [str(each) for each in place_problems(it, "near", fake_plugins.Near)]
    assert "cluster.clock: the near runtime gives nodes no clocks of their own" in refused
    with pytest.raises(Unavailable, match="no clocks"):
        it.machine.on(fake_plugins.Near())  # type: ignore[arg-type]


def test_a_kept_cluster_stands_in_only_for_one_with_the_same_disks() -> None:
    """Other disks make another cluster; what was recorded is what its runtime is asked for."""
    broker = {"broker": "fake", "nodes": 3}
    machine = Machine(Volume(1 << 30))
    store = create("far", broker, True, machine)
    store.update(ready=True)
    assert isinstance(store.runtime(), fake_plugins.Far)
    store.release()
    assert find_kept("far", broker) is None
    assert find_kept("far", broker, Machine(Volume(2 << 30))) is None
    again = find_kept("far", broker, machine)
    assert again is not None
    again.release()


def test_a_record_of_before_there_were_disks_is_one_without() -> None:
    """So an update of the tool does not lose clusters."""
    old: Mapping[str, object] = {"runtime": "far", "broker": {}, "keep": True, "ready": True}
    assert State(id="ab", **old).machine == {}  # type: ignore[arg-type]
