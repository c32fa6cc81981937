"""The versions of Kafka that are pinned, and the settings that each of them knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.experiment import load_experiment, place_problems
from chaos.registry import load
from chaos_adapters.brokers.kafka import Kafka, Topic, versions
from chaos_adapters.runtimes.jars import parse_lock
from chaos_adapters.runtimes.local import Local


def test_the_default_version_is_pinned() -> None:
    """Whoever says nothing gets one that plain processes run."""
    assert Kafka().version in versions.locked()
    assert versions.locked() == sorted(versions.locked(), key=lambda each: each.split("."))


@pytest.mark.parametrize("version", versions.locked())
def test_a_version_has_its_jars_and_its_settings(version: str) -> None:
    """Broker and clients of just this version, and the settings that every version has."""
    jars = {jar.artifact: jar.version for jar in parse_lock(versions.lock(version).read_text())}
    assert jars["kafka_2.13"] == jars["kafka-clients"] == version
    known = versions.known_settings(version)
    assert {"node.id", "broker.session.timeout.ms", "replica.lag.time.max.ms"} <= known["broker"]
    assert {"min.insync.replicas", "retention.ms"} <= known["topic"]
    # One that Kafka does not document, and takes all the same.
    assert "unclean.leader.election.interval.ms" in known["broker"]
    assert Kafka(version=version).problems(Topic()) == []
    assert Local().problems(Kafka(version=version)) == []


def test_what_is_not_pinned_is_refused_where_jars_are_needed() -> None:
    """Plain processes need them, and the message says which there are; an image brings its own."""
    ((path, what),) = Local().problems(Kafka(version="4.0.99"))
    assert path == "cluster.version"
    for version in versions.locked():
        assert f"kafka-{version}" in what
    assert "--runtime docker" in what


def test_a_version_is_refused_with_its_line(tmp_path: Path) -> None:
    """`chaos validate --runtime local` tells, before anything starts."""
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nfaults: []\ncluster:\n  broker: kafka\n  version: 4.0.99\n")
    experiment = load_experiment(path)
    (problem,) = place_problems(experiment, "local", load("runtimes", "local"))
    assert problem.where.endswith("x.yaml:5:12")
    assert place_problems(experiment, "docker", load("runtimes", "docker")) == []
