"""The Compose document of a cluster, and the mesh that its files describe."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from chaos.spi import CLIENTS, Address, Launch, Place
from chaos_adapters.brokers.kafka import Kafka
from chaos_adapters.brokers.rocketmq import Rocketmq
from chaos_adapters.runtimes import pods
from chaos_adapters.runtimes.daemon import LABEL
from chaos_adapters.runtimes.mesh import Pod, link_proxy, links_of, loopback_of
from chaos_adapters.runtimes.pods import (
    compose_document,
    dump_yaml,
    places,
    reserve_pods,
    write_pod,
)

CLUSTER = "ab12cd34"
sizes = pytest.mark.parametrize("nodes", [1, 3, 5])


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default images."""
    for name in ("CHAOS_KAFKA_IMAGE", "CHAOS_TOXIPROXY_IMAGE"):
        monkeypatch.delenv(name, raising=False)


def ports(broker: Kafka) -> dict[str, Pod]:
    numbers = iter(range(21_000, 22_000))
    return {
        member.name: Pod(next(numbers), next(numbers), next(numbers)) for member in broker.members()
    }


def written(
    directory: Path,
    broker: Any,
    environment: Mapping[str, str] | None = None,
    there: Mapping[str, Pod] | None = None,
) -> Any:
    """The document as Compose would read it: through its YAML text."""
    there = there or ports(broker)
    for place in places(CLUSTER, broker, there):
        launch = broker.launch(place)
        launch = replace(launch, environment={**launch.environment, **(environment or {})})
        write_pod(directory, place, launch, broker.members(), there)
    text = dump_yaml(compose_document(CLUSTER, broker, directory, there))
    return YAML(typ="safe").load(io.StringIO(text))


def labels(document: Any) -> Iterator[tuple[str, Mapping[str, str]]]:
    for section in ("services", "networks", "volumes"):
        for name, thing in document[section].items():
            yield f"{section}/{name}", thing["labels"]


@sizes
def test_every_node_is_a_pod_of_two_containers(tmp_path: Path, nodes: int) -> None:
    """The broker lives in the network of the other, so that its death leaves the network there."""
    services = written(tmp_path, Kafka(nodes=nodes))["services"]
    names = [f"kafka-{number}" for number in range(1, nodes + 1)]
    assert set(services) == {*names, *(f"net-{name}" for name in names)}
    for name in names:
        assert services[name]["network_mode"] == f"service:net-{name}"
        assert services[name]["depends_on"] == [f"net-{name}"]
        assert "ports" not in services[name]
        assert services[f"net-{name}"]["hostname"] == name
        assert services[f"net-{name}"]["sysctls"]["net.ipv4.tcp_syn_retries"] == "2"
        assert "sysctls" not in services[name]


@sizes
def test_everything_that_is_published_is_published_on_loopback(tmp_path: Path, nodes: int) -> None:
    """And each reserved port once."""
    services = written(tmp_path, Kafka(nodes=nodes))["services"]
    published = [text for service in services.values() for text in service.get("ports", ())]
    found = [text.split(":") for text in published]
    assert {host for host, _, _ in found} == {"127.0.0.1"}
    expected = {
        str(n)
        for pod in ports(Kafka(nodes=nodes)).values()
        for n in (pod.api, pod.client, pod.probe)
    }
    assert {number for _, number, _ in found} == expected
    assert len(found) == 3 * nodes
    assert {inner for _, _, inner in found} == {"8474", "9095", "9096"}


@sizes
def test_everything_that_is_made_carries_the_clusters_id(tmp_path: Path, nodes: int) -> None:
    """`chaos down` removes what has this label, and nothing else has it."""
    document = written(tmp_path, Kafka(nodes=nodes))
    found = dict(labels(document))
    assert len(found) == 2 * nodes + 1 + nodes
    assert {each[LABEL] for each in found.values()} == {CLUSTER}
    assert set(document) == {"services", "networks", "volumes"}
    for name in (f"kafka-{number}" for number in range(1, nodes + 1)):
        assert found[f"services/{name}"]["mqchaos.node"] == name
        assert found[f"services/{name}"]["mqchaos.part"] == "broker"
        assert found[f"services/net-{name}"]["mqchaos.part"] == "net"


@sizes
def test_no_container_has_a_volume_without_a_label(tmp_path: Path, nodes: int) -> None:
    """Data lies in a volume of its own; the rest is the cluster's directory, read only."""
    document = written(tmp_path, Kafka(nodes=nodes))
    for name, service in document["services"].items():
        for text in service["volumes"]:
            source, _, mode = text.partition(":")
            if source in document["volumes"]:
                assert source == name
            else:
                assert Path(source).is_relative_to(tmp_path)
                assert mode.endswith(":ro")
                assert Path(source).is_dir()


