"""Plug-ins as they stand in a file of ours: a name and the fields as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos.errors import UsageError
from chaos.plugin import shape
from chaos.registry import load
from chaos.spi import Json


def fields_of(plugin: Any) -> Json:  # noqa: ANN401 - any plug-in
    """All fields of a plug-in as JSON; `rebuild` makes an equal one of them."""
    return shape(type(plugin)).dump(plugin)


def rebuild(kind: str, name: str, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The plug-in with these fields. Raises UsageError when it was written by another version."""
    built = shape(load(kind, name)).build(fields)
    if isinstance(built, list):
        flaws = "; ".join(f"{'.'.join(map(str, flaw.path))}: {flaw.what}" for flaw in built)
        raise UsageError(f"{kind[:-1]} {name} on record does not fit this version: {flaws}")
    return built
