"""The links of the Docker runtime: a Toxiproxy proxy for each port, in the pod of who connects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

from chaos.spi import BOTH, CLIENTS, DOWNSTREAM, UPSTREAM, Address, Member, Port
from chaos_adapters.runtimes.pings import OpenConnection, flow, ping, reaches, witness
from chaos_adapters.runtimes.toxiproxy import Server

API, CLIENT_PROXY, PROBE_PROXY = 8474, 9095, 9096
"""Ports on which every pod's Toxiproxy listens for us, for clients and for probes; those for
further ports of clients follow."""
CLIENT_PROXIES = (CLIENT_PROXY, *range(PROBE_PROXY + 1, PROBE_PROXY + 9))
"""All of them for clients, of a node with up to nine such ports."""
_LOOPBACK = "127.0.0.1"
_STREAMS = (UPSTREAM, DOWNSTREAM)

T = TypeVar("T")


@dataclass(frozen=True)
class Pod:
    """The ports of this machine's loopback that lead to one pod. `others` are those for further
    ports of clients, by name; `everywhere` the numbers of the node's ports that are the same in
    every place, by name."""

    api: int
    client: int
    probe: int
    others: tuple[tuple[str, int], ...] = ()
    everywhere: tuple[tuple[str, int], ...] = ()

    @property
    def published(self) -> Sequence[tuple[int, int]]:
        """All of them, each with the port of the pod to which it leads."""
        fixed = [(self.api, API), (self.client, CLIENT_PROXY), (self.probe, PROBE_PROXY)]
        more = [(number, PROBE_PROXY + place) for place, (_, number) in enumerate(self.others, 1)]
        return [*fixed, *more]

    def for_clients(self, port: str) -> int:
        """Where clients reach a port of the node."""
        return dict(self.others).get(port, self.client)

    def number(self, port: Port) -> int:
        """On which the node itself listens."""
        return dict(self.everywhere).get(port.name, port.number)


def client_ports(member: Member) -> Sequence[Port]:
    """The ports of a node that clients talk to, the one that is its address first."""
    return [port for port in member.ports if port.for_clients]


def loopback_of(number: int) -> str:
    """Where, in every pod, the proxies of the links to node `number` (from 1) listen."""
    return f"127.0.1.{number}"


def link_proxy(target: str, port: str) -> str:
    """The name of the proxy, in the pod of the source, of one port of a link."""
    return f"{target}.{port}"


def link_listens(number: int, port: Port, home: Pod) -> str:
    """Where, in every other pod, the proxy of a port of node `number` listens: at the node's own
    address for it, if that is to be right everywhere."""
    host = _LOOPBACK if port.everywhere else loopback_of(number)
    return f"{host}:{home.number(port)}"


def client_proxy(place: int, port: Port) -> str:
    """The name of the proxy, in a node's own pod, of a port of clients."""
    return f"clients.{port.name}" if place else "clients"


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
        """From every port of the link, at once: each may take a second or two."""

        def lift_from(proxy: str) -> None:
            for stream in _STREAMS:
                self._server.remove(proxy, f"{name}.{stream}")

        with ThreadPoolExecutor(len(self.routes)) as pool:
            for done in [pool.submit(lift_from, proxy) for _, proxy, _ in self.routes]:
                done.result()

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
        found = list(self._through(lambda number, port: reaches(number, port, timeout_s)))
        return all(arrived for _, arrived in found)

    def serves(self, timeout_s: float) -> bool:
        """Ping each port within the target's own pod."""
        with _probe_lock(self.home):
            for port, _ in self._pinged:
                self._at(self.home).redirect("probe", f"{self.target}:{self.home.number(port)}")
                if ping(self.home.probe, port, timeout_s) is None:
                    return False
        return True

    @contextmanager
    def witness(self, timeout_s: float) -> Iterator[OpenConnection]:
        """As long as it lasts, nobody else measures from this pod."""
        with self._first() as (number, port), witness(number, port, timeout_s) as found:
            yield found

    def flow(self, size: int, timeout_s: float) -> tuple[float, float]:
        """Over the first port whose protocol answers more than once a connection; zeros: over
        none."""
        with closing(self._through(partial(flow, size=size, timeout_s=timeout_s))) as found:
            return next((rates for _, rates in found if any(rates)), (0.0, 0.0))

    @property
    def _pinged(self) -> list[tuple[Port, str]]:
        """The ports that can be asked something, and where their proxies listen."""
        return [(port, listens) for port, _, listens in self.routes if port.ping]

    def _through(self, look: Callable[[int, Port], T]) -> Generator[tuple[Port, T]]:
        """What is seen through each port of the link, one after the other; as long as it is not
        closed or over, nobody else measures from this pod."""
        if self.source == CLIENTS:
            for port, _ in self._pinged:
                yield port, look(self.pod.for_clients(port.name), port)
            return
        with _probe_lock(self.pod):
            for port, listens in self._pinged:
                self._server.redirect("probe", listens)
                yield port, look(self.pod.probe, port)

    @contextmanager
    def _first(self) -> Iterator[tuple[int, Port]]:
        """A port of this machine that leads through the link, and whose it is."""
        port, listens = self._pinged[0]
        if self.source == CLIENTS:
            yield self.pod.for_clients(port.name), port
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
        inner = [port for port in target.ports if port.for_peers]
        outer = client_ports(target)
        for source in members:
            if source.name != target.name and inner:
                home = pods[target.name]
                routes = tuple(
                    (port, link_proxy(target.name, port.name), link_listens(number, port, home))
                    for port in inner
                )
                pair = (source.name, target.name)
                links[pair] = DockerLink(*pair, pods[source.name], routes, home)
        if outer:
            routes = tuple(
                (port, client_proxy(place, port), "") for place, port in enumerate(outer)
            )
            pod = pods[target.name]
            links[CLIENTS, target.name] = DockerLink(CLIENTS, target.name, pod, routes, pod)
    return links
