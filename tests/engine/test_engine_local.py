"""The local runtime: it finds its own processes whatever happened, and touches no others."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import Cluster, NodeState
from chaos.timing import wait_until
from chaos_adapters.brokers.memory import Memory
from chaos_adapters.runtimes.local import Local, LocalCluster, LocalNode
from chaos_adapters.runtimes.marks import MARK

BROKER = Memory(nodes=2)
Start = Callable[[], LocalCluster]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts clusters that are removed in the end."""
    started: dict[str, Path] = {}

    def begin() -> LocalCluster:
        identity = f"t{secrets.token_hex(4)}"
        started[identity] = tmp_path / identity / "runtime"
        cluster = Local().start(identity, BROKER, started[identity])
        assert isinstance(cluster, LocalCluster)
        wait_until(lambda: not BROKER.ready(cluster.clients, 1), "readiness", 20, every_s=0.01)
        return cluster

    yield begin
    for identity, directory in started.items():
        Local().remove(identity, directory)


def processes(identity: str) -> list[psutil.Process]:
    """All living processes with this cluster's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == identity:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def runtime_directory(cluster: LocalCluster) -> Path:
    """Where it keeps its files."""
    return cluster.nodes["memory-1"].directory.parent


def answers(cluster: Cluster) -> bool:
    """Whether all nodes serve clients."""
    return not BROKER.ready(cluster.clients, 1)


def test_a_process_that_took_over_a_pid_is_never_touched(start: Start) -> None:
    """The pid on record belongs to somebody else now, who started at another time."""
    cluster = start()
    node = cluster.nodes["memory-1"]
    node.kill()
    file = node.directory / "process.json"
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        try:
            file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": other.pid}))
            assert node.state() is NodeState.DEAD
            with pytest.raises(ClusterError, match="memory-1 cannot be paused: it does not run"):
                node.pause()
            node.resume()
            node.stop(1)
            node.kill()
            assert psutil.Process(other.pid).status() != psutil.STATUS_STOPPED
            assert other.poll() is None
            node.start()
            assert node.state() is NodeState.RUNNING
            Local().remove(cluster.id, runtime_directory(cluster))
            assert other.poll() is None
        finally:
            other.kill()


def test_each_step_may_be_taken_twice(start: Start) -> None:
    """Start, pause, resume and kill do nothing where there is nothing to do."""
    cluster = start()
    node = cluster.nodes["memory-1"]
    node.start()
    assert len(processes(cluster.id)) == 2
    node.resume()
    for act, state in (
        (node.pause, NodeState.PAUSED),
        (node.resume, NodeState.RUNNING),
        (node.pause, NodeState.PAUSED),
        (node.kill, NodeState.DEAD),
        (node.start, NodeState.RUNNING),
    ):
        act()
        act()
        assert node.state() is state
    wait_until(lambda: answers(cluster), "readiness", 20, every_s=0.01)


def test_a_process_that_was_told_to_end_is_not_taken_for_running(start: Start) -> None:
    """Whoever told it may be dead by now: starting the node waits for its end first, so that there
    is a process that stays."""
    cluster = start()
    node = cluster.nodes["memory-1"]
    before = json.loads((node.directory / "process.json").read_text())["pid"]
    node.pause()  # a signal is heard only when it goes on
    with pytest.raises(DeadlineExceeded):
        node.stop(0)
    threading.Timer(0.3, node.resume).start()
    LocalNode(node.name, node.directory).start()
    record = json.loads((node.directory / "process.json").read_text())
    assert record["pid"] != before
    assert "stopping" not in record
    wait_until(lambda: answers(cluster), "readiness", 20, every_s=0.01)
    assert node.state() is NodeState.RUNNING
    assert len(processes(cluster.id)) == 2


def test_a_process_that_was_never_put_on_record_does_not_stay(start: Start) -> None:
    """Whoever started it died before writing it down; it holds the port, and starting again works
    all the same."""
    cluster = start()
    node = cluster.nodes["memory-1"]
    file = node.directory / "process.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps({key: before[key] for key in ("argv", "environment")}))
    assert node.state() is NodeState.DEAD
    node.start()
    wait_until(lambda: answers(cluster), "readiness", 20, every_s=0.01)
    assert node.state() is NodeState.RUNNING
    assert len(processes(cluster.id)) == 2
    assert before["pid"] not in {process.pid for process in processes(cluster.id)}


def test_two_clusters_share_nothing(start: Start) -> None:
    """Ports, directories and processes are each cluster's own; removing one leaves the other."""
    one, other = start(), start()
    assert not set(one.clients.values()) & set(other.clients.values())
    Local().remove(one.id, runtime_directory(one))
    assert processes(one.id) == []
    assert len(processes(other.id)) == 2
    assert answers(other)


def test_a_port_is_held_while_its_node_is_down(start: Start) -> None:
    """A killed node comes back to its own port, whoever looked for one meanwhile."""
    one = start()
    for node in one.nodes.values():
        node.kill()
    other = start()
    assert not set(one.clients.values()) & set(other.clients.values())


def test_leftovers_names_every_marked_process(start: Start) -> None:
    """Of every cluster, whether it is on record or not."""
    cluster = start()
    mark = f"t{secrets.token_hex(4)}"
    environment = {**os.environ, MARK: mark}
    with subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True) as stray:
        try:
            wait_until(lambda: mark in Local().leftovers(), "the stray", 5, every_s=0.01)
            found = Local().leftovers()
            assert found[mark] == [f"process {stray.pid} (sleep)"]
            assert len(found[cluster.id]) == 2
            Local().remove(mark, Path("/nonexistent"))
            stray.wait(5)
        finally:
            stray.kill()
    assert mark not in Local().leftovers()


def test_remove_takes_frozen_and_unknown_processes_and_may_be_called_again(start: Start) -> None:
    """Nothing of it lives, and neither does its directory."""
    cluster = start()
    directory = runtime_directory(cluster)
    cluster.nodes["memory-1"].pause()
    (cluster.nodes["memory-2"].directory / "process.json").unlink()
    Local().remove(cluster.id, directory)
    assert processes(cluster.id) == []
    assert not directory.exists()
    Local().remove(cluster.id, directory)


@pytest.mark.parametrize("left", [[], ["memory-1"], ["memory-1", "memory-2"]])
def test_remove_works_on_a_half_started_cluster(tmp_path: Path, left: list[str]) -> None:
    """However far it came."""
    identity, directory = f"t{secrets.token_hex(4)}", tmp_path / "runtime"
    cluster = Local().start(identity, BROKER, directory)
    for name in set(cluster.nodes) - set(left):
        cluster.nodes[name].kill()
        (directory / name / "process.json").unlink()
    (directory / "clients.json").unlink()
    with pytest.raises(ClusterError, match="no cluster was started here"):
        Local().attach(BROKER, directory)
    Local().remove(identity, directory)
    assert processes(identity) == []
    assert not directory.exists()


def test_another_process_finds_the_cluster_again(start: Start) -> None:
    """All that is known of it is on the disk."""
    cluster = start()
    cluster.nodes["memory-2"].pause()
    again = Local().attach(BROKER, runtime_directory(cluster))
    assert again.clients == cluster.clients
    states = [node.state() for node in again.nodes.values()]
    assert states == [NodeState.RUNNING, NodeState.PAUSED]
    again.nodes["memory-2"].resume()
    assert answers(again)
