"""The agent: a container in which programs run that need privileges the broker does not have.

One agent stays for each set of capabilities and each pod whose network it shares, from its first
use until the cluster is removed: a program in it takes 0.12 s, a container of its own 0.39 s (in
the median, 1.3 s at worst), and packet rules are to be lifted at once. An agent is known by its
name alone, so several processes find the same one, and by its label it is removed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container

from chaos.data import compose_dir
from chaos.errors import ClusterError
from chaos_adapters.runtimes.daemon import LABEL, SILENT_S, daemon
from chaos_adapters.runtimes.executing import run_in

IMAGE = "mqchaos/agent:1"
PART, AGENT = "mqchaos.part", "agent"
"""The label that tells what a container is for, and its value of agents."""
_CONFLICT = 409
_MAY_MOUNT = ("apparmor=unconfined",)  # where there is AppArmor, Docker's profile denies it


@dataclass(frozen=True)
class Agent:
    """Runs programs with these capabilities and no others (`NET_ADMIN`); in the network of a pod
    if one is named, else in none. `binds` and `device_rules` are as Docker writes them; agents that
    differ in these have different `purpose`s."""

    cluster_id: str
    capabilities: tuple[str, ...]
    pod: str = ""
    purpose: str = ""
    binds: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its container."""
        what = self.purpose or "-".join(each.lower() for each in sorted(self.capabilities))
        return f"mqchaos-{self.cluster_id}-agent-{self.pod or 'alone'}-{what}"

    def run(self, argv: Sequence[str], timeout_s: float, stdin: str = "") -> str:
        """Run a program, with `stdin` to read, and return its standard output.

        Raises ClusterError with its standard error when it fails, and DeadlineExceeded when it does
        not end in time; it is killed then.
        """
        what = f"{argv[0]} in {self.name}"
        with daemon(what, SILENT_S + timeout_s) as client:
            return run_in(self._container(client), argv, timeout_s, stdin, what)

    def _container(self, client: docker.DockerClient) -> Container:
        """The one that is there already, else a new one; running."""
        try:
            found = client.containers.get(self.name)
        except NotFound:
            found = self._create(client)
        if found.status != "running":
            found.start()
        return found

    def _create(self, client: docker.DockerClient) -> Container:
        labels = {LABEL: self.cluster_id, PART: AGENT}
        try:
            return client.containers.create(
                image(client), name=self.name, labels=labels, init=True,
                cap_drop=["ALL"], cap_add=list(self.capabilities),
                security_opt=["no-new-privileges", *(_MAY_MOUNT if self.binds else ())],
                volumes=list(self.binds), device_cgroup_rules=list(self.device_rules),
                cgroupns="host",  # the groups of brokers are to be seen, with version 2, too
                network_mode=f"container:{self._pod_id(client)}" if self.pod else "none",
            )  # fmt: skip
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            return client.containers.get(self.name)  # another process was faster

    def pod_runs(self, client: docker.DockerClient) -> bool:
        """Whether the pod whose network it shares has one now."""
        return bool(self._pods(client))

    def _pod_id(self, client: docker.DockerClient) -> str:
        for found in self._pods(client):
            return str(found.id)
        raise ClusterError(f"the pod of {self.pod} does not run any more")

    def _pods(self, client: docker.DockerClient) -> Sequence[Container]:
        labels = [f"{LABEL}={self.cluster_id}", f"mqchaos.node={self.pod}", f"{PART}=net"]
        found: Sequence[Container] = client.containers.list(filters={"label": labels})
        return found


def image(client: docker.DockerClient) -> str:
    """The agent's image, CHAOS_AGENT_IMAGE if it is set; ours is built if it is not there."""
    name = os.environ.get("CHAOS_AGENT_IMAGE") or IMAGE
    try:
        client.images.get(name)
    except ImageNotFound:
        if name == IMAGE:
            client.images.build(path=str(compose_dir() / "images" / "agent"), tag=IMAGE, rm=True)
        else:
            client.images.pull(name)
    return name
