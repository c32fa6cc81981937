"""The links of the Docker runtime: a Toxiproxy proxy for each port, in the pod of who connects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from chaos.spi import BOTH, CLIENTS, DOWNSTREAM, UPSTREAM, Address, Member, Port
from chaos_adapters.runtimes.pings import OpenConnection, flow, ping, reaches, witness
from chaos_adapters.runtimes.toxiproxy import Server

CLIENT_PROXY, PROBE_PROXY = 9095, 9096
"""Ports on which every pod's Toxiproxy listens for clients and for probes."""
_LOOPBACK = "127.0.0.1"
_STREAMS = (UPSTREAM, DOWNSTREAM)

T = TypeVar("T")


@dataclass(frozen=True)
class Pod:
    """The ports of this machine's loopback that lead to one pod."""

    api: int
    client: int
    probe: int


def loopback_of(number: int) -> str:
    """Where, in every pod, the proxies of the links to node `number` (from 1) listen."""
    return f"127.0.1.{number}"


def link_proxy(target: str, port: str) -> str:
    """The name of the proxy, in the pod of the source, of one port of a link."""
    return f"{target}.{port}"


@cache
def _probe_lock(pod: Pod) -> threading.Lock:  # noqa: ARG001 - one lock a pod, by the cache
    """A pod has one probe, which one prober at a time may point somewhere."""
    return threading.Lock()


@dataclass(frozen=True)
class DockerLink:
    """spi.Link. `routes` are its ports with the proxy of each and where that listens in the pod,
    `home` is the target's pod; the clients' link is published itself, so it needs no probe."""

    source: str
    target: str
    pod: Pod
    routes: tuple[tuple[Port, str, str], ...]
    home: Pod

    @property
    def _server(self) -> Server:
        return self._at(self.pod)

    @staticmethod
    def _at(pod: Pod) -> Server:
        return Server(Address(_LOOPBACK, pod.api))

    def impose(self, name: str, kind: str, stream: str = BOTH, **attributes: float) -> None:
        """On every port of the link."""
        for _, proxy, _ in self.routes:
            for each in _STREAMS if stream == BOTH else (stream,):
                self._server.add(proxy, f"{name}.{each}", kind, each, attributes)

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
        return {
            port.name: seconds
            for port, seconds in self._through(lambda number, port: ping(number, port, timeout_s))
        }

    def reaches(self, timeout_s: float) -> bool:
        """One byte to each port."""
        found = self._through(lambda number, port: reaches(number, port, timeout_s))
        return all(arrived for _, arrived in found)

    def serves(self, timeout_s: float) -> bool:
        """Ping each port within the target's own pod."""
        with _probe_lock(self.home):
            for port, _, _ in self.routes:
                self._at(self.home).redirect("probe", f"{self.target}:{port.number}")
                if ping(self.home.probe, port, timeout_s) is None:
                    return False
        return True

    @contextmanager
    def witness(self, timeout_s: float) -> Iterator[OpenConnection]:
        """As long as it lasts, nobody else measures from this pod."""
        with self._first() as (number, port), witness(number, port, timeout_s) as found:
            yield found

    def flow(self, size: int, timeout_s: float) -> tuple[float, float]:
        """Over the first port."""
        with self._first() as (number, port):
            return flow(number, port, size, timeout_s)

    def _through(self, look: Callable[[int, Port], T]) -> list[tuple[Port, T]]:
        """What is seen through each port of the link."""
        if self.source == CLIENTS:
            return [(port, look(self.pod.client, port)) for port, _, _ in self.routes]
        with _probe_lock(self.pod):
            found = []
            for port, _, listens in self.routes:
                self._server.redirect("probe", listens)
                found.append((port, look(self.pod.probe, port)))
            return found

    @contextmanager
    def _first(self) -> Iterator[tuple[int, Port]]:
        """A port of this machine that leads through the link, and whose it is."""
        port, _, listens = self.routes[0]
        if self.source == CLIENTS:
            yield self.pod.client, port
            return
        with _probe_lock(self.pod):
            self._server.redirect("probe", listens)
            yield self.pod.probe, port


def links_of(
    members: Sequence[Member], pods: Mapping[str, Pod]
) -> Mapping[tuple[str, str], DockerLink]:
    """Every ordered pair of nodes that talk to each other, and the clients' way to each node."""
    links = {}
    for number, target in enumerate(members, 1):
        inner = [port for port in target.ports if port.audience == "peers"]
        outer = [port for port in target.ports if port.audience == "clients"]
        for source in members:
            if source.name != target.name and inner:
                at = loopback_of(number)
                routes = tuple(
                    (port, link_proxy(target.name, port.name), f"{at}:{port.number}")
                    for port in inner
                )
                pair = (source.name, target.name)
                links[pair] = DockerLink(*pair, pods[source.name], routes, pods[target.name])
        if outer:
            routes = tuple((port, "clients", "") for port in outer)
            pod = pods[target.name]
            links[CLIENTS, target.name] = DockerLink(CLIENTS, target.name, pod, routes, pod)
    return links
