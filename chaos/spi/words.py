"""What several contracts are written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

Json = dict[str, Any]
"""What `json.dumps` can write."""

Settings = dict[str, str | int | float | bool]
"""Settings passed through to a broker, topic or client as they are."""

CLIENTS = "clients"
"""The name of everything outside the cluster, as the source of a link."""


@dataclass(frozen=True)
class TargetMark:
    """Marks a field as naming nodes, so that its value can be checked before anything starts."""


Target = Annotated[str, TargetMark()]
"""Names nodes by role (`leader(0)`, `followers(0)`, `controller`, `one`, `minority`) or by name."""
