"""Which experiment files the words on a command line mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaos.data import UNSAFE, experiments_dir
from chaos.errors import Problem, UsageError
from chaos.wording import unknown


def find_experiments(words: Sequence[str]) -> list[Path]:
    """The files, in order. Raises UsageError with every word that means none."""
    files: list[Path] = []
    problems: list[Problem] = []
    for word in words:
        try:
            files += _files(word)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(problems)
    return files


def find_experiment(word: str) -> Path:
    """The one file that is meant. Raises UsageError."""
    files = _files(word)
    if len(files) > 1:
        raise UsageError(f"{word} holds {len(files)} experiments: name one of them")
    return files[0]


def _files(word: str) -> list[Path]:
    path = Path(word)
    found = path if path.exists() else _shipped(word)
    if not found.is_dir():
        return [found]
    files = sorted(
        file for file in found.rglob("*.yaml") if UNSAFE not in file.relative_to(found).parts[:-1]
    )
    if not files:
        raise UsageError([Problem(word, f"holds no *.yaml (below {UNSAFE}/ only named ones run)")])
    return files


def shipped_names() -> list[str]:
    """The experiments that come with mqchaos, by the names that commands take."""
    base = experiments_dir()
    names = [file.relative_to(base).with_suffix("").as_posix() for file in base.rglob("*.yaml")]
    return sorted(names, key=lambda name: (name.count("/"), name))


def shipped_file(word: str) -> Path:
    """One experiment that comes with mqchaos. Raises UsageError."""
    found = _shipped(word)
    if found.is_dir():
        raise UsageError(f"{word} is a folder of experiments: name one of them")
    return found


def _shipped(word: str) -> Path:
    """What comes with mqchaos by this name: `kafka/broker-pause.yaml`, `broker-down`, `kafka`."""
    base = experiments_dir()
    parts = Path(word).parts
    # So what the documentation says about a checkout works everywhere.
    inner = Path(*(parts[1:] if parts[:1] == (base.name,) else parts))
    if not inner.is_absolute() and ".." not in inner.parts:
        for candidate in (base / inner, base / inner.with_name(f"{inner.name}.yaml")):
            if candidate.exists():
                return candidate
    known = shipped_names()
    what = unknown("experiment", word.removesuffix(".yaml"), known, "that come with mqchaos")
    raise UsageError([Problem(word, f"no such file or directory, and {what}")])
