"""Every fault of the network, of memory and of disks once on RocketMQ in containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.tools import Run, needs_docker

pytestmark = [
    pytest.mark.docker, pytest.mark.rocketmq, pytest.mark.full, pytest.mark.timeout(600),
    needs_docker,
]  # fmt: skip
HERE = Path(__file__).parent


@pytest.mark.parametrize("tries", ["rocketmq-tries.yaml", "rocketmq-disk-tries.yaml"])
def test_every_fault_takes_effect_and_is_gone(run: Run, tries: str) -> None:
    """Each is proved on and proved gone, and nothing is lost."""
    ran = run(str(HERE / tries), "--runtime", "docker", within_s=500)
    assert ran.code == 0, ran.output
    faults = ran.verdict["faults"]
    assert faults
    assert all(fault["proved"] and fault["healed"] for fault in faults)
