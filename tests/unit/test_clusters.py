"""The directories of clusters: one user each, found again after any crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from chaos import clusters, registry
from chaos.clusters import create, directories, find_kept, home, open_store, read_state
from chaos.errors import ClusterError, UsageError
from chaos.spi import Cluster
from tests.rig import plain

BROKER = {"broker": "tiny", "nodes": 3}


@dataclass(frozen=True)
class Tiny:
    """A broker."""

    nodes: int = 3


@dataclass(frozen=True)
class Nowhere:
    """A runtime that notes what it was asked."""

    asked: ClassVar[list[tuple[object, ...]]] = []

    def start(self, cluster_id: str, broker: Tiny, directory: Path) -> Cluster:
        self.asked.append(("start", cluster_id, broker, directory))
        return plain()  # type: ignore[return-value]

    def attach(self, broker: Tiny, directory: Path) -> Cluster:
        self.asked.append(("attach", broker, directory))
        return plain()  # type: ignore[return-value]

    def remove(self, cluster_id: str, directory: Path) -> None:
        self.asked.append(("remove", cluster_id, directory))


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and the two plug-ins."""
    found = {
        "brokers": registry.Entry("brokers", "tiny", f"{__name__}:Tiny", "tests"),
        "runtimes": registry.Entry("runtimes", "nowhere", f"{__name__}:Nowhere", "tests"),
    }
    monkeypatch.setattr(registry, "discover", lambda kind: (found[kind],))
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "home"))
    Nowhere.asked.clear()
    return tmp_path / "home"


def make(keep: bool = False, ready: bool = False, nodes: int = 3) -> clusters.Store:
    store = create("nowhere", {"broker": "tiny", "nodes": nodes}, keep)
    store.update(ready=ready)
    return store


def test_home_is_what_was_chosen_else_the_state_directory(
    monkeypatch: pytest.MonkeyPatch, at_home: Path
) -> None:
    """CHAOS_HOME, XDG_STATE_HOME, ~/.local/state."""
    assert home() == at_home
    monkeypatch.delenv("CHAOS_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert home() == Path("/xdg/mqchaos")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/me")
    assert home() == Path("/me/.local/state/mqchaos")


def test_a_cluster_is_found_again_with_its_state() -> None:
    """What another process needs is on the disk."""
    store = make(keep=True)
    store.release()
    assert list(directories()) == [store.directory]
    again = open_store(store.directory)
    assert again
    assert again.state == store.state
    assert again.broker() == Tiny(3)
    assert isinstance(again.runtime(), Nowhere)
    again.attach()
    again.start()
    where = again.directory / "runtime"
    assert Nowhere.asked == [
        ("attach", Tiny(3), where), ("start", again.state.id, Tiny(3), where),
    ]  # fmt: skip
    again.release()


def test_whoever_uses_a_cluster_uses_it_alone() -> None:
    """Not even the same process gets it twice; it is free again after `release`."""
    store = make()
    assert open_store(store.directory) is None
    assert open_store(store.directory, timeout_s=0.1) is None
    store.release()
    again = open_store(store.directory)
    assert again
    again.release()


HOLD = """
import sys
from pathlib import Path
from chaos.clusters import open_store
assert open_store(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_ends_with_its_holder_however_that_dies() -> None:
    """After a `kill -9` the cluster is free at once: nobody has to tidy a lock file away."""
    store = make()
    store.release()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.directory)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == b"held\n"
        assert open_store(store.directory) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        again = open_store(store.directory)
        assert again
        again.release()
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdin.close()
        holder.stdout.close()


def test_a_child_does_not_inherit_the_lock() -> None:
    """A broker that outlives the tool must not hold its cluster."""
    store = make()
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        store.release()
        again = open_store(store.directory)
        assert again
        again.release()
    finally:
        child.kill()
        child.wait(10)


def test_giving_up_twice_closes_nothing_of_somebody_else() -> None:
    """The number of a closed descriptor belongs to the next file that is opened."""
    store = make()
    store.release()
    other = os.open("/dev/null", os.O_RDONLY)
    store.release()
    os.fstat(other)
    os.close(other)


def test_removing_takes_the_cluster_away_then_its_directory_then_the_lock() -> None:
    """The runtime may still need the directory; a second `release` does no harm."""
    store = make()
    store.remove()
    assert Nowhere.asked == [("remove", store.state.id, store.directory / "runtime")]
    assert not store.directory.exists()
    assert list(directories()) == []
    other = os.open("/dev/null", os.O_RDONLY)
    store.release()
    os.fstat(other)
    os.close(other)


@pytest.mark.parametrize("text", [None, "", '{"id": "x", "runt', "[]", "null", '{"id": "x"}'])
def test_a_state_that_is_torn_or_of_another_kind_is_no_state(text: str | None) -> None:
    """It is being made, or was written by something else: left alone, never a crash."""
    store = make()
    store.release()
    path = store.directory / "state.json"
    path.unlink() if text is None else path.write_text(text)
    assert read_state(store.directory) is None
    assert open_store(store.directory) is None
    path.write_text(json.dumps(vars(store.state)))
    again = open_store(store.directory)  # and the failed attempt did not keep the lock
    assert again
    again.release()


def test_a_state_is_replaced_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the middle of an update leaves the old state."""
    store = make(keep=True)

    def crash(descriptor: int) -> None:
        raise OSError("as if the power failed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(ClusterError, match="power"):
            store.update(ready=True)
    found = read_state(store.directory)
    assert found
    assert not found.ready
    store.release()


def test_a_kept_cluster_is_found_by_what_it_is() -> None:
    """Same runtime, same broker, ready, asked to be kept and free; anything else is not it."""
    stores = [make(), make(keep=True), make(ready=True), make(True, True, nodes=1)]
    for store in stores:
        store.release()
    assert find_kept("nowhere", BROKER) is None
    wanted = make(keep=True, ready=True)
    assert find_kept("nowhere", BROKER) is None  # in use
    wanted.release()
    found = find_kept("nowhere", dict(reversed(BROKER.items())))
    assert found
    assert found.directory == wanted.directory
    assert find_kept("nowhere", BROKER) is None  # now by us
    found.release()
    assert find_kept("elsewhere", BROKER) is None


def test_a_kept_cluster_of_another_image_is_another_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People test the image that they ship."""
    monkeypatch.setenv("CHAOS_TINY_IMAGE", "tiny:1")
    make(keep=True, ready=True).release()
    monkeypatch.setenv("CHAOS_TINY_IMAGE", "tiny:2")
    assert find_kept("nowhere", BROKER) is None
    monkeypatch.setenv("CHAOS_TINY_IMAGE", "tiny:1")
    found = find_kept("nowhere", BROKER)
    assert found
    found.release()


def test_a_home_that_cannot_be_made_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variable to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path / "file"))
    with pytest.raises(ClusterError, match="set CHAOS_HOME"):
        make()
    assert list(directories()) == []


def test_a_broker_of_another_version_is_told() -> None:
    """A field that is not known any more must not be dropped in silence."""
    store = create("nowhere", {"broker": "tiny", "flavour": "old"}, keep=True)
    with pytest.raises(UsageError, match="flavour"):
        store.broker()
    store.release()
