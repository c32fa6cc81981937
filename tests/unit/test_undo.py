"""The undo log: on disk before the act, whatever happens to the disk or the writer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos import files
from chaos.errors import FaultError, HealError
from chaos.guard import Guard
from chaos.history.events import EventLog
from chaos.spi import Cluster, Effect, Injection, Presence, Rig
from chaos.undo import Entry, UndoLog
from tests.rig import FakeRig, plain


def entry(identity: str, nodes: tuple[str, ...] = ("fake-1",)) -> Entry:
    return Entry(identity, "process.kill", {"target": "fake-1"}, nodes, {"n": [1, 2]}, ("fake-1",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "undo.jsonl"


@dataclass(frozen=True)
class Asserting:
    """A fault that looks at the disk while it is injected and while it is healed."""

    claims: ClassVar[str] = "process"
    needs_links: ClassVar[bool] = False

    check: Callable[[str], None]

    def plan(self, rig: Rig, random: Random) -> Injection:
        self.check("plan")
        return Injection(("fake-2",), {"answer": 42})

    def inject(self, cluster: Cluster, injection: Injection) -> None:
        self.check("inject")

    def in_effect(self, cluster: Cluster, injection: Injection) -> Effect:
        return Effect(Presence.FULL)

    def heal(self, cluster: Cluster, injection: Injection) -> None:
        self.check("heal")


def test_the_entry_is_complete_on_the_disk_before_the_act(path: Path, tmp_path: Path) -> None:
    """At the moment of `inject` the log, read anew from the disk, has all that heal needs."""
    seen: dict[str, list[Entry]] = {}
    fault = Asserting(lambda step: seen.update({step: UndoLog(path).pending()}))
    guard = Guard("1-x", "x", {"a": 1}, fault, EventLog(tmp_path / "events"), UndoLog(path))
    cluster = plain()
    guard.plan(FakeRig(cluster), Random(1))
    assert guard.inject(cluster, threading.Event())
    everything = ("fake-1", "fake-2", "fake-3")
    expected = Entry("1-x", "x", {"a": 1}, ("fake-2",), {"answer": 42}, everything)
    assert seen == {"plan": [], "inject": [expected]}


def test_recording_returns_after_the_disk_has_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is synchronised to the disk already has the whole line in it."""
    synced: list[bytes] = []

    def fsync(descriptor: int) -> None:
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    UndoLog(path).record(entry("a"))
    assert synced
    assert json.loads(synced[-1])["undo"] == "a"


def test_pending_comes_latest_first_and_without_what_is_done(path: Path) -> None:
    """Faults are undone in the opposite order; tuples are tuples again."""
    log = UndoLog(path)
    for name in ("a", "b", "c"):
        log.record(entry(name, ("fake-1", "fake-2")))
    log.done("b")
    assert UndoLog(path).pending() == [entry(n, ("fake-1", "fake-2")) for n in ("c", "a")]


def test_done_is_idempotent_and_of_the_unknown_does_nothing(path: Path) -> None:
    """Tool and reaper may both have healed it."""
    log = UndoLog(path)
    log.record(entry("a"))
    log.record(entry("b"))
    for name in ("b", "b", "never heard of"):
        log.done(name)
    assert log.pending() == [entry("a")]


def test_a_name_that_is_done_can_be_used_again(path: Path) -> None:
    """The next run on a kept cluster has the same numbers."""
    log = UndoLog(path)
    log.record(entry("a"))
    log.done("a")
    log.record(entry("a", ("fake-3",)))
    assert log.pending() == [entry("a", ("fake-3",))]


def test_nothing_was_ever_recorded(path: Path) -> None:
    """No file, nothing to undo."""
    assert UndoLog(path).pending() == []


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_torn_last_line_costs_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Killed in the middle of a write: what was recorded before is pending, and what is recorded
    or done afterwards counts, although the torn text is still there."""
    path = tmp_path_factory.mktemp("t2") / "undo.jsonl"
    log = UndoLog(path)
    log.record(entry("a"))
    whole = path.read_bytes()
    log.record(entry("b"))
    length = data.draw(st.integers(0, len(path.read_bytes()) - len(whole) - 2))
    path.write_bytes(path.read_bytes()[: len(whole) + length])
    again = UndoLog(path)
    assert again.pending() == [entry("a")]
    again.record(entry("c"))
    assert again.pending() == [entry("c"), entry("a")]
    again.done("a")
    assert again.pending() == [entry("c")]


def test_done_right_after_a_torn_line_counts(path: Path) -> None:
    """The reaper heals after the tool was killed while it wrote."""
    log = UndoLog(path)
    log.record(entry("a"))
    with path.open("ab") as file:
        file.write(b'{"undo": "b", "fau')
    log.done("a")
    assert log.pending() == []


def test_what_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    """A FaultError: then nothing may be injected."""
    with pytest.raises(FaultError, match="could not be undone"):
        UndoLog(tmp_path / "no such directory" / "undo").record(entry("a"))


def test_a_log_that_cannot_be_read_is_no_empty_log(tmp_path: Path) -> None:
    """Otherwise a fault would be forgotten."""
    with pytest.raises(HealError, match="cannot be read"):
        UndoLog(tmp_path).pending()


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_disk_that_takes_half_a_line_has_not_recorded_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A full disk takes part of a write without an error: that is no record, and what is recorded
    once there is room again counts."""
    log = UndoLog(path)
    log.record(entry("a"))
    write, left = os.write, [room]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", full)
        with pytest.raises(FaultError, match="No space left"):
            log.record(entry("b"))
    assert log.pending() == [entry("a")]
    log.record(entry("c"))
    assert log.pending() == [entry("c"), entry("a")]


def test_many_threads_write_whole_lines(path: Path) -> None:
    """Overlapping faults record and finish at the same time."""
    log = UndoLog(path)

    def life(number: int) -> None:
        for turn in range(5):
            log.record(entry(f"{number}.{turn}"))
            if turn % 2:
                log.done(f"{number}.{turn}")

    threads = [threading.Thread(target=life, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = {found.undo for found in log.pending()}
    assert left == {f"{number}.{turn}" for number in range(6) for turn in (0, 2, 4)}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_new_file_is_synced_with_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of a file alone does not keep its name in the directory: after a power loss the log
    would be gone, whole as it was."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    log = UndoLog(path)
    log.record(entry("1"))
    assert synced == [str(path), str(path.parent)]
    log.done("1")
    assert synced[2:] == [str(path)]
    synced.clear()
    files.write_whole(path, "{}")
    assert synced[-1] == str(path.parent)
    assert len(synced) == 2
