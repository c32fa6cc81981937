"""RabbitMQ in containers: the verdict beside what the clients' own records say."""

from __future__ import annotations

import pytest

from tests.e2e.kafka_reader import acknowledged
from tests.e2e.records import came_out
from tests.e2e.tools import Run, needs_docker

# All of them are `full` until they were seen to pass on a machine that is not busy.
pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(500), needs_docker]
DOCKER = ("--runtime", "docker", "--keep")


def test_a_quorum_queue_survives_its_leader(run: Run) -> None:
    """PASS, another node leads while it is dead, and what was confirmed came out."""
    ran = run("rabbitmq/broker-down.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    (fault,) = ran.verdict["faults"]
    (dead,) = fault["nodes"]
    led = {view["leaders"].get("0") for view in ran.events("view")}
    assert dead in led
    assert led - {dead, None}
    assert acknowledged(ran.directory) <= came_out(ran.directory)


def test_what_an_automatic_acknowledgement_loses_is_named(run: Run) -> None:
    """FAIL: exactly the messages that were acknowledged and came out nowhere, and the setting is
    blamed."""
    ran = run("rabbitmq/unsafe/auto-ack.yaml", *DOCKER)
    assert ran.code == 1, ran.output
    missing = acknowledged(ran.directory) - came_out(ran.directory)
    assert missing, "nothing was lost: the experiment shows nothing"
    assert ran.evidence("lost") == missing
    (failed,) = [each for each in ran.verdict["questions"] if each["verdict"] == "FAIL"]
    assert (failed["name"], failed["label"]) == ("loss", "unsafe setting")
    assert any("auto_ack" in caveat["setting"] for caveat in failed["caveats"])


def test_mirrors_in_sync_lose_nothing(run: Run) -> None:
    """PASS, and what was confirmed came out, by the records as well."""
    ran = run("rabbitmq/mirrored-broker-down.yaml", *DOCKER)
    assert ran.code == 0, ran.output
    assert acknowledged(ran.directory) <= came_out(ran.directory)
