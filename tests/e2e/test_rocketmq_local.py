"""RocketMQ as plain processes: nothing is installed but our packages."""

from __future__ import annotations

import pytest

from tests.e2e.tools import Run

pytestmark = [pytest.mark.rocketmq, pytest.mark.timeout(600)]
LOCAL = ("--runtime", "local")


@pytest.mark.full
def test_safe_settings_survive_a_killed_master(run: Run) -> None:
    """Three brokers, the master killed: PASS; the controllers notice by the closed connection."""
    ran = run("rocketmq/broker-down.yaml", *LOCAL)
    assert ran.code == 0, ran.output
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    assert fault["healed"]
    views = ran.events("view")
    assert len({leader for view in views for leader in (view.get("leaders") or {}).values()}) >= 2
