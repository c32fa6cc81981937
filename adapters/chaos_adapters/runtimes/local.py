"""`local`: every node is a process of this user; no containers, no root, no Java of the machine's.

    DIRECTORY/<node>/config/...      what the broker's Launch asked for
                     data/           its data
                     log             standard output and error, over all starts
                     process.json    its pid, start time and program, and whether it is to end

A process is known again by its pid *and* start time, and by the cluster's id in its environment, so
that one whose pid was reused is never touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import psutil

from chaos.errors import ClusterError, DeadlineExceeded, Unavailable
from chaos.spi import Address, Broker, Cluster, Command, Java, Launch, Member, NodeState, Place
from chaos.timing import wait_until
from chaos_adapters.runtimes import archives, marks
from chaos_adapters.runtimes.java import JavaNode, java_argv, lock_problem
from chaos_adapters.runtimes.marks import MARK, kill_marked, marked
from chaos_adapters.runtimes.ports import assign

_LOOPBACK = "127.0.0.1"
_GONE_WITHIN_S = 10.0
_PREPARE_WITHIN_S = 60.0
_STOPPED_WITHIN_S = 30.0
_starting = threading.Lock()


@contextmanager
def _writing() -> Iterator[None]:
    """A full disk is no bug of ours."""
    try:
        yield
    except OSError as error:
        raise ClusterError(f"the files of a node cannot be written: {error}") from error


@dataclass(frozen=True)
class LocalNode(JavaNode):
    """One process, in a session of its own so that a signal reaches it and all its children."""

    name: str
    directory: Path

    @property
    def _record(self) -> dict[str, object]:
        try:
            record: dict[str, object] = json.loads((self.directory / "process.json").read_text())
        except (OSError, ValueError) as error:
            raise ClusterError(f"{self.name}: {self.directory} is not a node: {error}") from error
        return record

    def _process(self) -> psutil.Process | None:
        """The living process; None when there is none, or only a zombie."""
        record = self._record
        pid, started = record.get("pid"), record.get("started")
        if not isinstance(pid, int):
            return None
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            process = psutil.Process(pid)
            if process.create_time() != started or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def state(self) -> NodeState:
        """As the kernel reports it."""
        process = self._process()
        try:
            stopped = process is not None and process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return NodeState.DEAD
        if process is None:
            return NodeState.DEAD
        return NodeState.PAUSED if stopped else NodeState.RUNNING

    def start(self) -> None:
        """Start it again, unless it is there; one that was told to end is there only to end."""
        if self._record.get("stopping"):
            try:
                self._wait_gone(_STOPPED_WITHIN_S)
            except DeadlineExceeded:
                self.kill()
        with _starting:  # two faults that heal at once may both find the same node dead
            if self._process() is None:
                self._start()

    @_writing()
    def _start(self) -> None:
        record = self._record
        record.pop("stopping", None)
        argv, environment = record["argv"], record["environment"]
        assert isinstance(argv, list)
        assert isinstance(environment, dict)
        _end_unrecorded(environment[MARK], self.directory)
        process = _spawn(argv, environment, self.directory)
        try:
            started = psutil.Process(process.pid).create_time()
        except psutil.NoSuchProcess as error:
            raise ClusterError(f"{self.name} was ended while it started") from error
        _write_record(self.directory, record | {"pid": process.pid, "started": started})

    def stop(self, timeout_s: float) -> None:
        """SIGTERM to the process itself, put on record first: whoever starts the node next has to
        know that this process is about to end, also when we are dead by then."""
        if self._process() is None:
            return
        with _writing():
            _write_record(self.directory, self._record | {"stopping": True})
        self._signal(signal.SIGTERM)
        self._wait_gone(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the process and its children."""
        self._signal(signal.SIGKILL)
        self._wait_gone(_GONE_WITHIN_S)

    def pause(self) -> None:
        """SIGSTOP. Raises ClusterError when there is nothing to freeze."""
        if self._process() is None:
            raise ClusterError(f"{self.name} cannot be paused: it does not run")
        self._signal(signal.SIGSTOP)
        self._wait_for(NodeState.PAUSED)

    def resume(self) -> None:
        """SIGCONT."""
        if self.state() is NodeState.PAUSED:
            self._signal(signal.SIGCONT)
            self._wait_for(NodeState.RUNNING, NodeState.DEAD)

    def run(self, argv: Sequence[str], timeout_s: float) -> str:
        """Run a program beside it; there is no other place."""
        return _run(argv, self.directory, timeout_s)

    def log_tail(self, lines: int) -> list[str]:
        """The end of its log."""
        try:
            with (self.directory / "log").open(errors="replace") as log:
                return [line.rstrip("\n") for line in deque(log, lines)]
        except OSError:
            return []

    def _signal(self, number: signal.Signals) -> None:
        process = self._process()
        if process is None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise ClusterError(f"{self.name}: may not signal {process.pid}: {error}") from error

    def _wait_gone(self, timeout_s: float) -> None:
        wait_until(lambda: self._process() is None, f"end of {self.name}", timeout_s, every_s=0.005)

    def _wait_for(self, *states: NodeState) -> None:
        what = f"{self.name} to be {states[0]}"
        wait_until(lambda: self.state() in states, what, _GONE_WITHIN_S, every_s=0.005)


