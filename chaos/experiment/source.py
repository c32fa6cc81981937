"""Experiment files as plain data with the place of every key, so that a problem can be pointed at.

The text is composed by ruamel.yaml (YAML 1.2: `on` is text and `1:30` too) and made plain here,
node by node: so every problem of the file is found, double keys included, not only the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from chaos.errors import Problem
from chaos.plugin import Flaw, Path
from chaos.spi import Json
from chaos.wording import shown

LARGEST_FILE = 1 << 18
LARGEST_NUMBER = 1 << 62
_MOST_VALUES = 20_000  # a few nested aliases stand for billions of values
_TAG = "tag:yaml.org,2002:"


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
    reader = _Reader(document.name)
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


def scalar(value: str | float | bool | None) -> str:
    """A value as it may stand in a file, between brackets too: so that it is read back the same."""
    if not isinstance(value, str):
        return json.dumps(value)
    reader = _Reader("")
    plain = reader.read(f"[{value}]") == [value] and not reader.flaws
    return value if plain else json.dumps(value, ensure_ascii=False)


class _Reader:
    """Turns text into plain data: dict, list, str, int, float, bool, None."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.flaws: list[Flaw] = []
        self.keys: dict[Path, Spot] = {}
        self.values: dict[Path, Spot] = {}
        self._count = 0

    def read(self, text: str) -> Any:  # noqa: ANN401 - whatever stands there
        """The data; None when there is none or something is wrong with all of it."""
        if len(text.encode()) > LARGEST_FILE:
            return self._fail((), f"is larger than {LARGEST_FILE} bytes")
        try:
            node = YAML(typ="safe", pure=True).compose(text)
            return None if node is None else self._plain(node, (), frozenset())
        except MarkedYAMLError as error:
            self.values[()] = self._spot(error.problem_mark or error.context_mark)
            return self._fail((), f"is not YAML: {error.problem or error.context}")
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.values[()] = Spot(line, 1, f"{self.name}:{line}:1")
            return self._fail((), "is not YAML: a control character stands there")
        except YAMLError as error:
            return self._fail((), f"is not YAML: {error}")
        except RecursionError:
            return self._fail((), "is nested too deeply")

    def _plain(self, node: Node, path: Path, around: frozenset[int]) -> Any:  # noqa: ANN401
        self._count += 1
        self.values.setdefault(path, self._spot(node.start_mark))
        if id(node) in around:
            return self._fail(path, "contains itself")
        if self._count > _MOST_VALUES:
            if self._count == _MOST_VALUES + 1:
                self._fail((), f"stands for more than {_MOST_VALUES} values")
            return None
        match node:
            case ScalarNode():
                return self._scalar(node, path)
            case SequenceNode():
                inner = around | {id(node)}
                return [
                    self._plain(item, (*path, number), inner)
                    for number, item in enumerate(node.value)
                ]
            case MappingNode():
                return self._mapping(node, path, around | {id(node)})
        raise AssertionError(f"a node of YAML is none of its three kinds: {node!r}")

    def _mapping(self, node: MappingNode, path: Path, around: frozenset[int]) -> Json:
        mapping: Json = {}
        for key_node, value_node in node.value:
            spot = self._spot(key_node.start_mark)
            if not isinstance(key_node, ScalarNode) or str(key_node.tag) == _TAG + "null":
                self._fail(path, f"has a key that is not text in line {spot.line}")
                continue
            inner = (*path, key_node.value)
            if key_node.value in mapping:
                first = self.keys[inner].line
                self.keys[inner] = spot
                self.flaws.append(Flaw(inner, f"stands here twice, first in line {first}", True))
                continue
            self.keys[inner] = spot
            mapping[key_node.value] = self._plain(value_node, inner, around)
        return mapping

    def _scalar(self, node: ScalarNode, path: Path) -> Any:  # noqa: ANN401
        tag = str(node.tag)
        if not tag.startswith(_TAG) or tag == _TAG + "binary":
            return self._fail(path, f"has the tag {tag}, which means nothing here")
        convert = _SCALARS.get(tag.removeprefix(_TAG), str)
        try:
            value = convert(node.value)
        except ValueError:
            value = node.value
        if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
            return self._fail(path, f"{node.value[:20]} is too large or no number")
        return value

    def _fail(self, path: Path, what: str) -> None:
        self.flaws.append(Flaw(path, what))

    def _spot(self, mark: StringMark | None) -> Spot:
        if mark is None:
            return Spot(1, 1, f"{self.name}:1:1")
        line, column = mark.line + 1, mark.column + 1
        return Spot(line, column, f"{self.name}:{line}:{column}")


def _integer(text: str) -> int | float:
    digits = text.replace("_", "")
    if len(digits) > 80:
        return float("inf")  # longer than any number that is let through, and than int() may take
    prefixed = digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b")
    return int(digits, 0 if prefixed else 10)


def _float(text: str) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", text.replace("_", "").lower()))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda _text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": _float,
}


# ------------------------------------------------------------------------------------- overrides


def _override(document: Document, override: str) -> None:
    dotted, assigned, text = override.partition("=")
    spot = Spot(LARGEST_FILE, 0, f"--set {override}")
    path = split_path(dotted.strip())
    if not assigned or not all(part != "" for part in path):
        what = "needs key=value, such as load.producers.rate=500/s"
        document.stray.append(Problem(spot.text, what))
        return
    reader = _Reader("--set")
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
