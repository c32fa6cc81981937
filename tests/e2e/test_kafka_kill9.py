"""`kill -9` in the middle of faults, on plain processes; benchmarks/kill9.py does many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kill9 import Instant, steps_of

pytestmark = [pytest.mark.kafka, pytest.mark.full, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("number", "victim"), [(1, "tool"), (2, "both"), (3, "reaper+tool")])
def test_all_is_healed_and_the_record_can_be_read(tmp_path: Path, number: int, victim: str) -> None:
    """Whoever is killed, after some seconds of load: every fault is undone, no process, limit or
    mark is left, the history has all that was told, and `chaos verify` can judge it."""
    instant = Instant("local", number, "e2e", steps_of("local"))
    instant.victim, instant.early = victim, False
    instant.delay_s = 5.0 + 1.5 * number
    seen = instant.played(tmp_path)
    assert seen["right"], seen
    assert seen["over"] is None, seen
    assert seen["phase"] != "before the run", seen
    assert seen["acknowledged"] >= seen["told"] > 0, seen
