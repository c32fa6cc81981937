"""Who serves a topic: what name servers tell, and a client that keeps itself up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaos.spi import Address
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.lines import Line
from chaos_adapters.brokers.rocketmq.remoting import Frame
from chaos_adapters.brokers.rocketmq.topology import GROUP

MASTER = 0
"""The id of whoever is master."""
_SILENT_S = 1.0
"""A name server that has not answered for so long is left for the next one."""
_HURRY_S = 0.05


def address(text: str) -> Address:
    """`127.0.0.1:10911`."""
    host, _, port = text.rpartition(":")
    return Address(host, int(port))


@dataclass(frozen=True)
class Route:
    """The brokers of the topic by their ids, and how many queues each of them has."""

    brokers: Mapping[int, Address] = field(default_factory=dict)
    queues: int = 0

    @property
    def master(self) -> Address | None:
        """Who takes messages; None: nobody."""
        return self.brokers.get(MASTER)

    @property
    def source(self) -> Address | None:
        """Who gives messages: the master, else the first slave."""
        return self.brokers[min(self.brokers)] if self.brokers else None


def route(frame: Frame) -> Route:
    """An answer to GET_ROUTEINFO_BY_TOPIC; empty where the name server knows no such topic."""
    if frame.code != codes.SUCCESS:
        return Route()
    about = frame.json()
    brokers = {
        int(number): address(at)
        for each in about["brokerDatas"]
        if each["brokerName"] == GROUP
        for number, at in each["brokerAddrs"].items()
    }
    queues = [q["writeQueueNums"] for q in about["queueDatas"] if q["brokerName"] == GROUP]
    return Route(brokers, queues[0] if queues else 0)


def route_fields(topic: str) -> Mapping[str, object]:
    """What to ask a name server with."""
    return {"topic": topic, "acceptStandardJsonOnly": True}


class RouteWatch:
    """Asks one name server again and again, another one when it does not answer."""

    def __init__(self, servers: Sequence[Address], topic: str, every_s: float) -> None:
        self.route = Route()
        self._lines = [Line(server) for server in servers]
        self._topic, self._every_s = topic, every_s
        self._current, self._asked_at, self._heard_at = 0, 0.0, 0.0
        self._hurry = True

    @property
    def line(self) -> Line:
        """To poll with."""
        return self._lines[self._current]

    def hurry(self) -> None:
        """What is known seems to be wrong: ask at once, and often until it changes."""
        self._hurry = True

    def turn(self, now: float) -> bool:
        """Ask what is due, take in what was answered; whether the route changed."""
        changed = False
        for _, frame in self.line.turn():
            self._heard_at = now
            found = route(frame)
            if self.route.queues and not found.queues:
                continue  # a name server that has just started: no broker has told it the topic
            changed |= found != self.route
            self._hurry &= found == self.route or found.master is None
            self.route = found
        if self._lost(now):
            self.line.close()
            self.line.lost()
            self._current = (self._current + 1) % len(self._lines)
            self._asked_at, self._heard_at = 0.0, now
        every_s = _HURRY_S if self._hurry or not self.route.master else self._every_s
        if not self.line.open and now >= self._asked_at + every_s and self.line.connect(now):
            self._asked_at = now
            self.line.ask(True, codes.GET_ROUTEINFO_BY_TOPIC, route_fields(self._topic))
        return changed

    def due_s(self, now: float) -> float:
        """In how many seconds to call `turn` again, at the latest."""
        every_s = _HURRY_S if self._hurry or not self.route.master else self._every_s
        return max(0.0, min(self._asked_at + every_s - now, 0.5))

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _lost(self, now: float) -> bool:
        silent = bool(self.line.open) and now > self._asked_at + _SILENT_S
        return silent or (self._asked_at > 0 and not self.line.connected)
