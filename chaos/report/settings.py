"""What a run was told: its experiment, as lines that people read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaos.spi import Json


def experiment(directory: Path) -> Json:
    """The resolved experiment of a run; empty where it cannot be read, as pages and tables are
    about what was recorded, and that is there."""
    try:
        found = json.loads((directory / "experiment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines of `a.b: value`."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value, 1):
            yield from flat(inner, f"{name}.{place}" if name else str(place))
    else:
        yield name, "not set" if value in (None, {}, []) else _plain(value)


def _plain(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
