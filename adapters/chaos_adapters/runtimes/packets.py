"""Packet rules of the Docker runtime: nftables, a table of our own in the pod where packets arrive.

They drop where a packet comes in, as a lossy network does: its sender sends again, and what it sent
is counted. Only what goes to clients is dropped where it leaves, as a pod owns no further place.
A table is named after cluster and fault; removing it is the whole undo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from docker.errors import NotFound

from chaos.errors import ClusterError
from chaos.spi import CLIENTS, Losses, Way
from chaos_adapters.runtimes.agent import Agent
from chaos_adapters.runtimes.daemon import LABEL, daemon
from chaos_adapters.runtimes.mesh import CLIENT_PROXIES

PREFIX = "mqchaos"
_WITHIN_S = 10.0
_MILLION = 1_000_000
_CLOSING = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, 0x01 | 0x04]}  # FIN, RST

T = TypeVar("T")


@dataclass(frozen=True)
class DockerPackets:
    """spi.Packets, of the pods of these nodes."""

    cluster_id: str
    nodes: tuple[str, ...]

    def lose(self, name: str, ways: Sequence[Way], share: float) -> None:
        """One transaction in each pod where packets are to be dropped."""
        addresses = self._addresses()
        rules: dict[str, list[Any]] = {}
        for way in ways:
            pod = way[0] if way[1] == CLIENTS else way[1]
            rules.setdefault(pod, []).extend(_rules(way, addresses, share))
        self._everywhere(tuple(rules), lambda pod: self._set(pod, self._table(name), rules[pod]))

    def regain(self, name: str) -> None:
        """Remove the table of this name from every pod; adding it first makes that idempotent."""
        table = {"table": {"family": "inet", "name": self._table(name)}}

        def remove(pod: str) -> None:
            _nft(self._agent(pod), [{"add": table}, {"delete": table}])

        self._everywhere(self.nodes, remove)

    def losses(self) -> Mapping[str, Mapping[Way, Losses]]:
        """From every pod that may have some: one that runs, and that has had an agent."""
        found: dict[str, dict[Way, Losses]] = {}
        pods = [pod for pod in self.nodes if self._may_have_rules(pod)]
        for tables in self._everywhere(pods, self._read):
            for name, ways in tables.items():
                found.setdefault(name, {}).update(ways)
        return found

    def retransmitted(self, nodes: Sequence[str]) -> int:
        """As the kernel counts for the pod's network."""
        return sum(self._everywhere(tuple(nodes), lambda pod: _retransmitted(self._agent(pod))))

    def _agent(self, pod: str) -> Agent:
        return Agent(self.cluster_id, ("NET_ADMIN",), pod)

    def _may_have_rules(self, pod: str) -> bool:
        agent = self._agent(pod)
        with daemon(f"agent of {pod}") as client:
            try:
                found = client.containers.get(agent.name)
            except NotFound:
                return False
            return found.status == "running" or agent.pod_runs(client)

    def _table(self, name: str) -> str:
        return f"{PREFIX}_{self.cluster_id}_{name}"

    def _set(self, pod: str, name: str, rules: Sequence[Any]) -> None:
        table = {"family": "inet", "name": name}
        chains = [
            {"add": {"chain": {
                "family": "inet", "table": name, "name": chain, "type": "filter", "hook": hook,
                "prio": priority, "policy": "accept",
            }}}
            for chain, hook, priority in (
                ("in", "input", -150), ("in_later", "input", 150),
                ("out", "output", -150), ("out_later", "output", 150),
            )
        ]  # fmt: skip
        made = [{"add": {"rule": {"family": "inet", "table": name, **rule}}} for rule in rules]
        fresh = [{"add": {"table": table}}, {"delete": {"table": table}}, {"add": {"table": table}}]
        _nft(self._agent(pod), [*fresh, *chains, *made])

    def _read(self, pod: str) -> dict[str, dict[Way, Losses]]:
        """Table by table, what its rules counted."""
        agent, prefix = self._agent(pod), self._table("")
        told = json.loads(agent.run(["nft", "-j", "list", "ruleset"], _WITHIN_S))["nftables"]
        counts: dict[str, dict[Way, dict[str, int]]] = {}
        for each in told:
            if "table" in each and each["table"]["name"].startswith(prefix):
                counts.setdefault(each["table"]["name"].removeprefix(prefix), {})
            rule = each.get("rule", {})
            if rule.get("table", "").startswith(prefix):
                what, source, target = rule["comment"].split("|")
                ways = counts.setdefault(rule["table"].removeprefix(prefix), {})
                ways.setdefault((source, target), {})[what] = _packets(rule["expr"])
        return {
            name: {way: _losses(found) for way, found in ways.items()}
            for name, ways in counts.items()
        }

    def _addresses(self) -> Mapping[str, str]:
        """Of each pod, as its peers see it."""
        with daemon("addresses of the pods") as client:
            mark = {"label": [f"{LABEL}={self.cluster_id}", "mqchaos.part=net"]}
            found = {
                container.labels["mqchaos.node"]: next(
                    network["IPAddress"]
                    for network in container.attrs["NetworkSettings"]["Networks"].values()
                )
                for container in client.containers.list(filters=mark)
            }
        if lacking := set(self.nodes) - {name for name, address in found.items() if address}:
            raise ClusterError(f"the pods of {', '.join(sorted(lacking))} do not run any more")
        return found

    def _everywhere(self, pods: Sequence[str], act: Callable[[str], T]) -> list[T]:
        with ThreadPoolExecutor(max(1, len(pods))) as pool:
            return list(pool.map(act, pods))


