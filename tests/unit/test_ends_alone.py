"""What docs/healing.md says of each fault whose tool and reaper are both dead."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from chaos import guard as guard_module
from chaos.guard import Guard
from chaos.history.events import EventLog
from chaos.registry import load, names
from chaos.spi import EndsAlone
from chaos.undo import UndoLog
from chaos_adapters.faults import links
from tests.rig import FakeRig, aimed, mesh
from tests.walk import Killed, Recorded, Serial

MOMENTS = 40


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for, and all is done in one order."""
    monkeypatch.setattr(guard_module, "PROVE_WITHIN_S", 0.0)
    monkeypatch.setattr(links, "_pool", Serial)


def left_by_a_death(name: str, moment: int, directory: Path) -> list[str]:
    """What is still on when the tool dies at a moment of this fault's injection, and its load with
    it, and nobody heals."""
    world = Recorded(mesh)
    fault = aimed(load("faults", name), "fake-1", "fake-2")
    events, undo = EventLog(directory / f"events-{moment}"), UndoLog(directory / f"undo-{moment}")
    guard = Guard(f"1-{name}", name, {}, fault, events, undo)
    guard.plan(FakeRig(world.cluster), Random(1))
    world.trouble.arm(moment, Killed)
    with suppress(Killed):
        guard.inject(world.cluster, threading.Event())
    world.forget()
    return world.left_on()


@pytest.mark.parametrize("name", names("faults"))
def test_a_fault_ends_alone_if_and_only_if_it_says_so(name: str, tmp_path: Path) -> None:
    """Whenever the tool dies, nothing is left of one that does; of any other there is a moment that
    leaves something, else people would be told to heal for nothing."""
    left = any(left_by_a_death(name, moment, tmp_path) for moment in range(MOMENTS))
    assert left is not isinstance(load("faults", name), EndsAlone)
