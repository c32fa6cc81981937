"""The quantities of an experiment file: a number with its unit, never a bare number.

Each is a pydantic type that parses the text, keeps the value in the base unit (seconds, bytes,
messages per second) and writes the text back, so that a resolved experiment reads like its source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES = {
    "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
_RATES = {"/s": 1.0, "/m": 1 / 60}
_NUMBER = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z/]*)\s*")


def _parser(units: Mapping[str, float], example: str) -> Callable[[Any], float]:
    def parse(value: Any) -> float:  # noqa: ANN401 - whatever stands in the file
        found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if not found or found[2] not in units:
            raise ValueError(f"needs a number with a unit ({', '.join(units)}), such as {example}")
        return float(found[1]) * units[found[2]]

    return parse


def _writer(units: Mapping[str, float], base: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        return f"{value / units[base]:.9f}".rstrip("0").rstrip(".") + base

    return write


parse_duration = _parser(_DURATIONS, "30s")
parse_size = _parser(_SIZES, "200B")
parse_rate = _parser(_RATES, "1000/s")


def _schema(units: Mapping[str, float], example: str) -> WithJsonSchema:
    pattern = r"^\s*[0-9][0-9_]*(\.[0-9]+)?\s*(" + "|".join(units) + r")\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Duration = Annotated[
    float, BeforeValidator(parse_duration), PlainSerializer(_writer(_DURATIONS, "s")),
    _schema(_DURATIONS, "30s"),
]  # fmt: skip
"""Seconds, written `250ms`, `30s`, `2m`, `1h`."""

Size = Annotated[
    int, BeforeValidator(lambda value: int(parse_size(value))),
    PlainSerializer(_writer(_SIZES, "B")), _schema(_SIZES, "200B"),
]  # fmt: skip
"""Bytes, written `200B`, `64KiB`, `1GB`."""

Rate = Annotated[
    float, BeforeValidator(parse_rate), PlainSerializer(_writer(_RATES, "/s")),
    _schema(_RATES, "1000/s"),
]  # fmt: skip
"""Messages per second, written `1000/s` or `30/m`."""