@dataclass(frozen=True)
class LocalCluster:
    """Processes on loopback, reached directly."""

    id: str
    nodes: Mapping[str, LocalNode]
    clients: Mapping[str, Address]

    def save_logs(self, directory: Path) -> None:
        """Copy each node's log."""
        directory.mkdir(parents=True, exist_ok=True)
        for node in self.nodes.values():
            with suppress(FileNotFoundError):
                shutil.copyfile(node.directory / "log", directory / f"{node.name}.log")


@dataclass(frozen=True)
class Local:
    """Plain processes of this user: needs no Docker, no root and no Java; process faults only.

    Java and the jars come from packages. Links are direct, so network and disk faults need Docker.
    """

    meshed: ClassVar[bool] = False

    def check(self, broker: Broker) -> Sequence[str]:  # noqa: ARG002
        """Any broker of which nothing is foreseen runs on any such system."""
        if os.name != "posix":
            return ["plain processes need Linux or macOS; use --runtime docker"]
        return []

    def problems(self, broker: Broker) -> Sequence[tuple[str, str]]:
        """A broker that does not say which program to start, a version whose jars nobody pinned."""
        program = _probed(broker).program
        if program is None:
            what = "this system does not run as plain processes: use --runtime docker"
            return [("cluster.broker", what)]
        wrong = lock_problem(program) if isinstance(program, Java) else ""
        return [("cluster.version", wrong)] if wrong else []

    @_writing()
    def start(self, cluster_id: str, broker: Broker, directory: Path) -> Cluster:
        """Write each node's files, prepare all at once, then start all."""
        members = broker.members()
        directory.mkdir(parents=True, exist_ok=True)
        addresses = {
            member: {port: Address(_LOOPBACK, number) for port, number in numbers.items()}
            for member, numbers in assign(directory, members, every=True).items()
        }
        launches = {}
        for member in members:
            place = _place(cluster_id, member, members, directory, addresses)
            launches[member.name] = broker.launch(place)
            _write_node(directory / member.name, place, launches[member.name], cluster_id)
        _write_clients(directory, place.client)
        _prepare(directory, launches, cluster_id)
        cluster = self.attach(broker, directory)
        for node in cluster.nodes.values():
            node.start()
        return cluster

    def attach(self, broker: Broker, directory: Path) -> LocalCluster:
        """Read what `start` wrote."""
        try:
            about = json.loads((directory / "clients.json").read_text())
        except (OSError, ValueError) as error:
            raise ClusterError(f"{directory}: no cluster was started here: {error}") from error
        nodes = {m.name: LocalNode(m.name, directory / m.name) for m in broker.members()}
        clients = {name: Address(host, port) for name, (host, port) in about.items()}
        return LocalCluster(directory.parent.name, nodes, clients)

    def remove(self, cluster_id: str, directory: Path) -> None:
        """Kill every process that carries the mark, recorded or not; see `archives.learn`."""
        archives.learn(cluster_id)
        kill_marked(cluster_id)
        shutil.rmtree(directory, ignore_errors=True)

    def leftovers(self) -> Mapping[str, Sequence[str]]:
        """Every marked process of this user."""
        return marks.leftovers()

    def directories(self) -> Mapping[str, Path]:
        """As the environment of the processes names them."""
        return marks.directories()

    def traces(self, cluster_id: str) -> Sequence[str]:  # noqa: ARG002
        """None: whatever faults do here shows in the state of a process."""
        return ()


