"""Settings of brokers and controllers: which are the run's own, and what is really in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chaos.spi import Address, Settings
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.admin import find_master
from chaos_adapters.brokers.rocketmq.lines import ask
from chaos_adapters.brokers.rocketmq.topology import is_broker

_OWNED = frozenset({
    "brokerClusterName", "brokerName", "brokerId", "brokerIP1", "brokerIP2", "namesrvAddr",
    "listenPort", "haListenPort", "bindAddress", "storePathRootDir", "storePathCommitLog",
    "controllerAddr", "enableControllerMode", "enableControllerInNamesrv", "controllerType",
    "controllerStorePath", "jRaftGroupId", "jRaftServerId", "jRaftInitConf",
    "jRaftControllerRPCAddr", "controllerDLegerGroup", "controllerDLegerSelfId",
    "controllerDLegerPeers", "duplicationEnable", "enableDLegerCommitLog", "haMasterAddress",
    "brokerConfigPath", "storePathDLedgerCommitLog",
    "storePathEpochFile", "storePathBrokerIdentity",
})  # fmt: skip
"""They belong to the cluster that the run makes: where it is, and how its brokers copy."""
_COUNTS = ("inSyncReplicas", "minInSyncReplicas")


def problems(
    settings: Settings, controllers: Settings, topic: Settings
) -> Iterator[tuple[str, str]]:
    """Each wrong setting as (path in the experiment, what to do)."""
    for path, given in (("settings", settings), ("controller_settings", controllers)):
        for name in given:
            if name in _OWNED:
                yield f"cluster.{path}.{name}", "is not for an experiment to set"
    for name in _COUNTS:
        # Brokers pass over what is no number, and caveats reckon with it.
        if not str(settings.get(name, 1)).isdecimal():
            yield f"cluster.settings.{name}", f"{settings[name]!r} should be a whole number"
    if "brokerRole" in settings:
        yield "cluster.settings.brokerRole", "is not set here: write cluster.replication"
    for name, value in topic.items():
        if isinstance(value, bool | float):
            yield f"stream.settings.{name}", f"{value!r} should be text or a whole number"


def in_force(
    clients: Mapping[str, Address], topic: str, timeout_s: float
) -> Mapping[str, Mapping[str, str]]:
    """See spi.TellsSettings; a name server's own configuration has that of its controller in it."""
    found: dict[str, Mapping[str, str]] = {}
    for name, at in clients.items():
        code = codes.GET_BROKER_CONFIG if is_broker(name) else codes.GET_NAMESRV_CONFIG
        found[name] = _pairs(ask(at, code, {}, timeout_s).body.decode())
    master = find_master(clients, timeout_s)
    about = ask(master, codes.GET_TOPIC_CONFIG, {"topic": topic}, timeout_s).json()
    attributes = {key.lstrip("+"): value for key, value in (about.get("attributes") or {}).items()}
    return {**found, "stream": attributes}


def _pairs(text: str) -> Mapping[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def unheeded(
    settings: Settings,
    controllers: Settings,
    topic: Settings,
    found: Mapping[str, Mapping[str, str]],
) -> Sequence[str]:
    """What is set and not in force, a sentence each."""
    told = []
    for name, values in found.items():
        wanted = topic if name == "stream" else settings if is_broker(name) else controllers
        for key, value in wanted.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if key not in values:
                told.append(f"{name} does not know {key}")
            elif values[key] != text:
                told.append(f"{name} has {key}={values[key]}, not {text}")
    return told
