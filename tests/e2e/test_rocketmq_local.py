"""RocketMQ as plain processes: nothing is installed but our packages."""

from __future__ import annotations

import pytest

from tests.e2e.tools import Run

pytestmark = [pytest.mark.rocketmq, pytest.mark.timeout(600)]
LOCAL = ("--runtime", "local")


def test_safe_settings_survive_a_killed_master(run: Run) -> None:
    """Three brokers, the master killed: PASS; the controllers notice by the closed connection."""
    ran = run("rocketmq/broker-down.yaml", *LOCAL)
    assert ran.code == 0, ran.output
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    assert fault["healed"]
    views = ran.events("view")
    assert len({leader for view in views for leader in (view.get("leaders") or {}).values()}) >= 2


def test_asynchronous_replication_loses_acknowledged_messages(run: Run) -> None:
    """FAIL, labelled with the setting, and every lost message is named."""
    ran = run("rocketmq/unsafe/async-replication.yaml", *LOCAL)
    assert ran.code == 1, ran.output
    assert "allAckInSyncStateSet=false" in ran.output
    lost = ran.figure("loss", "lost")
    assert lost > 0
    assert len(ran.evidence("lost")) == lost


@pytest.mark.full
@pytest.mark.parametrize("experiment", ["slave-down", "controller-down", "namesrv-down"])
def test_safe_experiments_pass(run: Run, experiment: str) -> None:
    """A dead slave, a dead controller, dead name servers: PASS, each on a cluster of its own."""
    ran = run(f"rocketmq/{experiment}.yaml", *LOCAL)
    assert ran.code == 0, ran.output
