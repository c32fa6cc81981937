"""Every fault of the network, of disks and of memory on RabbitMQ in containers, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.records import came_out
from tests.e2e.tools import Run, needs_docker

pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(500), needs_docker]
HERE = Path(__file__).parent


@pytest.mark.parametrize(("file", "faults"), [
    ("rabbitmq-tries.yaml", 11), ("rabbitmq-disk-tries.yaml", 4),
])  # fmt: skip
def test_every_fault_takes_effect_and_is_gone(run: Run, file: str, faults: int) -> None:
    """Each is proved on and proved gone, and what was confirmed came out, by the records as well.
    The others are in experiments: a partition of nodes, a crash, the loss of power."""
    ran = run(str(HERE / file), "--runtime", "docker")
    assert ran.code == 0, ran.output
    found = ran.verdict["faults"]
    assert [fault["proved"] for fault in found] == [True] * faults
    assert all(fault["healed"] for fault in found)
    assert acknowledged(ran.directory) <= came_out(ran.directory)
