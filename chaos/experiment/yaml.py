"""Text to plain data, node by node, with the place of each.

The text is composed by ruamel.yaml (YAML 1.2: `on` is text and `1:30` too) and made plain here: so
every problem of the file is found, double keys included, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from chaos.experiment.source import LARGEST_FILE, Spot
from chaos.plugin import Flaw, Path
from chaos.spi import Json

LARGEST_NUMBER = 1 << 62
_MOST_VALUES = 20_000  # a few nested aliases stand for billions of values
_TAG = "tag:yaml.org,2002:"


class Reader:
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
