"""Runs the nodes of a broker as plain child processes, without any runtime."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from chaos.spi import Address, Broker, Command, Launch, Member, Place
from chaos.timing import wait_until


def place(
    member: Member, addresses: dict[str, dict[str, Address]], directory: Path = Path("/here")
) -> Place:
    """A place for one member, given the address of each port of each member."""
    return Place(
        cluster_id="contract",
        member=member,
        data_dir=str(directory / "data"),
        config_dir=str(directory / "config"),
        listen=addresses[member.name],
        reach=addresses,
        client={name: client(ports) for name, ports in addresses.items()},
    )


def client(ports: dict[str, Address]) -> Address:
    """What clients connect to, whatever else they use of the node."""
    first, *others = ports.items()
    return replace(first[1], others=tuple((name, each.port) for name, each in others))


def addresses(broker: Broker) -> dict[str, dict[str, Address]]:
    """A free loopback address for each port of each member."""
    found, held = {}, []
    for member in broker.members():
        found[member.name] = {}
        for port in member.ports:
            held.append(socket.create_server(("127.0.0.1", 0)))
            found[member.name][port.name] = Address(*held[-1].getsockname())
    for listener in held:
        listener.close()
    return found


class Nodes:
    """The processes of one cluster."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        ports = addresses(broker)
        self.broker = broker
        self.clients = {name: next(iter(own.values())) for name, own in ports.items()}
        self._launches: dict[str, Launch] = {}
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for member in broker.members():
            where = place(member, ports, directory / member.name)
            self._launches[member.name] = broker.launch(where)
            for name, text in self._launches[member.name].files.items():
                file = Path(where.config_dir) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            self.start(member.name)

    def start(self, node: str) -> None:
        launch = self._launches[node]
        assert isinstance(launch.program, Command)
        with (self._directory / node / "log").open("ab") as log:
            self._processes[node] = subprocess.Popen(
                launch.program.argv, env={**os.environ, **launch.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def signal(self, node: str, number: signal.Signals) -> None:
        self._processes[node].send_signal(number)

    def kill(self, node: str) -> None:
        self._processes[node].kill()
        self._processes[node].wait(10)

    def running(self, node: str) -> bool:
        return self._processes[node].poll() is None

    def log(self, node: str) -> str:
        return (self._directory / node / "log").read_text()

    def wait_ready(self) -> None:
        wait_until(
            lambda: not self.broker.ready(self.clients, 1.0),
            "the nodes to answer",
            10,
            every_s=0.01,
        )


@contextmanager
def running(broker: Broker, directory: Path) -> Iterator[Nodes]:
    """The nodes of a broker, ready; killed in the end."""
    nodes = Nodes(broker, directory)
    try:
        nodes.wait_ready()
        yield nodes
    finally:
        for node in nodes.clients:
            nodes.kill(node)