def _rules(way: Way, addresses: Mapping[str, str], share: float) -> Iterator[dict[str, Any]]:
    """Count what comes by, drop the share of it, and count which closing ones got through."""
    source, target = way
    if CLIENTS in way:
        field = "sport" if target == CLIENTS else "dport"
        ports = {"set": list(CLIENT_PROXIES)}
        these = _match("==", {"payload": {"protocol": "tcp", "field": field}}, ports)
    else:
        own = {"payload": {"protocol": "ip", "field": "saddr"}}
        these = _match("==", own, addresses[source])
    chain = "out" if target == CLIENTS else "in"
    random = {"numgen": {"mode": "random", "mod": _MILLION, "offset": 0}}
    drawn = [] if share >= 1 else [_match("<", random, round(share * _MILLION))]
    other = [] if share >= 1 else [_match("==", _CLOSING, 0)]
    for where, what, match in (
        (chain, "seen", [these]),
        (chain, "closing", [these, _match("!=", _CLOSING, 0), *drawn]),
        (chain, "dropped", [these, *other, *drawn]),
        (f"{chain}_later", "passed", [these, _match("!=", _CLOSING, 0)]),
    ):
        end: list[Any] = [{"counter": None}]
        if what in ("closing", "dropped"):
            end.append({"drop": None})
        yield {"chain": where, "expr": [*match, *end], "comment": f"{what}|{source}|{target}"}


def _match(operator: str, left: Any, right: Any) -> dict[str, Any]:  # noqa: ANN401 - as nft has it
    return {"match": {"op": operator, "left": left, "right": right}}


def _nft(agent: Agent, commands: Sequence[Any]) -> None:
    agent.run(["nft", "-j", "-f", "-"], _WITHIN_S, json.dumps({"nftables": commands}))


def _packets(expressions: Sequence[Mapping[str, Any]]) -> int:
    return next(int(each["counter"]["packets"]) for each in expressions if "counter" in each)


def _losses(found: Mapping[str, int]) -> Losses:
    closing = found.get("closing", 0)
    return Losses(
        found.get("seen", 0), found.get("dropped", 0) + closing, closing, found.get("passed", 0)
    )


def _retransmitted(agent: Agent) -> int:
    lines = agent.run(["cat", "/proc/net/snmp"], _WITHIN_S).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])
