"""The observer: asks every name server and every controller on connections of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Group, View
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.admin import (
    SyncState,
    brokers,
    by_name,
    controllers,
    majority,
    names,
    sync_state,
)
from chaos_adapters.brokers.rocketmq.lines import Line, ask, wait
from chaos_adapters.brokers.rocketmq.reading import offset_of
from chaos_adapters.brokers.rocketmq.remoting import Frame
from chaos_adapters.brokers.rocketmq.routes import Route, route, route_fields
from chaos_adapters.brokers.rocketmq.topology import GROUP, is_broker

_PATIENCE_S = 0.025
"""Who has not answered after so long is not waited for, as long as somebody else has."""
_SILENT_S = 2.0
_ALIVE_S = 0.5
"""A name server that answered so lately is alive: a busy one may be slower than the first."""
_DISSENT_S = 1.0
_EACH_S = 0.5
_ROUTE, _METADATA, _STATE = "route", "metadata", "state"


class RocketmqObserver:
    """spi.Observer, ObservesGroups.

    Clients go by the route, so the leader in a view is the master that most name servers tell, and
    where they are divided, the one that the controllers elected. The SyncStateSet is what the
    active controller says, which is whom most controllers name: one that was cut off names itself;
    so is who was elected, and a broker that it counts as dead is not alive, whoever tells it still.
    Where there are no controllers, nobody tells which slaves are in sync.
    """

    def __init__(
        self, clients: Mapping[str, Address], topic: str, queues: int, controlled: bool
    ) -> None:
        self._clients, self._topic, self._queues = clients, topic, queues
        self._servers = {name: Line(at) for name, at in clients.items() if not is_broker(name)}
        self._controllers: dict[str, Line] = {}
        if controlled:
            found = controllers(clients, _EACH_S)
            self._controllers = {name: Line(at) for name, at in found.items()}
        self._names = names(clients)
        self._asked_at: dict[Line, float] = {}
        self._state = SyncState()
        self._state_at = 0.0
        self._named: dict[str, tuple[str, float]] = {}
        self._behind: dict[str, float] = {}
        self._routes: dict[str, Route] = {}
        self._heard: dict[str, float] = {}

    def observe(self, timeout_s: float) -> View:
        """See spi.Observer."""
        start = time.monotonic()
        self._routes = {}
        asked = self._ask(start)
        while any(line.open for line in asked.values()):
            left_s = start + (_PATIENCE_S if self._routes else timeout_s) - time.monotonic()
            if left_s <= 0:
                break
            wait(list(asked.values()), left_s)
            self._turn()
        if not self._routes:
            raise DeadlineExceeded("an answer of any name server", timeout_s)
        if not any(each.queues for each in self._routes.values()):
            raise ClusterError(f"no name server knows {self._topic}")
        return self._view(time.monotonic())

    def group(self, name: str, timeout_s: float) -> Group:
        """The backlog by the master's own figures."""
        deadline = time.monotonic() + timeout_s
        master = self._told().master
        if master is None:
            raise ClusterError(f"nobody is master, who could tell of group {name}")
        fields = {"consumerGroup": name}
        listed = ask(master, codes.GET_CONSUMER_LIST_BY_GROUP, fields, _EACH_S,
                     fine=(codes.SUCCESS, codes.SYSTEM_ERROR))  # fmt: skip
        members = len(listed.json().get("consumerIdList") or ()) if listed.body else 0
        lag: dict[int, int] = {}
        for queue in range(self._queues):
            if time.monotonic() >= deadline:
                break
            fields = {"consumerGroup": name, "topic": self._topic, "queueId": str(queue)}
            told = ask(master, codes.QUERY_CONSUMER_OFFSET, fields, _EACH_S,
                       fine=(codes.SUCCESS, codes.QUERY_NOT_FOUND))  # fmt: skip
            if told.code == codes.SUCCESS:
                end = offset_of(master, codes.GET_MAX_OFFSET, self._topic, queue, _EACH_S)
                lag[queue] = max(0, end - int(told.fields["offset"]))
        return Group("stable" if members else "empty", members, lag)

    def close(self) -> None:
        """Close all connections."""
        for line in (*self._servers.values(), *self._controllers.values()):
            line.close()

    def _ask(self, now: float) -> dict[str, Line]:
        """One question to everybody who has none open, and to the active controller another one."""
        asked = {}
        active = self._active(now)
        for name, line in self._servers.items():
            if self._free(line, now):
                line.ask(_ROUTE, codes.GET_ROUTEINFO_BY_TOPIC, route_fields(self._topic))
                asked[name] = line
        for name, line in self._controllers.items():
            if self._free(line, now):
                line.ask(_METADATA, codes.CONTROLLER_GET_METADATA_INFO, {})
                if str(line.address) == active:
                    body = f'["{GROUP}"]'.encode()
                    line.ask(_STATE, codes.CONTROLLER_GET_SYNC_STATE_DATA, {}, body)
                asked[f"controller of {name}"] = line
        return asked

    def _free(self, line: Line, now: float) -> bool:
        """Whether it can be asked. A question without an answer is asked again on a new
        connection: a machine that lost its power never closes the old one."""
        if line.open and now > self._asked_at.get(line, 0.0) + _SILENT_S:
            line.close()
        line.lost()
        if line.open or not line.connect(now):
            return False
        self._asked_at[line] = now
        return True

    def _turn(self) -> None:
        now = time.monotonic()
        for name, line in self._servers.items():
            for tag, answer in line.turn():
                if tag == _ROUTE:
                    self._heard[name] = now
                    self._routes[name] = route(answer)
        for line in self._controllers.values():
            for tag, answer in line.turn():
                self._take(tag, answer, str(line.address), now)

    def _take(self, tag: Any, answer: Frame, who: str, now: float) -> None:  # noqa: ANN401
        if answer.code != codes.SUCCESS:
            return
        if tag == _METADATA:
            self._named[who] = answer.fields.get("controllerLeaderAddress") or "", now
        elif tag == _STATE:
            found = sync_state(answer.json())
            if found.epoch >= self._state.epoch:
                self._state, self._state_at = found, now

    def _active(self, now: float) -> str:
        """Whom more than half of all controllers have named lately."""
        said = [active for active, at in self._named.values() if now <= at + _SILENT_S]
        return majority(said, len(self._controllers)) or ""

    def _told(self) -> Route:
        """What most name servers say, first of who is master, as brokers register with one name
        server after the other; of those who disagree, who agrees with the controllers."""
        said = list(self._routes.values())
        votes = [
            (
                sum(other.master == each.master for other in said),
                str(each.master) == self._state.master,
                said.count(each),
            )
            for each in said
        ]
        return said[votes.index(max(votes))] if said else Route()

    def _view(self, now: float) -> View:
        told, state = self._told(), self._state
        queues = range(self._queues)
        master = self._names.get(str(told.master)) if told.master else None
        known = tuple(sorted(brokers(self._clients)))
        fresh = now <= self._state_at + _SILENT_S
        in_sync = by_name(self._clients, state.in_sync) if fresh else ()
        elected = self._names.get(state.master) if fresh else None
        dead = by_name(self._clients, state.dead) if fresh else ()
        serving = by_name(self._clients, [*told.brokers.values()])
        heard = [name for name, at in self._heard.items() if now <= at + _ALIVE_S]
        return View(
            controller=self._controller(now),
            leaders=dict.fromkeys(queues, master),
            replicas=dict.fromkeys(queues, known),
            in_sync=dict.fromkeys(queues, in_sync) if in_sync else {},
            alive=tuple(sorted({*serving, *heard} - {*dead})),
            dissenting=self._dissenting(told, now),
            elected=dict.fromkeys(queues, elected) if elected else {},
        )

    def _controller(self, now: float) -> str | None:
        at = {str(line.address): name for name, line in self._controllers.items()}
        return at.get(self._active(now))

    def _dissenting(self, told: Route, now: float) -> tuple[str, ...]:
        """Name servers that have been telling another master for a while."""
        other = [name for name, each in self._routes.items() if each.master != told.master]
        self._behind = {name: self._behind.get(name, now) for name in other}
        return tuple(n for n, since in self._behind.items() if now - since >= _DISSENT_S)