def _probed(broker: Broker) -> Launch:
    """What it would start, at a place that is never used."""
    members = broker.members()
    return broker.launch(_place("check", members[0], members, Path("/nowhere"), _numbered(members)))


def _numbered(members: Sequence[Member]) -> Mapping[str, Mapping[str, Address]]:
    """Addresses that are never used, to ask a broker what it would launch."""
    return {m.name: {p.name: Address(_LOOPBACK, p.number) for p in m.ports} for m in members}


def _client(member: Member, addresses: Mapping[str, Address]) -> Address:
    first, *more = (port.name for port in member.ports if port.for_clients)
    return replace(addresses[first], others=tuple((name, addresses[name].port) for name in more))


def _place(
    cluster_id: str,
    member: Member,
    members: Sequence[Member],
    directory: Path,
    addresses: Mapping[str, Mapping[str, Address]],
) -> Place:
    base = directory / member.name
    clients = {
        other.name: _client(other, addresses[other.name])
        for other in members
        if any(port.for_clients for port in other.ports)
    }
    return Place(
        cluster_id=cluster_id,
        member=member,
        data_dir=str(base / "data"),
        config_dir=str(base / "config"),
        listen=addresses[member.name],
        reach=addresses,
        client=clients,
    )


def _write_node(base: Path, place: Place, launch: Launch, cluster_id: str) -> None:
    config = Path(place.config_dir)
    for directory in (config, Path(place.data_dir)):
        directory.mkdir(parents=True, exist_ok=True)
    for name, text in launch.files.items():
        file = config / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if launch.program is None:
        raise Unavailable("this system does not run as plain processes; use --runtime docker")
    own = marks.of(cluster_id, base.parent.parent) | archives.mark(launch.program)
    environment = {**launch.environment, **own}
    _write_record(base, {"argv": _argv(launch.program), "environment": environment})


def _argv(program: Java | Command) -> list[str]:
    return list(program.argv) if isinstance(program, Command) else java_argv(program)


def _write_record(base: Path, record: dict[str, object]) -> None:
    temporary = base / ".process.json"
    temporary.write_text(json.dumps(record))
    temporary.replace(base / "process.json")


def _write_clients(directory: Path, clients: Mapping[str, Address]) -> None:
    about = json.dumps({name: (at.host, at.port) for name, at in clients.items()})
    (directory / "clients.json").write_text(about)


def _spawn(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[bytes]:
    with (directory / "log").open("ab") as log:
        try:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, cwd=directory, env={**os.environ, **environment},
            )  # fmt: skip
        except OSError as error:
            raise ClusterError(f"{argv[0]}: cannot be started: {error}") from error


def _end_unrecorded(cluster_id: str, directory: Path) -> None:
    """Kill what runs in a node's directory although the node's process is dead: whoever started it
    died before it was put on record, and it holds the port."""
    for process, mark in marked():
        with suppress(psutil.NoSuchProcess):
            if mark == cluster_id and process.cwd() == str(directory):
                process.kill()
                psutil.wait_procs([process], timeout=_GONE_WITHIN_S)


def _prepare(directory: Path, launches: Mapping[str, Launch], cluster_id: str) -> None:
    """Run the preparations of all nodes, each node's in order, all nodes at once."""
    steps = max((len(launch.prepare) for launch in launches.values()), default=0)
    for step in range(steps):
        running = {
            name: _spawn(
                _argv(launch.prepare[step]),
                {**launch.environment, **marks.of(cluster_id, directory.parent)},
                directory / name,
            )
            for name, launch in launches.items()
            if step < len(launch.prepare)
        }
        for name, process in running.items():
            _await_preparation(LocalNode(name, directory / name), process)


def _await_preparation(node: LocalNode, process: subprocess.Popen[bytes]) -> None:
    try:
        status = process.wait(_PREPARE_WITHIN_S)
    except subprocess.TimeoutExpired:
        status = None
    if status != 0:
        said = "\n".join(node.log_tail(15))
        raise ClusterError(f"{node.name}: its preparation ended with {status}:\n{said}")


def _run(argv: Sequence[str], directory: Path, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            argv, cwd=directory, capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(f"{argv[0]}: {error}") from error
    return done.stdout
