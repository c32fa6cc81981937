"""`docker`: every node is a pod of two containers, every link a proxy; see design, "the rig".

    DIRECTORY/compose.yaml         what Compose was given
              <node>/              the node's own files
              pods.json            the published ports of each pod

Compose starts and removes; the Docker SDK and Toxiproxy's API do everything in between. Containers
are found by their labels, so nothing depends on how a version of Compose names them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

import docker
from docker.errors import NotFound

from chaos.errors import ClusterError, Unavailable
from chaos.spi import Address, Broker, Cluster, Runtime, Volume
from chaos_adapters.runtimes import clocks, disks
from chaos_adapters.runtimes.clocks import DockerClocks
from chaos_adapters.runtimes.clusters import DiskedCluster, DockerCluster
from chaos_adapters.runtimes.daemon import LABEL, daemon, labels, things
from chaos_adapters.runtimes.docker_node import DockerNode
from chaos_adapters.runtimes.marks import MARK, directory_at, kill_marked
from chaos_adapters.runtimes.mesh import links_of
from chaos_adapters.runtimes.pods import (
    PLACE_LABEL,
    compose_document,
    dump_yaml,
    places,
    pod_of,
    reserve_pods,
    start_dead,
    template_path,
    write_pod,
)
from chaos_adapters.runtimes.traces import SCANS

_UP_WITHIN_S = 900.0  # the first time includes pulling or building images
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Docker:
    """Containers on this machine's Docker: every fault, every system.

    Needs a Docker daemon and Compose (`docker compose` or `docker-compose`). Everything that is
    published is published on the loopback interface.
    """

    meshed: ClassVar[bool] = True
    rations: ClassVar[bool] = True
    """Whether its nodes are spi.Rationed."""

    _volume: Volume | None = field(default=None, init=False)
    """The disk that each node of a new cluster gets: no parameter, as every runtime is asked for it
    in the same words."""
    _clocks: bool = field(default=False, init=False)

    @property
    def keeps_page_cache_small(self) -> bool:
        """Whether writes of one disk can be slowed that go to the page cache."""
        return disks.page_cache_can_be_small()

    def with_disks(self, volume: Volume) -> Runtime:
        """See spi.GivesDisks."""
        return self._with(_volume=volume)

    def with_clocks(self) -> Runtime:
        """See spi.GivesClocks."""
        return self._with(_clocks=True)

    def _with(self, **asked: object) -> Runtime:
        made = Docker()
        for name, value in {**vars(self), **asked}.items():
            object.__setattr__(made, name, value)
        return made

    def check(self, broker: Broker) -> Sequence[str]:
        """A template for the system, a daemon that answers, and Compose."""
        if not template_path(broker).is_file():
            return [f"there is no {template_path(broker).name} for it in compose/"]
        try:
            with daemon("version") as client:
                client.ping()
        except ClusterError:
            return ["no Docker daemon answers (start it, or set DOCKER_HOST)"]
        if not _compose_command():
            return ["Compose is missing: install the docker compose plug-in or docker-compose"]
        lacking = disks.missing(self._volume) if self._volume else []
        return [*lacking, *(clocks.missing(broker) if self._clocks else [])]

    def describe(self) -> Sequence[str]:
        """For `chaos doctor`: what is there."""
        try:
            with daemon("version") as client:
                about, info = client.version(), client.info()
        except ClusterError:
            return ["no Docker daemon answers"]
        chosen = {name: value for name, value in os.environ.items() if name.endswith("_IMAGE")}
        return [
            f"Docker {about['Version']}, Compose: {' '.join(_compose_command()) or 'missing'}",
            f"control groups version {info.get('CgroupVersion', '1')}",
            *(
                f"disks of the nodes' own, {volume.filesystem}: "
                f"{'; '.join(disks.missing(volume)) or 'ok'}"
                for volume in (Volume(), Volume(filesystem="ext4"))
            ),
            *(
                []
                if self.keeps_page_cache_small
                else ["disk.throttle of writes: needs Linux 6.2 or newer"]
            ),
            *(f"{name}={value}" for name, value in sorted(chosen.items())),
        ]

    def lacks(self, broker: Broker) -> Sequence[str]:
        """For `chaos doctor`: what this broker's nodes cannot have here, with what would help."""
        return clocks.missing(broker)

    def start(self, cluster_id: str, broker: Broker, directory: Path) -> Cluster:
        """Write the Compose file of all pods and bring them up."""
        members = broker.members()
        directory.mkdir(parents=True, exist_ok=True)
        pods = reserve_pods(members, directory)
        (directory / "pods.json").write_text(
            json.dumps({name: asdict(pod) for name, pod in pods.items()})
        )
        for place in places(cluster_id, broker, pods):
            write_pod(directory, place, broker.launch(place), members, pods)
        document = compose_document(cluster_id, broker, directory, pods)
        if self._volume:
            disks.make(cluster_id, directory, self._volume, list(pods))
            disks.put(document, directory)
        if self._clocks:
            clocks.put(document, directory, broker, list(pods))
        (directory / "compose.yaml").write_text(dump_yaml(document))
        _compose(directory, cluster_id, ["up", "--detach"], _UP_WITHIN_S)
        return self.attach(broker, directory)

    def attach(self, broker: Broker, directory: Path) -> DockerCluster:
        """Read the ports; containers are looked up when they are needed."""
        try:
            about = json.loads((directory / "pods.json").read_text())
        except (OSError, ValueError) as error:
            raise ClusterError(f"{directory}: no cluster was started here: {error}") from error
        cluster_id = directory.parent.name
        pods = {name: pod_of(**ports) for name, ports in about.items()}
        members = broker.members()
        nodes = {m.name: DockerNode(m.name, cluster_id, directory / m.name) for m in members}
        clients = {
            member.name: Address(_LOOPBACK, pods[member.name].client, pods[member.name].others)
            for member in members
            if any(port.for_clients for port in member.ports)
        }
        links, own = links_of(members, pods), disks.own(cluster_id, directory, nodes)
        ticking = DockerClocks(cluster_id, directory, nodes) if clocks.made(directory) else None
        if own is None:
            return DockerCluster(cluster_id, nodes, clients, links, ticking=ticking)
        return DiskedCluster(cluster_id, nodes, clients, links, own, ticking=ticking)

    def remove(self, cluster_id: str, directory: Path) -> None:
        """Kill first: what is thrown away needs no orderly end. Labels find what Compose misses."""
        kill_marked(cluster_id)  # a Compose that outlived its caller would go on starting things
        with daemon(f"removing cluster {cluster_id}") as client:
            mark = {"label": f"{LABEL}={cluster_id}"}
            _remove_containers(client, mark)
            for network in client.networks.list(filters=mark):
                with suppress(NotFound):
                    network.remove()
            for volume in client.volumes.list(filters=mark):
                with suppress(NotFound):
                    volume.remove(force=True)
            disks.detach(cluster_id)
            _remove_containers(client, mark)  # the agent that did it
        shutil.rmtree(directory, ignore_errors=True)

    def revive(self, cluster_id: str) -> Sequence[str]:
        """See `chaos_adapters.runtimes.pods`; an agent is started when it is used."""
        return start_dead(cluster_id)

    def leftovers(self) -> Mapping[str, Sequence[str]]:
        """All containers, networks and volumes with our label; none where no daemon answers."""
        found: dict[str, list[str]] = {}
        try:
            for kind, thing in things({"label": LABEL}):
                found.setdefault(labels(thing)[LABEL], []).append(f"{kind} {thing.name}")
        except ClusterError:
            return {}
        for owner, devices in disks.left().items():
            found.setdefault(owner, []).extend(f"disk {device}" for device in devices)
        return found

    def directories(self) -> Mapping[str, Path]:
        """As the labels of the containers, networks and volumes name them."""
        found = {}
        try:
            for _, thing in things({"label": LABEL}):
                if directory := directory_at(labels(thing).get(PLACE_LABEL, "")):
                    found[labels(thing)[LABEL]] = directory
        except ClusterError:
            return {}
        return found

    def traces(self, cluster_id: str) -> Sequence[str]:
        """See `chaos_adapters.runtimes.traces`."""
        with daemon(f"traces on cluster {cluster_id}") as client:
            mark = {"label": f"{LABEL}={cluster_id}"}
            containers = client.containers.list(all=True, filters=mark)
            return [what for scan in SCANS for what in scan(containers)]


def _remove_containers(client: docker.DockerClient, mark: Mapping[str, str]) -> None:
    for container in client.containers.list(all=True, filters=mark):
        with suppress(NotFound):
            container.remove(force=True, v=True)


@cache
def _compose_command() -> tuple[str, ...]:
    """How Compose is called here; empty when it is not there."""
    for command in (("docker", "compose"), ("docker-compose",)):
        try:
            done = subprocess.run(
                [*command, "version"], capture_output=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    return ()


def _compose(directory: Path, cluster_id: str, arguments: Sequence[str], timeout_s: float) -> None:
    command = _compose_command()
    if not command:
        raise Unavailable("Compose is missing: install the docker compose plug-in")
    where = ["--project-name", f"mqchaos-{cluster_id}", "--file", str(directory / "compose.yaml")]
    try:
        subprocess.run(
            [*command, *where, *arguments],
            capture_output=True, text=True, timeout=timeout_s, check=True,
            start_new_session=True,  # Ctrl-C is for us, and what is half up is then removed
            env={**os.environ, MARK: cluster_id},
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        last = "\n".join(error.stderr.strip().splitlines()[-15:])
        raise ClusterError(f"Compose could not bring the cluster up:\n{last}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"Compose did not finish within {timeout_s:g} s") from error
