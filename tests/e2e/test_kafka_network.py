"""Network faults on Kafka in containers: every form, and what gets into its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.tools import Run, needs_docker

pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(500), needs_docker]
HERE = Path(__file__).parent


def test_every_form_takes_effect_and_is_gone(run: Run) -> None:
    """Halves, a bridge, groups with clients, resets, dropped packets, a rate, closed connections:
    each proved on and proved gone, and nothing is lost."""
    ran = run(str(HERE / "network-forms.yaml"), "--runtime", "docker")
    assert ran.code == 0, ran.output
    faults = ran.verdict["faults"]
    assert [fault["proved"] for fault in faults] == [True] * 7
    assert all(fault["healed"] for fault in faults)


def test_partitions_and_processes_in_each_others_way(run: Run) -> None:
    """A node that dies while it is cut off, one that is dead when its network comes back, one that
    is shut down in order while cut off, and a client that connects during a cut."""
    ran = run(str(HERE / "network-tries.yaml"), "--runtime", "docker")
    assert ran.code == 0, ran.output
    faults = ran.verdict["faults"]
    assert [fault["proved"] for fault in faults] == [True] * 8
    assert all(fault["healed"] for fault in faults)
    replaced = [event for event in ran.events("client") if event.get("after") == "consumer-0"]
    assert replaced, "nobody took the place of the killed consumer"
