"""Faults of disks, of memory and of clocks on real brokers in containers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.kill9 import MARK, line_of, ours, pending, residue
from chaos.history.events import read_events
from chaos_adapters.runtimes import disks
from tests.e2e.kafka_reader import acknowledged, stored
from tests.e2e.tools import CHAOS, Run, chaos, needs_docker, within

pytestmark = [pytest.mark.full, pytest.mark.docker, pytest.mark.timeout(900), needs_docker]
DOCKER = ("--runtime", "docker")
NODES = ("kafka-1", "kafka-2", "kafka-3")
ON_TWO = [
    {"at": "3s", "for": "120s", "fault": "disk.fill", "target": "kafka-1", "free": "50MiB"},
    {"at": "3s", "for": "120s", "fault": "disk.throttle", "target": "kafka-2"},
]


@pytest.mark.parametrize("experiment", [
    "clock-skew", "corrupt-follower", "disk-full", "disk-readonly", "disk-slow", "disk-slow-sync",
    "oom", "power-loss-all-flush-1", "power-loss-one", "small-heap",
])  # fmt: skip
def test_what_the_machine_of_one_broker_does_loses_nothing(run: Run, experiment: str) -> None:
    """PASS, proved, with all that was acknowledged on every replica that was read; and the loop
    devices are gone with the cluster. With every message forced to the disk that holds when all
    lose their power, too."""
    ran = run(f"kafka/{experiment}.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    assert all(fault["proved"] for fault in ran.verdict["faults"])
    assert ran.figure("loss", "delivered but no longer stored") == 0
    assert not disks.left()


def test_the_power_of_all_takes_exactly_what_the_verdict_names(run: Run) -> None:
    """What was acknowledged and is on no broker any more, as a plain client reads them: all of it
    is told, nothing else, and the setting is blamed."""
    ran = run("kafka/unsafe/power-loss-all.yaml", *DOCKER, "--keep")
    assert ran.code == 1, ran.output
    missing = acknowledged(ran.directory) - stored(ran.directory, partitions=3)
    assert missing, "nothing was lost: the experiment shows nothing"
    assert ran.evidence("no longer stored") | ran.evidence("lost") == missing
    loss = next(each for each in ran.verdict["questions"] if each["name"] == "loss")
    assert loss["label"] == "unsafe setting"


@pytest.mark.parametrize(("third", "victims"), [
    ("disk.readonly", "the tool"), ("disk.power_loss", "the tool and its reaper"),
])  # fmt: skip
def test_kill_9_leaves_disks_that_are_clean_mounted_and_quick(
    tmp_path: Path, third: str, victims: str
) -> None:
    """With a fault on each of three disks, all proved: the reaper heals, or `chaos heal` where that
    is dead. Then nothing is on record, the residue scan finds nothing, and all nodes write."""
    steps = [*ON_TWO, {"at": "3s", "for": "120s", "fault": third, "target": "kafka-3"}]
    file, runs = tmp_path / "disks.yaml", tmp_path / "runs"
    file.write_text(json.dumps(experiment_with(steps)))
    tool = subprocess.Popen(
        [*CHAOS, "run", str(file), *DOCKER, "--keep", "--runs", str(runs)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, MARK: tmp_path.name},
    )  # fmt: skip
    try:
        within(300, "three proofs", lambda: len(proofs(runs)) == len(steps))
        reapers = [p for p in ours(tmp_path.name).values() if "chaos.reaper" in line_of(p)]
        assert reapers
    finally:
        tool.kill()
        tool.wait(10)
    if "reaper" in victims:
        for reaper in reapers:
            reaper.kill()
        assert len(pending()) == len(steps)
        assert chaos("heal").returncode == 0
    within(120, "the heal of all disks", lambda: not pending())
    within(30, "nothing that is left", lambda: not residue())
    assert len(mounted_and_written(runs)) == len(NODES)
    assert chaos("down").returncode == 0
    assert not disks.left()


def experiment_with(steps: list[dict[str, str]]) -> dict[str, object]:
    """A short load on disks that are ext4, the only ones that turn read-only."""
    return {
        "name": "disks",
        "cluster": {
            "broker": "kafka",
            "nodes": 3,
            "disk": {"size": "512MiB", "filesystem": "ext4"},
        },
        "stream": {"partitions": 3, "replicas": 3, "settings": {"min.insync.replicas": 1}},
        "load": {"producers": {"rate": "100/s"}},
        "faults": steps,
    }


def events(runs: Path, kind: str) -> list[dict[str, str]]:
    """Those of a kind so far."""
    told = (event for path in runs.glob("*/events.jsonl") for event in read_events(path))
    return [event for event in told if event["kind"] == kind]


def proofs(runs: Path) -> set[str]:
    """The faults that are proved so far."""
    return {event["id"] for event in events(runs, "fault") if event["what"] == "effect"}


def mounted_and_written(runs: Path) -> list[str]:
    """Brokers whose data lies on a disk of their own that takes a write which is forced to it."""
    (cluster,) = events(runs, "cluster")
    marks = ("label=mqchaos.part=broker", f"label=mqchaos.cluster={cluster['id']}")
    listed = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", marks[0], "--filter", marks[1]],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    probe = "/var/lib/kafka/data/e2e"
    write = (
        "grep -q '^/dev/loop.* /var/lib/kafka/data ' /proc/mounts && "
        f"dd if=/dev/zero of={probe} bs=1M count=8 conv=fsync && rm {probe}"
    )
    found = []
    for container in listed.stdout.split():
        done = subprocess.run(
            ["docker", "exec", container, "sh", "-c", write],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(container)
    return found
