"""Keeps every test away from the clusters of the user who runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """As in a terminal: what runs in the background (`make &`, nohup) is born deaf to SIGINT, and
    its children, the tools under test, would be too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


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
