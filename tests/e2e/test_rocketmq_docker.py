"""RocketMQ in containers, with the mesh of links through every port that peers and clients use."""

from __future__ import annotations

import pytest

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.records import came_out
from tests.e2e.tools import Run, needs_docker

pytestmark = [
    pytest.mark.docker, pytest.mark.rocketmq, pytest.mark.full, pytest.mark.timeout(500),
    needs_docker,
]  # fmt: skip
DOCKER = ("--runtime", "docker", "--keep")


def test_safe_settings_survive_a_cut_off_master(run: Run) -> None:
    """PASS, with links measured during and after: six nodes have thirty links to each other, over
    each port of the target that peers use, and clients six; eleven are cut."""
    ran = run("rocketmq/partition-master.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    assert (fault["on"]["links cut"], fault["on"]["cut links that answer"]) == (11, 0)
    assert fault["on"]["other links that answer"] == fault["on"]["other links"] == 25
    # A node that takes longer than 0.5 s to answer anybody is left out by then.
    assert fault["after"]["cut links that answer"] == fault["after"]["links cut"] > 0
    assert acknowledged(ran.directory) <= came_out(ran.directory)


@pytest.mark.parametrize("experiment", ["broker-down", "node-crash"])
def test_safe_settings_survive_a_dead_master(run: Run, experiment: str) -> None:
    """PASS, whether its connections were closed or not, and what was acknowledged came out."""
    ran = run(f"rocketmq/{experiment}.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    assert acknowledged(ran.directory) <= came_out(ran.directory)
