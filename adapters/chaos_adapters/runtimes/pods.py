"""From a broker's members to the pods that run them: places, proxies, the Compose file.

Within pod N the name of a peer M resolves to 127.0.1.M, where N's own Toxiproxy listens on M's
ports and forwards to pod M. Two proxies more lead from published ports into the pod: `clients`, to
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
from chaos_adapters.runtimes.mesh import (
    CLIENT_PROXY,
    PROBE_PROXY,
    Pod,
    client_proxies,
    link_address,
    link_proxy,
    loopback_of,
)

LABEL = "mqchaos.cluster"
_API = 8474


def template_path(broker: Broker) -> Path:
    """Where the template of a system lies, if there is one."""
    return compose_dir() / f"{type(broker).__name__.lower()}.yaml"


def template(broker: Broker) -> tuple[str, Json]:
    """The text of a system's template and what its `x-mqchaos` says."""
    text = template_path(broker).read_text()
    return text, YAML(typ="safe").load(text)["x-mqchaos"]


def places(cluster_id: str, broker: Broker, pods: Mapping[str, Pod]) -> Iterator[Place]:
    """Where each member will run."""
    members = broker.members()
    about = template(broker)[1]
    reach = {m.name: {p.name: _reached(m, p, pods[m.name]) for p in m.ports} for m in members}
    client = {m.name: client_address(m, pods[m.name]) for m in members}
    for member in members:
        yield Place(
            cluster_id=cluster_id,
            member=member,
            data_dir=about["data"],
            config_dir=about["config"],
            listen={p.name: _listening(member, p, pods[member.name]) for p in member.ports},
            reach=reach,
            client=client,
        )


def _reached(member: Member, port: Port, pod: Pod) -> Address:
    if port.name in pod.everywhere:
        return Address("127.0.0.1", pod.everywhere[port.name])
    return Address(member.name, port.number)


def _listening(member: Member, port: Port, pod: Pod) -> Address:
    """Bound to the node's own name, as a wildcard would collide with the proxies; but for a number
    that nobody else has."""
    if port.name in pod.everywhere:
        return Address("0.0.0.0", pod.everywhere[port.name])  # noqa: S104 - within the pod
    return Address(member.name, port.number)


def client_address(member: Member, pod: Pod) -> Address:
    """Where clients on this machine reach a node."""
    first = next((at for _, _, _, at in client_proxies(member, pod)), pod.client)
    return Address("127.0.0.1", first)


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
    own = place.member
    for number, peer in enumerate(members, 1):
        if peer.name == own.name:
            continue
        for port in peer.ports:
            if port.for_peers:
                pod = pods[peer.name]
                yield _proxy(
                    link_proxy(peer.name, port.name),
                    link_address(number, port, pod),
                    f"net-{peer.name}:{pod.number(port)}",
                )
    pod = pods[own.name]
    outer = client_proxies(own, pod)
    for port, name, listens, _ in outer:
        yield _proxy(name, f"0.0.0.0:{listens}", f"{own.name}:{pod.number(port)}")
    inner = outer[0][0] if outer else own.ports[0]
    if not outer:
        yield _proxy("clients", f"0.0.0.0:{CLIENT_PROXY}", f"{own.name}:{inner.number}")
    yield _proxy("probe", f"0.0.0.0:{PROBE_PROXY}", f"{own.name}:{pod.number(inner)}")


def _proxy(name: str, listen: str, upstream: str) -> Json:
    return {"name": name, "listen": listen, "upstream": upstream, "enabled": True}


def compose_document(
    cluster_id: str, broker: Broker, directory: Path, pods: Mapping[str, Pod]
) -> Json:
    """The template, filled in for every member and merged into one."""
    text, about = template(broker)
    version = str(getattr(broker, "version", "latest"))
    default_images = set(_images(about["images"], version, {}).values())
    by_name = {member.name: member for member in broker.members()}
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
            "API_PORT": pod.api, "CLIENT_PORT": pod.client, "PROBE_PORT": pod.probe,
            "IMAGES": _literal(compose_dir() / "images"),
            "PORTS": json.dumps(_published(by_name[name], pod)),
        }  # fmt: skip
        filled = YAML(typ="safe").load(string.Template(text).substitute(values))
        environment = json.loads((directory / name / "environment.json").read_text())
        filled["services"][name]["environment"] = {k: _literal(v) for k, v in environment.items()}
        for service in filled["services"].values():
            if service["image"] not in default_images:
                service.pop("build", None)  # somebody's own image is theirs to build
        for section, things in filled.items():
            if not section.startswith("x-"):
                merged.setdefault(section, {}).update(things)
    return merged


def _published(member: Member, pod: Pod) -> list[str]:
    """As Compose writes them."""
    own = [(pod.api, _API), (pod.probe, PROBE_PROXY)]
    outer = [(at, listens) for _, _, listens, at in client_proxies(member, pod)]
    return [f"127.0.0.1:{at}:{listens}" for at, listens in (*own, *outer)]


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
