"""Experiment files as plain data with the place of every key, so that problems can point at it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from chaos.errors import Problem
from chaos.plugin import Flaw, Path
from chaos.spi import Json
from chaos.wording import shown

if TYPE_CHECKING:
    from chaos.experiment.yaml import Reader

LARGEST_FILE = 1 << 18


@dataclass(frozen=True, order=True)
class Spot:
    """A place that people can go to. Command line options come after all lines of the file."""

    line: int
    column: int
    text: str


@dataclass
class Document:
    """The data of an experiment and where each piece of it stands."""

    name: str
    data: Json | None = None
    """None when there is nothing to be read."""
    flaws: list[Flaw] = field(default_factory=list)
    """What is wrong with the text itself."""
    keys: dict[Path, Spot] = field(default_factory=dict)
    values: dict[Path, Spot] = field(default_factory=dict)
    stray: list[Problem] = field(default_factory=list)
    """What is wrong with the command line, so that it has no place in the data."""

    def spot(self, path: Path, at_key: bool = False) -> Spot:
        """Where a path stands; of what is not there, where the nearest thing around it stands."""
        table = self.keys if at_key else self.values
        for depth in range(len(path), -1, -1):
            found = table.get(path[:depth]) or self.keys.get(path[:depth])
            if found:
                return found
        return Spot(0, 0, self.name)

    def problems(self, flaws: Sequence[Flaw]) -> list[Problem]:
        """The flaws in the order of the file, each told once."""
        located = [(self.spot(flaw.path, flaw.at_key), flaw) for flaw in dict.fromkeys(flaws)]
        located.sort(key=lambda pair: pair[0])
        return [Problem(spot.text, _told(flaw)) for spot, flaw in located] + self.stray


def _told(flaw: Flaw) -> str:
    path = ".".join(map(str, flaw.path))
    return f"{path}: {flaw.what}" if path else flaw.what


def read_document(path: FilePath, overrides: Sequence[str] = ()) -> Document:
    """Read a file and apply `key=value` overrides; whatever is wrong is in `flaws`."""
    document = Document(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        document.flaws.append(Flaw((), f"cannot be read: {error.strerror or error}"))
        return document
    _fill(document, raw)
    for override in overrides:
        _override(document, override)
    return document


def split_path(dotted: str) -> Path:
    """`faults.0.at` in its parts; all that follows `settings` is one key, dots and all."""
    head, found, setting = dotted.partition(".settings.")
    parts: list[str | int] = [
        int(part) if part.isdecimal() and len(part) < 5 else part for part in head.split(".")
    ]
    return (*parts, "settings", setting) if found else tuple(parts)


def _fill(document: Document, raw: bytes) -> None:
    reader = _reader(document.name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        document.values[()] = Spot(line, 1, f"{document.name}:{line}:1")
        document.flaws.append(Flaw((), f"is not UTF-8 text: byte 0x{raw[error.start]:02x}"))
        return
    data = reader.read(text)
    document.flaws, document.keys, document.values = reader.flaws, reader.keys, reader.values
    if data is None and not reader.flaws:
        document.flaws.append(Flaw((), "is empty"))
    elif isinstance(data, dict):
        document.data = data
    elif not reader.flaws:
        document.flaws.append(Flaw((), f"should be a mapping (key: value), not {shown(data)}"))


def _reader(name: str) -> Reader:
    # Imported here: workers have their experiment from the record and need no YAML.
    from chaos.experiment.yaml import Reader

    return Reader(name)


def scalar(value: str | float | bool | None) -> str:
    """A value as it may stand in a file, between brackets too: so that it is read back the same."""
    if not isinstance(value, str):
        return json.dumps(value)
    reader = _reader("")
    plain = reader.read(f"[{value}]") == [value] and not reader.flaws
    return value if plain else json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------- overrides


def _override(document: Document, override: str) -> None:
    dotted, assigned, text = override.partition("=")
    spot = Spot(LARGEST_FILE, 0, f"--set {override}")
    path = split_path(dotted.strip())
    if not assigned or not all(part != "" for part in path):
        what = "needs key=value, such as load.producers.rate=500/s"
        document.stray.append(Problem(spot.text, what))
        return
    reader = _reader("--set")
    value = reader.read(text)
    what = "" if reader.flaws or document.data is None else _assign(document.data, path, value)
    made = [depth for depth in range(1, len(path)) if path[:depth] not in document.values]
    _move(document, path[: made[0]] if made else path, spot)
    document.flaws += [replace(flaw, path=(*path, *flaw.path)) for flaw in reader.flaws]
    if what:
        document.flaws.append(Flaw(path, what))


def _assign(data: Any, path: Path, value: Any) -> str:  # noqa: ANN401
    """Put a value into the data; what is in the way is returned."""
    *outer, last = path
    for depth, part in enumerate(outer):
        if isinstance(data, dict) and data.get(str(part)) is None:
            data[str(part)] = {}
        try:
            data = data[str(part) if isinstance(data, dict) else part]
        except (IndexError, TypeError):
            return f"there is no {'.'.join(map(str, path[: depth + 1]))}"
    if isinstance(data, dict):
        data[str(last)] = value
    elif isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = value
    else:
        return f"there is no {'.'.join(map(str, path))}"
    return ""


def _move(document: Document, path: Path, spot: Spot) -> None:
    """From now on, everything at or below a path stands on the command line."""
    for table in (document.keys, document.values):
        for known in [known for known in table if known[: len(path)] == path]:
            del table[known]
        table[path] = spot