@sizes
def test_a_peers_name_leads_to_the_own_proxy_of_that_link(tmp_path: Path, nodes: int) -> None:
    """In every pod, to 127.0.1.M, where a proxy of each of M's ports listens and leads to pod M."""
    broker = Kafka(nodes=nodes)
    services = written(tmp_path, broker)["services"]
    for number, member in enumerate(broker.members(), 1):
        hosts = dict(text.split(":") for text in services[f"net-{member.name}"]["extra_hosts"])
        peers = [other for other in broker.members() if other.name != member.name]
        assert set(hosts) == {peer.name for peer in peers}
        assert len(set(hosts.values())) == len(hosts)
        proxies = proxies_of(tmp_path, member.name)
        for peer in peers:
            for port in peer.ports:
                if port.audience == "peers":
                    proxy = proxies.pop(link_proxy(peer.name, port.name))
                    assert proxy["listen"] == f"{hosts[peer.name]}:{port.number}"
                    assert proxy["upstream"] == f"net-{peer.name}:{port.number}"
                    assert proxy["enabled"] is True
        assert set(proxies) == {"clients", "probe"}
        assert proxies["clients"]["listen"] == "0.0.0.0:9095"
        assert proxies["clients"]["upstream"] == f"{member.name}:19092"
        assert proxies["probe"]["listen"] == "0.0.0.0:9096"
        assert loopback_of(number) not in hosts.values()


def proxies_of(directory: Path, node: str) -> dict[str, Any]:
    found = json.loads((directory / node / "config" / "proxies.json").read_text())
    assert len({proxy["name"] for proxy in found}) == len(found)
    assert len({proxy["listen"] for proxy in found}) == len(found)
    return {proxy["name"]: proxy for proxy in found}


@pytest.mark.parametrize(
    "broker",
    [Kafka(nodes=1), Kafka(), Kafka(nodes=5), Kafka(nodes=1, controllers=1), Kafka(controllers=3)],
    ids=str,
)
def test_the_mesh_has_every_link_and_finds_its_proxies(tmp_path: Path, broker: Kafka) -> None:
    """n(n-1) links between nodes, dedicated controllers among them, and one from the clients to
    each broker; a link acts on the proxies that the pod's file has."""
    written(tmp_path, broker)
    there = ports(broker)
    links = links_of(broker.members(), there)
    names = [member.name for member in broker.members()]
    brokers = [member.name for member in broker.members() if "broker" in member.roles]
    assert set(links) == {
        *((source, target) for source in names for target in names if source != target),
        *((CLIENTS, target) for target in brokers),
    }
    for (source, target), link in links.items():
        pod = target if source == CLIENTS else source
        assert link.pod == there[pod]
        proxies = proxies_of(tmp_path, pod)
        for _, proxy, listens in link.routes:
            assert proxies[proxy]["listen"] == (listens or "0.0.0.0:9095")


def test_brokers_bind_to_their_own_name_and_clients_come_over_loopback() -> None:
    """A wildcard would collide with the proxies."""
    broker = Kafka()
    there = ports(broker)
    for place in places(CLUSTER, broker, there):
        name = place.member.name
        assert {address.host for address in place.listen.values()} == {name}
        assert place.client == {n: Address("127.0.0.1", pod.client) for n, pod in there.items()}
        assert place.reach["kafka-2"]["internal"] == Address("kafka-2", 9092)
        text = broker.launch(place).files["server.properties"]
        assert "0.0.0.0" not in text
        assert f"CLIENTS://127.0.0.1:{there[name].client}" in text


# --------------------------------------------------------------------------------------- images


def test_the_default_images_are_the_official_broker_and_our_toxiproxy(tmp_path: Path) -> None:
    """The version is the experiment's; what we build has where to build it from."""
    services = written(tmp_path, Kafka(version="4.0.2"))["services"]
    assert services["kafka-1"]["image"] == "apache/kafka:4.0.2"
    assert "build" not in services["kafka-1"]
    assert (Path(services["net-kafka-1"]["build"]) / "Dockerfile").is_file()


def test_somebodys_own_image_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People test the image that they ship: it is used as it is."""
    monkeypatch.setenv("CHAOS_TOXIPROXY_IMAGE", "registry.example/toxiproxy:9")
    monkeypatch.setenv("CHAOS_KAFKA_IMAGE", "registry.example/kafka:9")
    services = written(tmp_path, Kafka())["services"]
    for name, service in services.items():
        assert "build" not in service
        kind = "toxiproxy" if name.startswith("net-") else "kafka"
        assert service["image"] == f"registry.example/{kind}:9"


def test_an_empty_variable_chooses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pipelines set variables that they do not use."""
    monkeypatch.setenv("CHAOS_KAFKA_IMAGE", "")
    assert written(tmp_path, Kafka())["services"]["kafka-1"]["image"] == "apache/kafka:4.1.1"


