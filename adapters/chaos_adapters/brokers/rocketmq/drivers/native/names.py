"""Where name servers are, as the native library wants to be told."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.spi import Address
from chaos_adapters.brokers.rocketmq.admin import servers


def name_servers(clients: Mapping[str, Address]) -> str:
    """`host:port;host:port`."""
    return ";".join(str(address) for address in servers(clients))
