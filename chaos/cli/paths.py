"""Which experiment files the words on a command line mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaos.data import experiments_dir
from chaos.errors import Problem, UsageError
from chaos.wording import unknown

UNSAFE = "unsafe"
"""Below a folder of this name are experiments that show loss; they run only when named."""


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
    names = [file.relative_to(base).with_suffix("").as_posix() for file in base.rglob("*.yaml")]
    what = unknown("experiment", word.removesuffix(".yaml"), names, "that come with mqchaos")
    raise UsageError([Problem(word, f"no such file or directory, and {what}")])
