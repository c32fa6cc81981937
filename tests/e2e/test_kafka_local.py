"""Kafka as plain processes: nothing is installed but our packages."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from chaos_adapters.brokers.kafka.versions import locked
from tests.e2e.kafka_reader import acknowledged, stored
from tests.e2e.tools import Run, chaos
from tests.e2e.unsafe import assert_named_exactly

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
LOCAL = ("--runtime", "local", "--keep")


def test_safe_settings_survive_a_killed_leader(run: Run) -> None:
    """Three brokers, the leader killed: PASS; nobody else's service is counted for the gap."""
    ran = run("broker-down.yaml", *LOCAL)
    assert ran.code == 0, ran.output
    assert ran.verdict["verdict"] == "PASS"
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    assert fault["healed"]
    # KRaft ends a dead broker's session after 9 s, so a much shorter gap would be a false one.
    assert 4 < ran.figure("failover", "longest without acknowledgement") < 20
    assert acknowledged(ran.directory) <= stored(ran.directory, partitions=3)
    assert "\x1b" not in ran.output


def test_acks_1_loses_exactly_what_the_verdict_names(run: Run) -> None:
    """FAIL, labelled with the setting; the evidence is what the partition really lacks."""
    assert_named_exactly(run("kafka/unsafe/acks-1.yaml", *LOCAL))


@pytest.mark.full
@pytest.mark.parametrize(
    "experiment", ["broker-pause", "controller-down", "dedicated-controllers", "rack-down"]
)
def test_safe_experiments_pass(run: Run, experiment: str) -> None:
    """A frozen leader, a dead controller, a dead rack: PASS, each on a cluster of its own."""
    ran = run(f"kafka/{experiment}.yaml", "--runtime", "local")
    assert ran.code == 0, ran.output


@pytest.mark.full
@pytest.mark.parametrize("version", locked())
def test_every_pinned_version_survives_a_killed_leader(run: Run, version: str) -> None:
    """PASS; what the cluster says of itself is on record."""
    ran = run("broker-down.yaml", "--runtime", "local", "--set", f"cluster.version={version}")
    assert ran.code == 0, ran.output
    (settings,) = ran.events("settings")
    assert settings["in_force"]["stream"]["min.insync.replicas"] == "2"
    assert settings["in_force"]["kafka-3"]["process.roles"] == "broker,controller"


def test_network_faults_are_refused_with_a_way_out(tmp_path: Path, run: Run) -> None:
    """A partition needs links: refused before anything starts, naming the runtime that can."""
    before = {process.pid for process in psutil.process_iter() if process.name() == "java"}
    done = chaos("run", "experiments/kafka/partition-leader.yaml", "--runtime", "local",
                 "--runs", str(tmp_path))  # fmt: skip
    assert done.returncode == 2
    assert "--runtime docker" in done.stderr
    after = {process.pid for process in psutil.process_iter() if process.name() == "java"}
    assert after <= before
    assert not list(tmp_path.iterdir())
