"""RocketMQ as plain processes: nothing is installed but our packages."""

from __future__ import annotations

import pytest

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.records import came_out, lost_as_named
from tests.e2e.rocketmq_logs import passed
from tests.e2e.tools import Run

pytestmark = [pytest.mark.rocketmq, pytest.mark.timeout(600)]
LOCAL = ("--runtime", "local")
ON_ONE_CLUSTER = ("controller-down", "namesrv-down", "slave-down", "rolling-restart", "delayed")
"""In a row, so that it is kept for the next one only."""
CLIENTS = ["remoting", pytest.param("native", marks=pytest.mark.full)]


def client(name: str) -> tuple[str, str]:
    """Options that choose who sends and receives."""
    return "--set", f"cluster.client={name}"


@pytest.mark.parametrize("name", CLIENTS)
def test_safe_settings_survive_a_killed_master(name: str, run: Run) -> None:
    """Three brokers, the master killed: PASS, another one is master meanwhile, and what was
    acknowledged came out, by the records as well."""
    ran = run("rocketmq/broker-down.yaml", *LOCAL, *client(name))
    passed(ran)
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    (dead,) = fault["nodes"]
    led = {view["leaders"].get("0") for view in ran.events("view")}
    assert dead in led
    assert led - {dead, None}
    assert acknowledged(ran.directory) <= came_out(ran.directory)


@pytest.mark.parametrize(("experiment", "name", "blamed"), [
    ("rocketmq/unsafe/async-replication", "remoting", "allAckInSyncStateSet"),
    pytest.param("rocketmq/unsafe/async-replication", "native", "allAckInSyncStateSet",
                 marks=pytest.mark.full),
    pytest.param("rocketmq/unsafe/unclean-election", "remoting", "enableElectUncleanMaster",
                 marks=pytest.mark.full),
])  # fmt: skip
def test_unsafe_settings_lose_what_the_verdict_names(
    run: Run, experiment: str, name: str, blamed: str
) -> None:
    """FAIL: exactly the messages that were acknowledged and came out nowhere, and the settings are
    blamed."""
    ran = run(f"{experiment}.yaml", *LOCAL, *client(name))
    assert ran.code == 1, ran.output
    lost_as_named(ran)
    loss = next(each for each in ran.verdict["questions"] if each["name"] == "loss")
    assert (loss["verdict"], loss["label"]) == ("FAIL", "unsafe setting")
    assert any(blamed in caveat["setting"] for caveat in loss["caveats"])


@pytest.mark.full
@pytest.mark.parametrize("experiment", ON_ONE_CLUSTER)
def test_safe_experiments_pass(run: Run, experiment: str) -> None:
    """PASS, and what was acknowledged came out."""
    ran = run(f"rocketmq/{experiment}.yaml", *LOCAL, "--keep")
    passed(ran)
    assert acknowledged(ran.directory) <= came_out(ran.directory)


@pytest.mark.full
@pytest.mark.parametrize("experiment", [
    "transaction-check", "master-slave-no-switch", "master-pause",
])  # fmt: skip
def test_safe_experiments_pass_on_clusters_of_their_own(run: Run, experiment: str) -> None:
    """The same, of other clusters."""
    ran = run(f"rocketmq/{experiment}.yaml", *LOCAL)
    passed(ran)
    assert acknowledged(ran.directory) <= came_out(ran.directory)
