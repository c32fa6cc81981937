"""RocketMQ in containers, with the mesh of links through every port that peers and clients use."""

from __future__ import annotations

import pytest

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.records import came_out, lost_as_named
from tests.e2e.rocketmq_logs import passed
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
    passed(ran)
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
    passed(ran)
    assert acknowledged(ran.directory) <= came_out(ran.directory)


def test_safe_settings_survive_a_full_disk(run: Run) -> None:
    """PASS, proved, the master refused messages meanwhile, and what it acknowledged came out."""
    ran = run("rocketmq/disk-full.yaml", "--runtime", "docker")
    passed(ran)
    assert all(fault["proved"] for fault in ran.verdict["faults"])
    assert ran.events("rates")[-1]["refused"] > 0
    assert ran.figure("availability", "longest gap of all clients") > 9  # it looks each 10 s
    assert acknowledged(ran.directory) <= came_out(ran.directory)


@pytest.mark.timeout(700)
def test_flushed_messages_survive_the_loss_of_all_power_but_the_service_may_not(run: Run) -> None:
    """Nothing that was acknowledged is lost. A master that is back first, in its own epoch, shuts
    its slaves out (docs/rocketmq.md): FAIL for want of service alone, and only then."""
    ran = run("rocketmq/unsafe/sync-flush-power-loss.yaml", "--runtime", "docker", within_s=560)
    logs = [path.read_text() for path in (ran.directory / "logs").glob("rocketmq-*.log")]
    shut_out = any("Failed to find a consistent point" in text for text in logs)
    assert ran.code == (1 if shut_out else 0), ran.output
    assert all(fault["proved"] for fault in ran.verdict["faults"])
    failed = {each["name"] for each in ran.verdict["questions"] if each["verdict"] == "FAIL"}
    assert failed == ({"availability"} if shut_out else set())
    assert acknowledged(ran.directory) <= came_out(ran.directory)


def test_the_power_of_all_takes_what_the_verdict_names(run: Run) -> None:
    """FAIL: exactly the messages that were acknowledged and came out nowhere, and the setting is
    blamed. The brokers stand still while their power is being cut, so they flush nothing in that
    time."""
    ran = run("rocketmq/unsafe/async-flush-power-loss.yaml", "--runtime", "docker")
    assert ran.code == 1, ran.output
    lost_as_named(ran)
    loss = next(each for each in ran.verdict["questions"] if each["name"] == "loss")
    assert loss["label"] == "unsafe setting"
    assert any("ASYNC_FLUSH" in caveat["setting"] for caveat in loss["caveats"])


@pytest.mark.timeout(700)
def test_a_slave_with_too_short_a_log_never_recovers(run: Run) -> None:
    """FAIL on recovery alone: the slave says that it has all, comes into the set for a moment, and
    is thrown out again (docs/rocketmq.md)."""
    ran = run("rocketmq/unsafe/corrupt-slave.yaml", *DOCKER, within_s=560)
    assert ran.code == 1, ran.output
    assert all(fault["proved"] for fault in ran.verdict["faults"])
    failed = {each["name"] for each in ran.verdict["questions"] if each["verdict"] == "FAIL"}
    assert failed == {"recovery"}
    logs = [path.read_text() for path in (ran.directory / "logs").glob("rocketmq-*.log")]
    assert any("master pushed offset not equal the max phy offset" in text for text in logs)
    assert acknowledged(ran.directory) <= came_out(ran.directory)
