"""The random walk on a real cluster: three Kafka brokers in containers, each with its own disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.clusters import Store, create
from chaos.errors import ChaosError, ClusterError
from chaos.experiment import load_experiment
from chaos.plugin import shape
from chaos.registry import load
from chaos.residue import marks_of_faults, scan
from chaos.timing import wait_until
from tests.e2e.tools import needs_docker
from tests.rig import Trouble, aimed
from tests.walk import Walk

pytestmark = [pytest.mark.full, pytest.mark.docker, pytest.mark.timeout(3000), needs_docker]
STEPS = int(os.environ.get("WALK_STEPS", "100"))
SEED = int(os.environ.get("WALK_SEED", "1"))
READY_WITHIN_S = 300.0
SHORT = {"within": "15s", "whole_within": "15s", "lasting": "200ms"}
"""Of faults that wait for a cluster that is whole, which one with other faults on it is not."""
EXPERIMENT = """
name: walk
cluster: {broker: kafka, nodes: 3, disk: {size: 512MiB, filesystem: ext4}}
stream: {partitions: 3, replicas: 2, settings: {min.insync.replicas: 1}}
load: {producers: {rate: 1/s}}
faults: []
"""


class Real:
    """A world of real nodes, links, packets and disks, in which trouble comes before and after each
    act on them."""

    def __init__(self, store: Store, directory: Path) -> None:
        (directory / "walk.yaml").write_text(EXPERIMENT)
        experiment = load_experiment(directory / "walk.yaml")
        self.store, self.trouble = store, Trouble()
        attached, stream = store.attach(), experiment.stream
        experiment.broker.prepare(attached.clients, stream, READY_WITHIN_S)
        self.observer = experiment.broker.observer(attached.clients, stream)
        self.bare = replace(attached, stream=stream, look=lambda: self.observer.observe(5.0))
        self.cluster = self._troubled_cluster()

    def _troubled_cluster(self) -> Any:
        whole = everything(self.bare)
        for kind in ("nodes", "links", "disks"):
            things = getattr(self.bare, kind).items()
            whole[kind] = {key: troubled(thing, self.trouble) for key, thing in things}
        packets, lose_power = troubled(self.bare.packets, self.trouble), whole["lose_power"]
        whole |= {"packets": packets, "lose_power": around(lose_power, self.trouble)}
        return SimpleNamespace(**whole)

    def aim(self, name: str, nodes: Sequence[str]) -> Any:
        """A fault that waits no longer than it has to."""
        cls = load("faults", name)
        keys = {each.key for each in shape(cls).parameters()}
        fault = aimed(cls, *nodes)
        short = {key: value for key, value in SHORT.items() if key in keys}
        return shape(cls).build({**shape(cls).dump(fault), **short})

    def forget(self) -> None:
        """There is no load."""

    def left_on(self) -> list[str]:
        """As `chaos doctor --residue` looks at it; a disk that has lost its power cannot be."""
        try:
            return list(marks_of_faults(self.bare, self.store.runtime()))
        except ClusterError as error:
            return [f"cannot be looked at: {error}"]


def everything(thing: Any) -> dict[str, Any]:
    """The public attributes of something, as they are now."""
    return {name: getattr(thing, name) for name in dir(thing) if name[0] != "_"}


def troubled(thing: Any, trouble: Trouble) -> Any:
    """The same with trouble before and after each call."""
    members = everything(thing)
    return SimpleNamespace(
        **{
            name: around(member, trouble) if callable(member) else member
            for name, member in members.items()
        }
    )


def around(act: Callable[..., Any], trouble: Trouble) -> Callable[..., Any]:
    def acted(*arguments: Any, **named: Any) -> Any:
        trouble(f"before {act.__name__}")
        done = act(*arguments, **named)
        trouble(f"after {act.__name__}")
        return done

    return acted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A kept cluster that is ready, ours alone."""
    (tmp_path / "walk.yaml").write_text(EXPERIMENT)
    experiment = load_experiment(tmp_path / "walk.yaml")
    made = create("docker", {"broker": "kafka", "nodes": 3}, True, experiment.machine)
    try:
        cluster = made.start()
        wait_until(
            lambda: not experiment.broker.ready(cluster.clients, 2.0), "Kafka", READY_WITHIN_S
        )
        made.update(ready=True)
        yield made
    finally:
        made.remove()
        made.release()


def test_nothing_is_left_on_a_real_cluster(store: Store, tmp_path: Path) -> None:
    """100 steps with every fault that needs no load: at every moment what is on is in the undo log,
    after each crash and in the end nothing is on, and then the residue scan finds nothing."""
    world = Real(store, tmp_path)
    walk = Walk(tmp_path, SEED, world)
    walk.classes = {
        name: cls for name, cls in walk.classes.items()
        if cls.claims != "client"
    }  # fmt: skip
    try:
        walk.walk(STEPS)
    finally:
        world.observer.close()
        print(dict(walk.done))  # noqa: T201 - what it did, for people
    store.release()
    assert [each for each in scan(_fail) if each.cluster == store.state.id] == []


def _fail(why: str) -> None:
    raise AssertionError(why)


def test_trouble_surrounds_every_call() -> None:
    """Before it and after it."""
    trouble = Trouble()
    thing = troubled(SimpleNamespace(name="x", act=lambda: 1), trouble)
    assert (thing.name, thing.act()) == ("x", 1)
    trouble.arm(1)
    with pytest.raises(ChaosError, match="after"):
        thing.act()
