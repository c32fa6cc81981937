"""A node of the `docker` runtime: the broker's container of one pod.

DIRECTORY/config/       the broker's files, and proxies.json for its pod's Toxiproxy
          stopping      when the container was started that was told to end last
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError
from docker.models.containers import Container

from chaos.errors import ClusterError, DeadlineExceeded
from chaos.spi import CpuUse, NodeState
from chaos.timing import wait_until
from chaos_adapters.runtimes.daemon import LABEL, SILENT_S, daemon
from chaos_adapters.runtimes.executing import run_in
from chaos_adapters.runtimes.java import JavaNode

_STATE_WITHIN_S = 15.0
_STOPPED_WITHIN_S = 30.0
_FROZEN_WITHIN_S = 10.0
_NOT_FROZEN = "unable to freeze"
_CPU_PERIOD_US = 100_000


@dataclass(frozen=True)
class DockerNode(JavaNode):
    """See spi.Node, spi.Rationed and spi.Tunable."""

    name: str
    cluster_id: str
    directory: Path

    def _container(self, client: docker.DockerClient) -> Container:
        labels = [f"{LABEL}={self.cluster_id}", f"mqchaos.node={self.name}", "mqchaos.part=broker"]
        found = client.containers.list(all=True, filters={"label": labels})
        if not found:
            raise ClusterError(f"{self.name} has no container any more; chaos down, then up again")
        return found[0]

    def container_id(self) -> str:
        """Of the broker's container; a restart does not change it."""
        with daemon(f"the container of {self.name}") as client:
            return str(self._container(client).id)

    def state(self) -> NodeState:
        """As the daemon reports it."""
        with daemon(f"state of {self.name}") as client:
            status = self._container(client).status
        if status == "running":
            return NodeState.RUNNING
        return NodeState.PAUSED if status == "paused" else NodeState.DEAD

    def start(self) -> None:
        """Start the broker's container again; its pod was never away. One that was told to end,
        maybe by somebody who is dead now, is there only to end."""
        if self._stopping():
            try:
                self._wait_for(NodeState.DEAD, _STOPPED_WITHIN_S)
            except DeadlineExceeded:
                self.kill()
        if self.state() is NodeState.DEAD:
            self._act("start", lambda container: container.start(), NodeState.RUNNING)

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, and no SIGKILL after it."""
        self.resume()
        if self.state() is NodeState.RUNNING:
            self._mark_stopping()
            with daemon(f"stopping {self.name}") as client:
                self._container(client).kill("SIGTERM")
            self._wait_for(NodeState.DEAD, timeout_s)

    def _mark_stopping(self) -> None:
        try:
            (self.directory / "stopping").write_text(self._started_at())
        except OSError as error:
            raise ClusterError(f"the files of {self.name} cannot be written: {error}") from error

    def _stopping(self) -> bool:
        """Whether the container that runs now was told to end."""
        try:
            marked = (self.directory / "stopping").read_text()
        except OSError:
            return False
        return self.state() is NodeState.RUNNING and marked == self._started_at()

    def _started_at(self) -> str:
        with daemon(f"start of {self.name}") as client:
            return str(self._container(client).attrs["State"]["StartedAt"])

    def kill(self) -> None:
        """SIGKILL; a frozen container dies only when it thaws."""
        if self.state() is NodeState.PAUSED:
            self.resume()
        if self.state() is NodeState.RUNNING:
            self._act("kill", lambda container: container.kill("SIGKILL"), NodeState.DEAD)

    def pause(self) -> None:
        """The freezer of its control group. It may not get hold of all threads on a busy machine;
        then runc thaws them, and leaves it to us to try again (opencontainers/runc#4388)."""
        if self.state() is NodeState.RUNNING:
            wait_until(self._freeze, f"the freezer to get hold of {self.name}", _FROZEN_WITHIN_S)

    def _freeze(self) -> bool:
        try:
            self._act("pause", lambda container: container.pause(), NodeState.PAUSED)
        except ClusterError as error:
            if _NOT_FROZEN not in str(error):
                raise
            return False
        return True

    def resume(self) -> None:
        """Thaw."""
        if self.state() is NodeState.PAUSED:
            self._act("unpause", lambda container: container.unpause(), NodeState.RUNNING)

    def run(self, argv: Sequence[str], timeout_s: float) -> str:
        """Run a program in the broker's container."""
        what = f"{argv[0]} in {self.name}"
        with daemon(what, SILENT_S + timeout_s) as client:
            return run_in(self._container(client), argv, timeout_s, what=what)

    def limit_cpu(self, cores: float) -> None:
        """The quota of its control group, which the daemon sets in either version of them. It keeps
        the last one that was set: 0 would change nothing, -1 is none."""
        with daemon(f"processors of {self.name}") as client:
            quota = round(cores * _CPU_PERIOD_US) or -1
            self._container(client).update(cpu_period=_CPU_PERIOD_US, cpu_quota=quota)

    def cpu_limit(self) -> float:
        """As the daemon has it on record and gives it to every start of the container."""
        with daemon(f"processors of {self.name}") as client:
            told = self._container(client).attrs["HostConfig"]
        quota, period = told.get("CpuQuota") or 0, told.get("CpuPeriod") or _CPU_PERIOD_US
        return float(max(quota, 0) / period or (told.get("NanoCpus") or 0) / 1e9)

    def cpu_used(self) -> CpuUse:
        """From its control group."""
        with daemon(f"processors of {self.name}") as client:
            container = self._container(client)
            told = client.api.stats(container.id, stream=False, one_shot=True)["cpu_stats"]
        held = told.get("throttling_data", {}).get("throttled_periods", 0)
        return CpuUse(told["cpu_usage"]["total_usage"] / 1e9, held, time.monotonic())

    def memory_limit(self) -> int:
        """Bytes; 0 where there is none, or nothing runs. From its control group: the daemon does
        not know what others have set there."""
        with daemon(f"memory of {self.name}") as client:
            container = self._container(client)
            told = client.api.stats(container.id, stream=False, one_shot=True)["memory_stats"]
            most = client.info()["MemTotal"]
        limit = int(told.get("limit", 0))
        return limit if limit < most else 0

    def log_tail(self, lines: int) -> list[str]:
        """The end of the container's output."""
        with daemon(f"log of {self.name}") as client:
            text = self._container(client).logs(tail=lines)
        return str(text.decode(errors="replace")).splitlines()

    def write_log(self, path: Path) -> None:
        """All of the container's output, over all starts."""
        with daemon(f"log of {self.name}") as client, path.open("wb") as file:
            file.writelines(self._container(client).logs(stream=True, follow=False))

    def _act(self, what: str, act: Callable[[Container], object], wanted: NodeState) -> None:
        with daemon(f"{what} {self.name}") as client:
            try:
                act(self._container(client))
            except APIError:
                # It changed under our hands, which is fine if it is what was wanted.
                if self.state() is not wanted:
                    raise
        self._wait_for(wanted, _STATE_WITHIN_S)

    def _wait_for(self, wanted: NodeState, timeout_s: float) -> None:
        what = f"{self.name} to be {wanted}"
        wait_until(lambda: self.state() is wanted, what, timeout_s, every_s=0.02)
