"""The links of the Docker runtime: a Toxiproxy proxy for each port, in the pod of who connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from chaos.spi import CLIENTS, Address, Member, Port
from chaos_adapters.runtimes.toxiproxy import Server

CLIENT_PROXY, PROBE_PROXY = 9095, 9096
"""Ports on which every pod's Toxiproxy listens for clients and for probes."""
_MORE_CLIENT_PROXIES = 9100
_LOOPBACK = "127.0.0.1"
_STREAMS = ("upstream", "downstream")


@dataclass(frozen=True)
class Pod:
    """The ports of this machine's loopback that lead to one pod."""

    api: int
    client: int
    probe: int
    everywhere: Mapping[str, int] = field(default_factory=dict)
    """The numbers of the ports that are right everywhere, by the port's name."""

    def number(self, port: Port) -> int:
        """Where the node itself listens."""
        return self.everywhere.get(port.name, port.number)


def loopback_of(number: int) -> str:
    """Where, in every pod, the proxies of the links to node `number` (from 1) listen."""
    return f"127.0.1.{number}"


def link_proxy(target: str, port: str) -> str:
    """The name of the proxy, in the pod of the source, of one port of a link."""
    return f"{target}.{port}"


def client_proxies(member: Member, pod: Pod) -> Sequence[tuple[Port, str, int, int]]:
    """The ports of a node that clients use, each with its proxy, where that listens in the pod, and
    the port of this machine that leads there."""
    found: list[tuple[Port, str, int, int]] = []
    for number, port in enumerate(port for port in member.ports if port.for_clients):
        name = "clients" if not number else f"clients.{port.name}"
        listens = CLIENT_PROXY if not number else _MORE_CLIENT_PROXIES + number
        found.append((port, name, listens, pod.everywhere.get(port.name, pod.client)))
    return found


def link_address(number: int, port: Port, pod: Pod) -> str:
    """Where, in every other pod, the proxy of a port of node `number` (from 1) listens."""
    if port.name in pod.everywhere:
        return f"{_LOOPBACK}:{pod.everywhere[port.name]}"
    return f"{loopback_of(number)}:{port.number}"


@cache
def _probe_lock(pod: Pod) -> threading.Lock:  # noqa: ARG001 - one lock a pod, by the cache
    """A pod has one probe, which one prober at a time may point somewhere."""
    return threading.Lock()


@dataclass(frozen=True)
class DockerLink:
    """spi.Link. `routes` are its ports with the proxy of each and where that listens in the pod;
    the clients' link is published itself, so it needs no probe, and tells where on this machine."""

    source: str
    target: str
    pod: Pod
    routes: tuple[tuple[Port, str, str], ...]

    @property
    def _server(self) -> Server:
        return Server(Address(_LOOPBACK, self.pod.api))

    def impose(self, name: str, kind: str, **attributes: float) -> None:
        """On every port of the link, in both directions."""
        for _, proxy, _ in self.routes:
            for stream in _STREAMS:
                self._server.add(proxy, f"{name}.{stream}", kind, stream, attributes)

    def lift(self, name: str) -> None:
        """From every port of the link."""
        for _, proxy, _ in self.routes:
            for stream in _STREAMS:
                self._server.remove(proxy, f"{name}.{stream}")

    def imposed(self) -> frozenset[str]:
        """What is on all its ports together."""
        found = (toxic for _, proxy, _ in self.routes for toxic in self._server.toxics(proxy))
        return frozenset(toxic.rpartition(".")[0] for toxic in found)

    def probe(self, timeout_s: float) -> Mapping[str, float | None]:
        """Ping each port."""
        if self.source == CLIENTS:
            return {port.name: _ping(int(at), port, timeout_s) for port, _, at in self.routes}
        with _probe_lock(self.pod):
            found = {}
            for port, _, listens in self.routes:
                self._server.redirect("probe", listens)
                found[port.name] = _ping(self.pod.probe, port, timeout_s)
            return found


def _ping(number: int, port: Port, timeout_s: float) -> float | None:
    """Seconds until the first byte of the answer came back through a published port."""
    started = time.monotonic()
    try:
        with socket.create_connection((_LOOPBACK, number), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(port.ping)
            answered = bool(connection.recv(1))
    except OSError:
        return None
    return time.monotonic() - started if answered else None


def links_of(
    members: Sequence[Member], pods: Mapping[str, Pod]
) -> Mapping[tuple[str, str], DockerLink]:
    """Every ordered pair of nodes that talk to each other, and the clients' way to each node."""
    links = {}
    for number, target in enumerate(members, 1):
        inner = [port for port in target.ports if port.for_peers]
        outer = client_proxies(target, pods[target.name])
        for source in members:
            if source.name != target.name and inner:
                routes = tuple(
                    (
                        port,
                        link_proxy(target.name, port.name),
                        link_address(number, port, pods[target.name]),
                    )
                    for port in inner
                )
                pair = (source.name, target.name)
                links[pair] = DockerLink(*pair, pods[source.name], routes)
        if outer:
            routes = tuple((port, proxy, str(at)) for port, proxy, _, at in outer)
            links[CLIENTS, target.name] = DockerLink(
                CLIENTS, target.name, pods[target.name], routes
            )
    return links
