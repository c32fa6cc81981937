"""The agent's container, on a real daemon; no cluster is needed for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos_adapters.runtimes.agent import Agent, image
from chaos_adapters.runtimes.daemon import LABEL, daemon
from chaos_adapters.runtimes.docker import Docker
from tests.e2e.tools import needs_docker

pytestmark = [pytest.mark.docker, needs_docker]
CLUSTER = "agenttest"
NFT = ("nft", "-j", "-f", "-")
TABLE = '{"nftables": [{"add": {"table": {"family": "inet", "name": "mqchaos_test"}}}]}'


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One with a pod, which is a container that only owns a network."""
    labels = {LABEL: CLUSTER, "mqchaos.node": "x", "mqchaos.part": "net"}
    directory: Path = tmp_path_factory.mktemp("cluster")
    with daemon("the test's pod") as client:
        client.containers.run(image(client), detach=True, labels=labels, network_mode="none")
        yield Agent(CLUSTER, ("NET_ADMIN",), "x")
        Docker().remove(CLUSTER, directory)
        assert CLUSTER not in Docker().leftovers()


def test_it_has_the_pods_network_and_the_capabilities_that_were_named(agent: Agent) -> None:
    """Packet rules can be set and stay; nothing else that root could do."""
    agent.run(NFT, 10, TABLE)
    assert "mqchaos_test" in agent.run(["nft", "list", "tables"], 10)
    with daemon("the pod") as client:
        (pod,) = client.containers.list(
            filters={"label": [f"{LABEL}={CLUSTER}", "mqchaos.part=net"]}
        )
        assert agent.run(["hostname"], 10) == pod.exec_run(["hostname"]).output.decode()
    for bare in (Agent(CLUSTER, (), "x"), Agent(CLUSTER, ("NET_ADMIN",))):
        with pytest.raises(ClusterError, match=r"not permitted|No such file"):
            bare.run(["nft", "delete", "table", "inet", "mqchaos_test"], 10)
    with pytest.raises(ClusterError, match=r"permitted|denied"):
        agent.run(["mount", "-t", "tmpfs", "none", "/mnt"], 10)


def test_arguments_and_input_arrive_as_they_are(agent: Agent) -> None:
    """No shell sees them."""
    text = "a 'b' \"c\" $HOME `id`\n%s \\n"
    assert agent.run(["cat"], 10, text) == text
    assert agent.run(["printf", "%s", text], 10) == text


def test_a_program_that_fails_is_told_and_one_that_hangs_is_ended(agent: Agent) -> None:
    """With what it said; and nothing of it runs on."""
    with pytest.raises(ClusterError, match=r"nft in .* ended with 1: .*No such file"):
        agent.run(["nft", "delete", "table", "inet", "nobody"], 10)
    with pytest.raises(DeadlineExceeded):
        agent.run(["sleep", "600"], 0.2)
    assert "600" not in agent.run(["ps", "-eo", "args"], 10)


def test_there_is_one_container_whoever_asks(agent: Agent) -> None:
    """Another process finds it; one that ended is started again."""
    with daemon("the agents") as client:
        before = client.containers.get(agent.name)
        before.kill()
        again = Agent(CLUSTER, ("NET_ADMIN",), "x")
        assert again.run(["echo", "there"], 10) == "there\n"
        assert client.containers.get(agent.name).id == before.id
