"""Faults on several clients at once."""

from __future__ import annotations

import threading
from random import Random
from typing import Any

import pytest

from chaos.errors import ClusterError
from chaos.registry import load
from tests.rig import FakeClient, FakeRig, aimed, mesh


@pytest.mark.parametrize(
    ("fault", "act"),
    [("client.crash", "start"), ("client.zombie", "supplant")],
)
def test_new_processes_come_up_at_the_same_time(
    fault: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one waits here for the other."""
    together, original = threading.Barrier(2, timeout=10), getattr(FakeClient, act)

    def meeting(client: FakeClient) -> None:
        together.wait()
        original(client)

    monkeypatch.setattr(FakeClient, act, meeting)
    cluster = mesh()
    it: Any = aimed(load("faults", fault), "fake-1", "fake-2")
    injection = it.plan(FakeRig(cluster), Random(1))
    it.inject(cluster, injection)
    it.heal(cluster, injection)
    assert not together.broken
    assert sum(client.acts.count(act) for client in cluster.load.values()) == 2


def test_one_that_does_not_come_up_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error all the same, so the heal is tried again."""
    cluster = mesh()
    it: Any = aimed(load("faults", "client.crash"), "fake-1", "fake-2")
    injection = it.plan(FakeRig(cluster), Random(1))
    it.inject(cluster, injection)
    first, second = (cluster.load[name] for name in injection.nodes)
    original = FakeClient.start

    def failing(client: FakeClient) -> None:
        if client is first:
            raise ClusterError("it ended")
        original(client)

    monkeypatch.setattr(FakeClient, "start", failing)
    with pytest.raises(ClusterError, match="it ended"):
        it.heal(cluster, injection)
    assert (first.now, second.now) == ("dead", "running")
