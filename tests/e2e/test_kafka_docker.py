"""Kafka in containers, with the mesh of links."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.kafka_reader import acknowledged, stored
from tests.e2e.tools import (
    CHAOS,
    ROOT,
    Labelled,
    Run,
    chaos,
    docker,
    labelled,
    needs_docker,
    within,
)
from tests.e2e.unsafe import assert_named_exactly

pytestmark = [pytest.mark.docker, pytest.mark.timeout(500), needs_docker]
DOCKER = ("--runtime", "docker", "--keep")


def test_safe_settings_survive_a_cut_off_leader(run: Run) -> None:
    """The leader parted from everybody: PASS, with links measured during and after."""
    ran = run("kafka/partition-leader.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    (fault,) = ran.verdict["faults"]
    assert fault["proved"]
    assert fault["on"]["cut links that answer"] == 0
    assert fault["on"]["other links that answer"] == fault["on"]["other links"] > 0
    assert fault["after"]["cut links that answer"] == fault["after"]["links cut"] == 5
    assert acknowledged(ran.directory) <= stored(ran.directory, partitions=3)


def test_acks_1_loses_exactly_what_the_verdict_names(run: Run) -> None:
    """FAIL, as with plain processes."""
    assert_named_exactly(run("kafka/unsafe/acks-1.yaml", *DOCKER))


def test_everything_published_is_on_loopback(others: Labelled) -> None:
    """No port of ours can be reached from another machine."""
    containers = labelled()["container"] - others["container"]
    assert containers, "the cluster of the tests before is not there"
    for container in containers:
        (about,) = json.loads(docker("inspect", container))
        for bindings in (about["NetworkSettings"]["Ports"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or [])


def test_kill_9_of_the_tool_during_a_partition_leaves_no_cut_link(
    tmp_path: Path, others: Labelled
) -> None:
    """The reaper lifts every toxic within ten seconds; the kept cluster goes on."""
    runs = tmp_path / "runs"
    tool = subprocess.Popen(
        [*CHAOS, "run", "experiments/kafka/partition-leader.yaml", "--runs", str(runs), *DOCKER],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        within(120, "the proof", lambda: any('"what":"effect"' in text for text in _events(runs)))
        assert _toxics()
    finally:
        os.kill(tool.pid, signal.SIGKILL)
        tool.wait(10)
    within(10, "the reaper's work", lambda: not _toxics())
    within(60, "a healed cluster", lambda: chaos("heal").returncode == 0)
    assert labelled()["container"] - others["container"]


def test_down_leaves_nothing(others: Labelled) -> None:
    """No container, network or volume with our label is left, and none of others is gone."""
    done = chaos("down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert labelled() == others


@pytest.mark.full
@pytest.mark.parametrize("experiment", [
    "broker-down.yaml", "kafka/broker-pause.yaml", "kafka/controller-down.yaml",
    "kafka/dedicated-controllers.yaml", "kafka/rack-down.yaml", "kafka/drill-broker-2.yaml",
])  # fmt: skip
def test_safe_experiments_pass(run: Run, experiment: str) -> None:
    """What passes as plain processes passes in containers."""
    ran = run(experiment, "--runtime", "docker")
    assert ran.code == 0, ran.output


@pytest.mark.full
def test_the_active_controller_is_parted_from_its_peers(run: Run) -> None:
    """PASS, as no message goes through it. Six nodes have thirty links to each other, and clients
    three: ten are cut, the others answer meanwhile, and all do after it."""
    fault = "{at: 5s, for: 15s, fault: network.partition, isolate: controller, from: peers}"
    ran = run("kafka/dedicated-controllers.yaml", "--runtime", "docker", "--set",
              f"faults=[{fault}]")  # fmt: skip
    assert ran.code == 0, ran.output
    (about,) = ran.verdict["faults"]
    assert about["on"]["cut links that answer"] == 0
    assert about["on"]["other links that answer"] == about["on"]["other links"] == 23
    assert about["after"]["cut links that answer"] == about["after"]["links cut"] == 10


def _events(runs: Path) -> list[str]:
    return [path.read_text() for path in runs.glob("*/events.jsonl")]


def _toxics() -> list[str]:
    """Every toxic of every pod, as Toxiproxy itself lists them."""
    import urllib.request

    found = []
    for container in docker("ps", "-q", "--filter", "label=mqchaos.part=net").split():
        (about,) = json.loads(docker("inspect", container))
        port = about["NetworkSettings"]["Ports"]["8474/tcp"][0]["HostPort"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/proxies", timeout=5) as answer:
            for proxy in json.load(answer).values():
                found += [f"{proxy['name']}/{toxic['name']}" for toxic in proxy["toxics"]]
    return found
