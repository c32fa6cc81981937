"""From a broker's members to the pods that run them: places, proxies, the Compose file.

Within pod N the name of a peer M resolves to 127.0.1.M, where N's own Toxiproxy listens on M's
ports and forwards to pod M. Where a system tells one address to all, that is 127.0.0.1 and a number
of its own: the node itself in its own pod, a proxy in every other one, the published port on this
machine. Two proxies more lead from published ports into the pod: `clients`, to
the broker's client listener, and `probe`, which is pointed at whichever link is to be measured.
"""

from __future__ import annotations

import io
import json
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ruamel.yaml import YAML

from chaos.data import compose_dir
from chaos.spi import Address, Broker, Json, Launch, Member, Place, Port
from chaos_adapters.runtimes.agent import PART
from chaos_adapters.runtimes.daemon import LABEL, daemon, labels
from chaos_adapters.runtimes.marks import place_of
from chaos_adapters.runtimes.mesh import (
    CLIENT_PROXY,
    PROBE_PROXY,
    Pod,
    client_ports,
    client_proxy,
    link_listens,
    link_proxy,
    loopback_of,
)
from chaos_adapters.runtimes.ports import assign, reserve

PLACE_LABEL = "mqchaos.directory"
"""Beside LABEL; see `marks.place_of`."""
_PROXY_IMAGE = "CHAOS_TOXIPROXY_IMAGE"
_SYSCTLS = {"net.ipv4.tcp_syn_retries": "2"}
"""A proxy connects for one client after the other. While packets are dropped it would go on for two
minutes with one that is long gone, and be silent for as long as half a minute after the heal."""


def template_path(broker: Broker) -> Path:
    """Where the template of a system lies, if there is one."""
    return compose_dir() / f"{type(broker).__name__.lower()}.yaml"


def template(broker: Broker) -> tuple[str, Json]:
    """The text of a system's template and what its `x-mqchaos` says."""
    text = template_path(broker).read_text()
    return text, YAML(typ="safe").load(text)["x-mqchaos"]


def broker_image(broker: Broker) -> str:
    """What the broker's container is made from: whatever is no Toxiproxy."""
    version = str(getattr(broker, "version", "latest"))
    images = _images(template(broker)[1]["images"], version, os.environ)
    return next(image for name, image in images.items() if name != _PROXY_IMAGE)


def reserve_pods(members: Sequence[Member], directory: Path) -> Mapping[str, Pod]:
    """A pod with free ports for each member."""
    everywhere = assign(directory, members, every=False)
    numbers = iter(reserve(directory, sum(3 + len(client_ports(member)) for member in members)))
    found = {}
    for member in members:
        own = everywhere[member.name]
        outer = [(port.name, own.get(port.name) or next(numbers)) for port in client_ports(member)]
        client = outer[0][1] if outer else next(numbers)
        found[member.name] = pod_of(
            next(numbers), client, next(numbers), outer[1:], list(own.items())
        )
    return found


def pod_of(
    api: int,
    client: int,
    probe: int,
    others: Sequence[tuple[str, int]],
    everywhere: Sequence[tuple[str, int]] = (),
) -> Pod:
    """Out of what JSON can tell."""
    pairs = (tuple((name, number) for name, number in each) for each in (others, everywhere))
    return Pod(api, client, probe, *pairs)


def places(cluster_id: str, broker: Broker, pods: Mapping[str, Pod]) -> Iterator[Place]:
    """Where each member will run."""
    members = broker.members()
    about = template(broker)[1]
    reach = {m.name: {p.name: _reached(m, p, pods[m.name]) for p in m.ports} for m in members}
    client = {name: Address("127.0.0.1", pod.client, pod.others) for name, pod in pods.items()}
    for member in members:
        yield Place(
            cluster_id=cluster_id,
            member=member,
            data_dir=about["data"],
            config_dir=about["config"],
            listen={port.name: _listens(member, port, pods[member.name]) for port in member.ports},
            reach=reach,
            client=client,
        )


def _reached(member: Member, port: Port, pod: Pod) -> Address:
    """By peers; see above."""
    return Address("127.0.0.1" if port.everywhere else member.name, pod.number(port))


def _listens(member: Member, port: Port, pod: Pod) -> Address:
    """At the node's own name, as a wildcard would collide with the proxies, unless nobody else has
    that number."""
    return Address("0.0.0.0" if port.everywhere else member.name, pod.number(port))  # noqa: S104


