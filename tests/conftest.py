"""Keeps every test away from the clusters of the user who runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def chaos_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """CHAOS_HOME for this session and all its child processes; a test may set one of its own."""
    before = os.environ.get("CHAOS_HOME")
    home = os.environ["CHAOS_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield home
    if before is None:
        del os.environ["CHAOS_HOME"]
    else:
        os.environ["CHAOS_HOME"] = before
