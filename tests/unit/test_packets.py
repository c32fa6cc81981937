"""Packet rules take in every port by which clients reach a node, and none of ours."""

from __future__ import annotations

import pytest

from chaos.spi import CLIENTS
from chaos_adapters.runtimes import packets
from chaos_adapters.runtimes.mesh import API, PROBE_PROXY, Pod


@pytest.mark.parametrize("way", [(CLIENTS, "n-1"), ("n-1", CLIENTS)])
def test_rules_for_clients(way: tuple[str, str]) -> None:
    """RabbitMQ's streams and RocketMQ's controllers have ports of their own for clients."""
    pod = Pod(20001, 20002, 20003, (("stream", 20004), ("management", 20005)))
    ours = {API, PROBE_PROXY}
    theirs = {inner for _, inner in pod.published} - ours
    assert len(theirs) == 3
    for rule in packets._rules(way, {}, 0.5):
        matched = set(rule["expr"][0]["match"]["right"]["set"])
        assert theirs <= matched
        assert not matched & ours
