"""A container as a node: what the daemon says no to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from docker.errors import APIError

from chaos.errors import ClusterError
from chaos.spi import NodeState
from chaos_adapters.runtimes import daemon, docker_node


class Container:
    """Says no to a pause, each time for another reason, until there is none left."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons, self.status = reasons, "running"

    def pause(self) -> None:
        """As the SDK does it."""
        if self.reasons:
            raise APIError("500 Server Error", explanation=self.reasons.pop(0))
        self.status = "paused"


def node(monkeypatch: pytest.MonkeyPatch, container: Container) -> docker_node.DockerNode:
    """The one node of a daemon that has one container."""
    containers = SimpleNamespace(list=lambda **_: [container])
    monkeypatch.setattr(daemon, "client", lambda _: SimpleNamespace(containers=containers))
    return docker_node.DockerNode("kafka-1", "c1", Path())


BUSY = "Cannot pause container c1: OCI runtime pause failed: unable to freeze: unknown"


def test_a_freezer_that_is_too_busy_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is frozen at last."""
    frozen = node(monkeypatch, Container([BUSY, BUSY]))
    frozen.pause()
    assert frozen.state() is NodeState.PAUSED


def test_any_other_refusal_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the daemon's words, and nothing is tried again."""
    refused = Container(["no space left on device", BUSY])
    with pytest.raises(ClusterError, match=r"pause kafka-1: .*no space left"):
        node(monkeypatch, refused).pause()
    assert refused.reasons == [BUSY]


def test_a_freezer_that_never_gets_hold_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline, and what was waited for."""
    monkeypatch.setattr(docker_node, "_FROZEN_WITHIN_S", 0.2)
    with pytest.raises(ClusterError, match="the freezer to get hold of kafka-1"):
        node(monkeypatch, Container([BUSY] * 100)).pause()
