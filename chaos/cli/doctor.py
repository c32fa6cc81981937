"""`chaos doctor`: what works on this machine, and what would help."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Protocol, runtime_checkable

import psutil
import typer

from chaos import clusters, registry, residue
from chaos.errors import ChaosError, ClusterError
from chaos.plugin import shape
from chaos.spi import Broker, Runtime
from chaos.ui.text import clean, listed
from chaos.undo import UndoLog

_ENOUGH_DISK = 5 << 30
_ENOUGH_MEMORY = 2 << 30


def doctor(runs: Path) -> None:
    """Tell all of it."""
    for line in [*_software(), *_machine(runs), *_leftovers()]:
        typer.echo(clean(line))
    runs_somewhere = False
    for name in registry.names("runtimes"):
        typer.echo(f"runtime {name}")
        for line in described(name):
            typer.echo(clean(f"  {line}"))
        for broker in registry.names("brokers"):
            reasons, lacks = _why_not(broker, name)
            runs_somewhere = runs_somewhere or not reasons
            typer.echo(clean(f"  {broker}: {'; '.join(reasons or ['ok', *lacks])}"))
    if not runs_somewhere:
        raise typer.Exit(ClusterError.exit_code)


@runtime_checkable
class Described(Protocol):
    """Ability of a runtime: it tells what it found on this machine, such as versions."""

    def describe(self) -> Sequence[str]:
        """A line for each thing."""


@runtime_checkable
class Lacking(Protocol):
    """Ability of a runtime: it tells what a broker that runs there cannot have."""

    def lacks(self, broker: Broker) -> Sequence[str]:
        """Each with what would help."""


def described(runtime_name: str) -> Sequence[str]:
    try:
        runtime = registry.load("runtimes", runtime_name)()
        return runtime.describe() if isinstance(runtime, Described) else ()
    except ChaosError:
        return ()  # told as the reason why nothing runs there


def _why_not(broker_name: str, runtime_name: str) -> tuple[Sequence[str], Sequence[str]]:
    """Why it does not run there, and what it lacks if it does."""
    try:
        broker = shape(registry.load("brokers", broker_name)).build({})
        if isinstance(broker, list):
            return ["not known, as it needs parameters"], ()
        runtime: Runtime = registry.load("runtimes", runtime_name)()
        if reasons := runtime.check(broker):
            return reasons, ()
        return (), runtime.lacks(broker) if isinstance(runtime, Lacking) else ()
    except ChaosError as error:
        return [str(error)], ()


def _software() -> Iterator[str]:
    yield f"mqchaos {_version('mqchaos')}, Python {platform.python_version()}"
    yield f"  {platform.platform()}"
    yield "packages"
    yield f"  {', '.join(f'{name} {_version(name)}' for name in _needed())}"


def _needed() -> Sequence[str]:
    """The packages that this one is built on."""
    try:
        return [re.split(r"[^\w.-]", need)[0] for need in requires("mqchaos") or ()]
    except PackageNotFoundError:
        return ()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "MISSING: install mqchaos again"


def _machine(runs: Path) -> Iterator[str]:
    free = psutil.virtual_memory().available
    yield "machine"
    short = "" if free >= _ENOUGH_MEMORY else ": LOW, three brokers need about 2 GiB"
    yield f"  {os.cpu_count()} processors, {_size(free)} of memory free{short}"
    for what, directory in (("run directories", runs), ("clusters", clusters.home())):
        yield f"  {what} in {directory}: {_room(directory)}"


def _room(directory: Path) -> str:
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return f"NOT WRITABLE ({place})"
    free = shutil.disk_usage(place).free
    return f"{_size(free)} free" + (
        "" if free >= _ENOUGH_DISK else ": LOW, brokers keep logs there"
    )


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def _leftovers() -> Iterator[str]:
    yield "clusters"
    known = set()
    for directory in clusters.directories():
        known.add(directory.name)
        yield f"  {directory.name}: {_state(directory)}"
    # A runtime that cannot be loaded is told below, as the reason why nothing runs there.
    for identity, things in residue.leftovers().items():
        if identity not in known:
            known.add(identity)
            yield f"  {identity}: of another CHAOS_HOME, or left behind: {listed(things, 3)}"
    if not known:
        yield "  none"


def _state(directory: Path) -> str:
    state = clusters.read_state(directory)
    if state is None:
        return "has no state that can be read; chaos down removes it"
    what = f"{state.broker.get('broker')} on {state.runtime}"
    store = clusters.open_store(directory)
    if store is None:
        return f"{what}, used by a run now"
    try:
        pending = [entry.fault for entry in UndoLog(store.undo_path).pending()]
    except ChaosError as error:
        return f"{what}: {error}"
    finally:
        store.release()
    faults = f", not healed: {listed(pending)}: chaos heal" if pending else ""
    kept = "kept for the next run" if state.keep and state.ready else "left behind: chaos down"
    return f"{what}, {kept}{faults}"