def write_pod(
    directory: Path,
    place: Place,
    launch: Launch,
    members: Sequence[Member],
    pods: Mapping[str, Pod],
) -> None:
    """The files that a pod's two containers mount."""
    config = directory / place.member.name / "config"
    config.mkdir(parents=True, exist_ok=True)
    for name, text in launch.files.items():
        file = config / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (config / "proxies.json").write_text(json.dumps(list(_proxies(place, members, pods)), indent=1))
    for path in (config, *config.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the containers' users are not we
    environment = json.dumps(dict(launch.environment))
    (directory / place.member.name / "environment.json").write_text(environment)


def _proxies(place: Place, members: Sequence[Member], pods: Mapping[str, Pod]) -> Iterator[Json]:
    own, home = place.member, pods[place.member.name]
    for number, peer in enumerate(members, 1):
        if peer.name == own.name:
            continue
        for port in peer.ports:
            if port.for_peers:
                yield _proxy(
                    link_proxy(peer.name, port.name),
                    link_listens(number, port, pods[peer.name]),
                    f"net-{peer.name}:{pods[peer.name].number(port)}",
                )
    first, *more = client_ports(own) or own.ports[:1]
    yield _proxy("clients", f"0.0.0.0:{CLIENT_PROXY}", f"{own.name}:{home.number(first)}")
    yield _proxy("probe", f"0.0.0.0:{PROBE_PROXY}", f"{own.name}:{home.number(first)}")
    for turn, port in enumerate(more, 1):
        at = f"0.0.0.0:{PROBE_PROXY + turn}"
        yield _proxy(client_proxy(turn, port), at, f"{own.name}:{home.number(port)}")


def _proxy(name: str, listen: str, upstream: str) -> Json:
    return {"name": name, "listen": listen, "upstream": upstream, "enabled": True}


def compose_document(
    cluster_id: str, broker: Broker, directory: Path, pods: Mapping[str, Pod]
) -> Json:
    """The template, filled in for every member and merged into one."""
    text, about = template(broker)
    version = str(getattr(broker, "version", "latest"))
    default_images = set(_images(about["images"], version, {}).values())
    merged: Json = {}
    for name, pod in pods.items():
        values = {
            **_images(about["images"], version, os.environ),
            "NODE": name,
            "CLUSTER": cluster_id,
            "CONFIG": _literal(directory / name / "config"),
            "PEERS": json.dumps([
                f"{peer}:{loopback_of(number)}"
                for number, peer in enumerate(pods, 1) if peer != name
            ]),
            "VERSION": version,
            "PORTS": json.dumps([f"127.0.0.1:{here}:{there}" for here, there in pod.published]),
            "IMAGES": _literal(compose_dir() / "images"),
        }  # fmt: skip
        filled = YAML(typ="safe").load(string.Template(text).substitute(values))
        environment = json.loads((directory / name / "environment.json").read_text())
        filled["services"][name]["environment"] = {k: _literal(v) for k, v in environment.items()}
        for service in filled["services"].values():
            if service["image"] not in default_images:
                service.pop("build", None)  # somebody's own image is theirs to build
            if service["labels"].get(PART) == "net":
                service.setdefault("sysctls", {}).update(_SYSCTLS)
        for section, things in filled.items():
            if not section.startswith("x-"):
                merged.setdefault(section, {}).update(things)
    for things in merged.values():
        for thing in things.values():
            thing["labels"][PLACE_LABEL] = _literal(place_of(directory.parent))
    return merged


def _images(
    defaults: Mapping[str, str], version: str, chosen: Mapping[str, str]
) -> Mapping[str, str]:
    return {
        name: chosen.get(name) or string.Template(default).substitute(VERSION=version)
        for name, default in defaults.items()
    }


def _literal(value: object) -> str:
    """As Compose has to see it: it fills in dollars itself."""
    return str(value).replace("$", "$$")


def dump_yaml(document: Json) -> str:
    """As text."""
    text, yaml = io.StringIO(), YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(document, text)
    return text.getvalue()


def start_dead(cluster_id: str) -> Sequence[str]:
    """Start the pods that have ended, as they do with the machine or its daemon; which they were.
    What else still runs there is killed, to be started as any dead node is: the network that it
    shared ended with the pod. Raises ClusterError."""
    with daemon(f"the pods of cluster {cluster_id}") as client:
        owned = f"{LABEL}={cluster_id}"
        everything = client.containers.list(all=True, filters={"label": owned})
        dead = [c for c in everything if labels(c).get(PART) == "net" and c.status != "running"]
        for pod in dead:
            pod.start()
            node = labels(pod)["mqchaos.node"]
            for container in everything:
                sharing = container is not pod and labels(container).get("mqchaos.node") == node
                if sharing and container.status in ("running", "paused"):
                    container.kill()
    return [f"container {pod.name}" for pod in dead]
