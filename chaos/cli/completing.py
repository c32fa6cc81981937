"""What the shell offers at <TAB>. It is asked at each press, so nothing heavy is imported here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chaos import home, registry
from chaos.cli.paths import shipped_names

_MOST = 200
_RECORD = "experiment.json"  # what makes a directory the record of a run


def experiments(incomplete: str) -> list[str]:
    """The experiments that come with mqchaos, then YAML files and the folders that lead to some."""
    return [*shipped(incomplete), *_files(incomplete)]


def shipped(incomplete: str) -> list[str]:
    """The experiments that come with mqchaos."""
    return [name for name in shipped_names() if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Run directories: those where the word leads, and those in `runs/`."""
    found = list(_runs_below(incomplete))
    return [*found, *_runs_below("runs/")] if "runs/".startswith(incomplete) else found


def runtimes(incomplete: str) -> list[str]:
    """Runtimes by name."""
    return [name for name in registry.names("runtimes") if name.startswith(incomplete)]


def brokers(incomplete: str) -> list[str]:
    """Brokers by name."""
    return [name for name in registry.names("brokers") if name.startswith(incomplete)]


def clusters(incomplete: str) -> list[str]:
    """The clusters of this user that left a state."""
    names = (directory.name for directory in home.directories())
    return [name for name in names if name.startswith(incomplete)]


def _runs_below(incomplete: str) -> Iterator[str]:
    for text, entry in _entries(incomplete):
        if entry.is_dir() and Path(entry.path, _RECORD).is_file():
            yield text


def _files(incomplete: str) -> list[str]:
    """Paths that go on from what is typed. A folder that is the only way is entered at once, as the
    shell would put a space behind it and take it for the whole word."""
    found = [text for text, entry in _entries(incomplete) if _is_experiment(entry)]
    folders = [f"{text}/" for text, entry in _entries(incomplete) if _leads_to_some(entry)]
    if len(folders) == 1 and not found:
        return _files(folders[0])
    return [*found, *folders]


def _is_experiment(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith((".yaml", ".yml")) and not entry.name.startswith(".")


def _leads_to_some(entry: os.DirEntry[str], depth: int = 2) -> bool:
    if not entry.is_dir() or entry.name.startswith("."):
        return False
    inner = [each for _, each in _entries(f"{entry.path}/")]
    return any(_is_experiment(each) for each in inner) or (
        depth > 1 and any(_leads_to_some(each, depth - 1) for each in inner)
    )


def _entries(incomplete: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What stands in the folder that is typed and begins as the rest of the word, with its text."""
    folder, _, begin = incomplete.rpartition("/")
    shown = f"{folder}/" if "/" in incomplete else ""
    with suppress(OSError), os.scandir(os.path.expanduser(shown) or ".") as entries:  # noqa: PTH111
        found = sorted((e for e in entries if e.name.startswith(begin)), key=lambda e: e.name)
        return [(f"{shown}{entry.name}", entry) for entry in found[:_MOST]]
    return []
