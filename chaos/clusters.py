"""The clusters of this user on this machine: one directory each, found again after any crash.

    $CHAOS_HOME/clusters/<id>/state.json    what it is: runtime, broker, whether it is to be kept
                              undo.jsonl    what faults have to be undone (chaos.undo)
                              lock          held (flock) by whoever uses the cluster now, whose
                                            process it names
                              runtime/      whatever the runtime keeps there

The kernel gives the lock back when its holder dies, however it dies: a cluster whose lock is free
and which nobody asked to keep is a leftover.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from chaos.attached import Attached
from chaos.errors import ClusterError, UsageError
from chaos.files import write_whole
from chaos.home import directories as directories
from chaos.home import home as home
from chaos.machine import PLAIN, Machine
from chaos.plugin import shape
from chaos.recorded import fields_of, rebuild
from chaos.registry import load
from chaos.spi import Broker, Json, Runtime


def _chosen_images() -> dict[str, str]:
    chosen = ((n, v) for n, v in os.environ.items() if n.startswith("CHAOS_"))
    return {name: value for name, value in chosen if name.endswith("_IMAGE")}


@dataclass(frozen=True)
class State:
    """What has to be known to find a cluster again. `broker` holds the plug-in's name and fields,
    `machine` what nodes get of the place, `images` the variables that chose container images when
    it was made."""

    id: str
    runtime: str
    broker: Json
    keep: bool
    ready: bool = False
    images: dict[str, str] = field(default_factory=_chosen_images)
    machine: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Equal for clusters that can stand in for each other."""
        text = json.dumps([self.runtime, self.broker, self.images, self.machine], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """One cluster's directory, locked for as long as this object holds it; the lock is None for
    somebody who only looks, and holds it otherwise."""

    def __init__(self, directory: Path, state: State, lock: int | None) -> None:
        self.directory, self.state = directory, state
        self._lock: int | None = lock

    @property
    def undo_path(self) -> Path:
        """Where the undo log lies."""
        return self.directory / "undo.jsonl"

    def runtime(self) -> Runtime:
        """The plug-in that runs it."""
        runtime: Runtime = load("runtimes", self.state.runtime)()
        machine = shape(Machine).build(self.state.machine)
        if isinstance(machine, list):
            flaws = ", ".join(flaw.what for flaw in machine)
            raise UsageError(f"its machines on record do not fit this version: {flaws}")
        return machine.on(runtime)

    def broker(self) -> Broker:
        """The plug-in that knows its system."""
        fields = dict(self.state.broker)
        broker: Broker = rebuild("brokers", fields.pop("broker"), fields)
        return broker

    def start(self) -> Attached:
        """Start it; see Runtime.start."""
        broker = self.broker()
        started = self.runtime().start(self.state.id, broker, self.directory / "runtime")
        return Attached(started, broker)

    def attach(self) -> Attached:
        """Find it again; see Runtime.attach."""
        broker = self.broker()
        return Attached(self.runtime().attach(broker, self.directory / "runtime"), broker)

    def update(self, *, keep: bool | None = None, ready: bool | None = None) -> None:
        """Change the state, on disk as well; None leaves a part as it is. Raises ClusterError."""
        self.state = replace(
            self.state,
            keep=self.state.keep if keep is None else keep,
            ready=self.state.ready if ready is None else ready,
        )
        path = self.directory / "state.json"
        try:
            write_whole(path, json.dumps(asdict(self.state), indent=1))
        except OSError as error:
            raise ClusterError(f"{path}: cannot be written: {error}") from error

    def remove(self) -> None:
        """Remove the cluster and then its directory."""
        self.runtime().remove(self.state.id, self.directory / "runtime")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Give up the lock, once; the cluster stays as it is."""
        # Closed a second time the number would be that of a file that somebody opened since.
        held, self._lock = self._lock, None
        if held is not None:
            unlock(held)


def lock(directory: Path, timeout_s: float = 0) -> int | None:
    """An open, locked descriptor; None when somebody else holds it for all of `timeout_s`."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.05)
        else:
            with suppress(OSError):  # a disk that is full hides its name only
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor


def holder(directory: Path) -> int | None:
    """The process that locked a cluster last; None where nobody did."""
    try:
        return int((directory / "lock").read_text())
    except (OSError, ValueError):
        return None


def unlock(descriptor: int) -> None:
    """Give back what `lock` gave."""
    os.close(descriptor)


def create(runtime: str, broker: Json, keep: bool, machine: Machine = PLAIN) -> Store:
    """A new cluster's directory, locked; nothing is started yet. Raises ClusterError."""
    identity = secrets.token_hex(4)
    directory = home() / "clusters" / identity
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise ClusterError(
            f"{directory}: cannot be made: {error}; set CHAOS_HOME to a directory of yours"
        ) from error
    held = lock(directory, 5)  # somebody's sweep may look into it just now
    if held is None:
        raise ClusterError(f"{directory}: cannot be locked; is CHAOS_HOME on a local file system?")
    store = Store(
        directory, State(identity, runtime, broker, keep, machine=fields_of(machine)), held
    )
    try:
        store.update()
    except ClusterError:
        # Without its state nobody could ever tell whose it is.
        shutil.rmtree(directory, ignore_errors=True)
        store.release()
        raise
    return store


def read_state(directory: Path) -> State | None:
    """The state of a cluster; None where there is none (it is being made or removed just now)."""
    try:
        return State(**json.loads((directory / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def open_store(directory: Path, timeout_s: float = 0) -> Store | None:
    """Lock an existing cluster; None when it is in use or not (any longer) a cluster."""
    held = lock(directory, timeout_s)
    if held is None:
        return None
    state = read_state(directory)
    if state is None:
        unlock(held)
        return None
    return Store(directory, state, held)


def find_kept(runtime: str, broker: Json, machine: Machine = PLAIN) -> Store | None:
    """A kept cluster, free now, that is just like the one asked for; locked."""
    wanted = State("", runtime, broker, keep=True, machine=fields_of(machine)).key
    for directory in directories():
        state = read_state(directory)
        if not (state and state.keep and state.ready and state.key == wanted):
            continue
        if store := open_store(directory):
            return store
    return None
