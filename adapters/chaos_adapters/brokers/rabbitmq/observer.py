"""The observer: asks every node on a connection of its own, so that none delays another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Address, Group, View
from chaos_adapters.brokers.rabbitmq.api import Api
from chaos_adapters.brokers.rabbitmq.stream import Queues
from chaos_adapters.brokers.rabbitmq.tales import Tale, against, backlog, told, view

_PATIENCE_S = 0.1
"""Who has not answered after so long is not waited for, as long as somebody else has."""
_FRESH_S = 1.5
"""For how long a node that does not answer counts as saying what it said last."""
_DISSENT_S = 1.0
"""Nodes that name another leader than the rest for less are only slow."""
_ANSWER_S = 10.0
"""A node that was parted from others answers when it has given them up."""


class RabbitObserver:
    """spi.Observer and spi.ObservesGroups."""

    every_s = 0.1
    """See spi.Paced: a look costs each node two answers out of its own tables."""

    def __init__(self, clients: Mapping[str, Address], stream: Queues) -> None:
        self._stream, self._nodes = stream, tuple(clients)
        self._apis = {name: Api(name, address) for name, address in clients.items()}
        # Connections of its own: backlogs are asked for beside everything else.
        self._counting = [Api(name, address) for name, address in clients.items()]
        self._pool = ThreadPoolExecutor(len(clients), "rabbitmq-observer")
        self._asked: dict[str, Future[Tale]] = {}
        self._tales: dict[str, tuple[float, Tale]] = {}
        self._against: dict[str, float] = {}
        self._last = View()

    def observe(self, timeout_s: float) -> View:
        """What the nodes say that answer at once; or the first that does at all."""
        start = time.monotonic()
        for name, api in self._apis.items():
            if name not in self._asked:
                self._asked[name] = self._pool.submit(
                    told, api, self._stream, self._nodes, _ANSWER_S
                )
        fresh = self._answers(start, timeout_s)
        if not fresh:
            raise DeadlineExceeded("an answer of any node", timeout_s)
        if not any(tale.queues for tale in fresh.values()):
            raise ClusterError(f"RabbitMQ does not know {self._stream.name}")
        believed = view(fresh, self._last)
        dissenting = self._dissenting(fresh, believed, start)
        self._last = view(fresh, self._last, dissenting)
        return self._last

    def _answers(self, start: float, timeout_s: float) -> dict[str, Tale]:
        """By node, what it said in this look or not long before."""
        heard = False
        while self._asked:
            left_s = start + (_PATIENCE_S if heard else timeout_s) - time.monotonic()
            done, _ = wait(self._asked.values(), max(0.0, left_s), FIRST_COMPLETED)
            if not done:
                break
            for name, asked in list(self._asked.items()):
                if asked in done:
                    del self._asked[name]
                    heard = self._take(name, asked) or heard
        now = time.monotonic()
        if not heard:
            return {}
        return {name: tale for name, (at, tale) in self._tales.items() if now - at < _FRESH_S}

    def _take(self, name: str, asked: Future[Tale]) -> bool:
        try:
            self._tales[name] = time.monotonic(), asked.result()
        except ClusterError:
            return False  # it is down, or does not serve yet
        return True

    def _dissenting(self, tales: Mapping[str, Tale], believed: View, now: float) -> list[str]:
        self._against = {name: self._against.get(name, now) for name in against(tales, believed)}
        # What a node that has died meanwhile said last is no dissent, so it has to say it again.
        return [
            name for name, since in self._against.items()
            if self._tales[name][0] - since >= _DISSENT_S
        ]  # fmt: skip

    def group(self, name: str, timeout_s: float) -> Group:  # noqa: ARG002 - queues know no groups
        """What the queues still hold, settled by nobody yet, says the first node that can tell."""
        failed: ClusterError | None = None
        for api in tuple(self._counting):
            try:
                return Group("stable", 0, backlog(api, self._stream, timeout_s))
            except ClusterError as error:
                failed = error
                self._counting.append(self._counting.pop(0))  # it is asked last from now on
        raise failed or DeadlineExceeded("an answer of any node", timeout_s)

    def close(self) -> None:
        """Close all connections, those in use too."""
        for api in (*self._apis.values(), *self._counting):
            api.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