# -------------------------------------------------------------------------------------- dollars


def as_compose_reads(text: str) -> str:
    """Compose fills in variables: `$$` is a dollar, anything else would be one."""
    parts = text.split("$$")
    assert not any("$" in part for part in parts), text
    return "$".join(parts)


def test_a_dollar_in_an_environment_value_stays_a_dollar(tmp_path: Path) -> None:
    """A password, a JAAS line, an option of the JVM."""
    value = 'a$b ${HOME} $$ "quoted": x'
    environment = written(tmp_path, Kafka(), {"SECRET": value})["services"]["kafka-2"][
        "environment"
    ]
    assert as_compose_reads(environment["SECRET"]) == value
    assert all(isinstance(each, str) for each in environment.values())


def test_a_dollar_in_the_directorys_name_stays_a_dollar(tmp_path: Path) -> None:
    """CHAOS_HOME is the user's to choose."""
    home = tmp_path / "a $HOME b"
    home.mkdir()
    services = written(home, Kafka())["services"]
    source = as_compose_reads(services["kafka-1"]["volumes"][0]).partition(":")[0]
    assert source == str(home / "kafka-1" / "config")


# ---------------------------------------------------------------------------------------- files


def test_files_of_a_launch_lie_where_the_pod_mounts_them(tmp_path: Path) -> None:
    """By relative path, in directories of their own, too."""
    broker = Kafka(nodes=1)
    (place,) = places(CLUSTER, broker, ports(broker))
    assert isinstance(place, Place)
    launch = Launch(files={"a.conf": "A", "conf.d/b.conf": "B"})
    write_pod(tmp_path, place, launch, [place.member], ports(broker))
    config = tmp_path / "kafka-1" / "config"
    assert (config / "a.conf").read_text() == "A"
    assert (config / "conf.d" / "b.conf").read_text() == "B"


def test_a_template_is_found_for_every_system_that_docker_can_run() -> None:
    """And says where data and configuration lie in the image."""
    text, about = pods.template(Kafka())
    assert about["data"].startswith("/")
    assert about["config"].startswith("/")
    for path in (about["data"], about["config"]):
        assert f":{path}" in text


def test_a_port_that_is_right_everywhere_has_one_address_in_all_places(tmp_path: Path) -> None:
    """RocketMQ's: 127.0.0.1 and its number, at which the node listens in its own pod, a proxy in
    each peer's pod, and this machine where clients use it."""
    broker = Rocketmq()
    there = reserve_pods(broker.members(), tmp_path)
    services = written(tmp_path, broker, there=there)["services"]
    found = {place.member.name: place for place in places(CLUSTER, broker, there)}
    for member in broker.members():
        published = [text.split(":") for text in services[f"net-{member.name}"]["ports"]]
        own = proxies_of(tmp_path, member.name)
        inside = {proxy["listen"].split(":")[1]: proxy["upstream"] for proxy in own.values()}
        for port in member.ports:
            number = there[member.name].number(port)
            for other, place in found.items():
                assert place.reach[member.name][port.name] == Address("127.0.0.1", number)
                if other != member.name and port.for_peers:
                    proxy = proxies_of(tmp_path, other)[link_proxy(member.name, port.name)]
                    assert proxy["listen"] == f"127.0.0.1:{number}"
                    assert proxy["upstream"] == f"net-{member.name}:{number}"
            assert found[member.name].listen[port.name] == Address("0.0.0.0", number)
            ways = [
                inner for host, at, inner in published if (host, at) == ("127.0.0.1", str(number))
            ]
            assert [inside[inner] for inner in ways] == (
                [f"{member.name}:{number}"] if port.for_clients else []
            )
        assert len({inner for _, _, inner in published}) == len(published)
    assert len({n for pod in there.values() for _, n in pod.everywhere}) == 3 * len(there)


def test_links_lead_through_every_port_that_is_right_everywhere(tmp_path: Path) -> None:
    """Those between nodes through all that peers use, the clients' through all that these use."""
    broker = Rocketmq()
    there = reserve_pods(broker.members(), tmp_path)
    links = links_of(broker.members(), there)
    own = dict(there["namesrv-1"].everywhere)
    assert [(port.name, proxy) for port, proxy, _ in links[CLIENTS, "namesrv-1"].routes] == [
        ("namesrv", "clients"), ("controller", "clients.controller"),
    ]  # fmt: skip
    assert there["namesrv-1"].client == own["namesrv"]
    assert there["namesrv-1"].others == (("controller", own["controller"]),)
    assert [(port.name, at) for port, _, at in links["rocketmq-1", "namesrv-1"].routes] == [
        (name, f"127.0.0.1:{own[name]}") for name in ("namesrv", "controller", "raft")
    ]
