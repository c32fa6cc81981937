"""The links of the Docker runtime: a Toxiproxy proxy for each port, in the pod of who connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from chaos.spi import CLIENTS, Address, Member, Port
from chaos_adapters.runtimes.toxiproxy import Server

API, CLIENT_PROXY, PROBE_PROXY = 8474, 9095, 9096
"""Ports on which every pod's Toxiproxy listens for us, for clients and for probes; those for
further ports of clients follow."""
_LOOPBACK = "127.0.0.1"
_STREAMS = ("upstream", "downstream")


@dataclass(frozen=True)
class Pod:
    """The ports of this machine's loopback that lead to one pod. `others` are those for further
    ports of clients, by name."""

    api: int
    client: int
    probe: int
    others: tuple[tuple[str, int], ...] = ()

    @property
    def published(self) -> Sequence[tuple[int, int]]:
        """All of them, each with the port of the pod to which it leads."""
        fixed = [(self.api, API), (self.client, CLIENT_PROXY), (self.probe, PROBE_PROXY)]
        more = [(number, PROBE_PROXY + place) for place, (_, number) in enumerate(self.others, 1)]
        return [*fixed, *more]

    def for_clients(self, port: str) -> int:
        """Where clients reach a port of the node."""
        return dict(self.others).get(port, self.client)


def client_ports(member: Member) -> Sequence[Port]:
    """The ports of a node that clients talk to, the one that is its address first."""
    return [port for port in member.ports if port.audience == "clients"]


def loopback_of(number: int) -> str:
    """Where, in every pod, the proxies of the links to node `number` (from 1) listen."""
    return f"127.0.1.{number}"


def link_proxy(target: str, port: str) -> str:
    """The name of the proxy, in the pod of the source, of one port of a link."""
    return f"{target}.{port}"


def client_proxy(place: int, port: Port) -> str:
    """The name of the proxy, in a node's own pod, of a port of clients."""
    return f"clients.{port.name}" if place else "clients"


@cache
def _probe_lock(pod: Pod) -> threading.Lock:  # noqa: ARG001 - one lock a pod, by the cache
    """A pod has one probe, which one prober at a time may point somewhere."""
    return threading.Lock()


@dataclass(frozen=True)
class DockerLink:
    """spi.Link. `routes` are its ports with the proxy of each and where that listens in the pod;
    the clients' link is published itself, so it needs no probe."""

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
            ports = [port for port, _, _ in self.routes if port.ping]
            at = self.pod.for_clients
            return {port.name: _ping(at(port.name), port, timeout_s) for port in ports}
        with _probe_lock(self.pod):
            found = {}
            for port, listens in [(port, at) for port, _, at in self.routes if port.ping]:
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
        inner = [port for port in target.ports if port.audience == "peers"]
        outer = client_ports(target)
        for source in members:
            if source.name != target.name and inner:
                at = loopback_of(number)
                routes = tuple(
                    (port, link_proxy(target.name, port.name), f"{at}:{port.number}")
                    for port in inner
                )
                pair = (source.name, target.name)
                links[pair] = DockerLink(*pair, pods[source.name], routes)
        if outer:
            routes = tuple(
                (port, client_proxy(place, port), "") for place, port in enumerate(outer)
            )
            links[CLIENTS, target.name] = DockerLink(
                CLIENTS, target.name, pods[target.name], routes
            )
    return links
