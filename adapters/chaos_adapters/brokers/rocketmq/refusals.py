"""What RocketMQ would pass over without a word, and what no run could work with.

RocketMQ puts each line of a file into whatever has a setter of that name, and passes over the rest,
and over what it cannot parse (class MixAll, `properties2Object`); asked for what is in force it
gives the lines back all the same (class Configuration). So names and kinds are held against the
list of the version, see `versions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.spi import Settings
from chaos_adapters.brokers.properties import as_text, near_miss
from chaos_adapters.brokers.rocketmq import delayed, versions
from chaos_adapters.brokers.rocketmq.admin import SYSTEM
from chaos_adapters.brokers.rocketmq.caveats import lowers_in_sync
from chaos_adapters.brokers.rocketmq.topology import ASYNC_MASTER, CONTROLLER_FORM, DLEDGER, JRAFT

if TYPE_CHECKING:
    from chaos_adapters.brokers.rocketmq import Rocketmq

Problem = tuple[str, str]
"""Path in the experiment, and what to do."""
Known = Mapping[str, Mapping[str, str]]
"""See versions.known_settings."""

_OWNED = {
    **dict.fromkeys((
        "brokerClusterName", "brokerName", "brokerId", "brokerIP1", "brokerIP2", "namesrvAddr",
        "listenPort", "haListenPort", "bindAddress", "haMasterAddress", "controllerAddr",
        "jRaftGroupId", "jRaftServerId", "jRaftInitConf", "jRaftControllerRPCAddr",
        "controllerDLegerGroup", "controllerDLegerSelfId", "controllerDLegerPeers",
        "fetchNamesrvAddrByAddressServer", "fetchNameSrvAddrByDnsLookup",
        "fetchControllerAddrByDnsLookup",
    ), "names and addresses are the run's affair"),
    **dict.fromkeys((
        "brokerRole", "enableControllerMode", "enableControllerInNamesrv", "controllerType",
        "enableDLegerCommitLog", "duplicationEnable",
    ), "set cluster.replication and cluster.controllers"),
    **dict.fromkeys((
        "storePathRootDir", "storePathCommitLog", "storePathDLedgerCommitLog",
        "storePathEpochFile", "storePathBrokerIdentity", "controllerStorePath",
        "brokerConfigPath", "configStorePath", "kvConfigPath", "authConfigPath", "rocketmqHome",
        "readOnlyCommitLogStorePaths",
    ), "files lie where the run puts them"),
}  # fmt: skip
"""Settings that belong to the run, and what to do."""
_NO_CREDENTIALS = "clients of a run have no credentials"
_NEEDED: Mapping[str, tuple[bool | int, str]] = {
    "aclEnable": (False, _NO_CREDENTIALS),
    "authenticationEnabled": (False, _NO_CREDENTIALS),
    "authorizationEnabled": (False, _NO_CREDENTIALS),
    "useTLS": (False, "clients of a run speak without TLS"),
    "brokerPermission": (6, "a run sends to brokers and reads from them"),
    "autoCreateSubscriptionGroup": (True, "consumers make the group of a run"),
    "slaveReadEnable": (True, "every replica is asked what it holds"),
}
"""Settings of which a run can do with one value only, and why."""
_DELAYS = re.compile(rf"{delayed.LEVELS}( [0-9]+[smhd])*")
_PERIOD = range(10_000, 60_001)
"""What brokers make of any `registerNameServerPeriod` (class BrokerController), ms."""
_BY_CONTROLLERS = frozenset({
    "allAckInSyncStateSet", "minInSyncReplicas", "checkSyncStateSetPeriod",
    "syncControllerMetadataPeriod", "syncBrokerMetadataPeriod", "controllerHeartBeatTimeoutMills",
    "brokerElectionPriority", "haMaxTimeSlaveNotCatchup", "asyncLearner",
})  # fmt: skip
"""Settings that are looked at only where controllers choose the master (classes CommitLog,
ReplicasManager and AutoSwitchHAService)."""
_BY_DLEDGER = frozenset({"mappedFileSize", "processReadEvent", "scanInactiveMasterInterval"})
"""Settings of controllers that class DLedgerController alone looks at."""
_TOLD_BY_MS = 3000
"""See producer._COPIED_S, which goes by the default of `slaveTimeout`."""
_TOPIC = re.compile(r"[A-Za-z0-9_|-]+")
_LONGEST = 127
"""Bytes of a topic's name (class TopicValidator)."""
_NUMBER_OF_RUN = 1 + 16
"""A hyphen and the run's number, by which the topic of a run is longer."""
_PLUG_IN = "messageStorePlugIn"
"""It names code of the user's, which reads settings of its own."""
_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_CONTROLLERS, _BROKERS = "cluster.controller_settings", "cluster.settings"
_BITS = {"int": 32, "long": 64}
_TRUTH, _NUMBER = "boolean", ("double", "float")


@dataclass(frozen=True)
class _Section:
    """A part of the experiment that holds settings: of whom they may be, and what others are."""

    path: str
    owner: str
    kinds: Mapping[str, str]
    elsewhere: Mapping[str, str]


def of_settings(
    version: str, brokers: Settings, controllers: Settings, topic: Settings
) -> Iterator[Problem]:
    """Each that no server of this version would heed."""
    known = versions.known_settings(version)
    servers = {**known["namesrv"], **known["controller"]}
    for given, section in (
        (brokers, _Section(_BROKERS, "broker", known["broker"],
                           dict.fromkeys(servers, _CONTROLLERS))),
        (controllers, _Section(_CONTROLLERS, "name server or controller", servers,
                               dict.fromkeys(known["broker"], _BROKERS))),
        (topic, _Section("stream.settings", "topic", known["topic"], {})),
    ):  # fmt: skip
        for name, value in given.items():
            if what := _wrong(section, name, value, _PLUG_IN in given):
                yield f"{section.path}.{name}", what


def _wrong(section: _Section, name: str, value: object, plugged: bool) -> str:
    if (why := _OWNED.get(name)) and section.owner != "topic":
        return f"is not for an experiment to set: {why}"
    kind = section.kinds.get(name)
    if kind is not None:
        return misfit(value, kind) or _unfit(name, value)
    if plugged and _KEY.fullmatch(name):
        return misfit(value, "String")
    if other := section.elsewhere.get(name):
        return f"is no setting of a {section.owner}: write it into {other}"
    what = f"is no {section.owner} setting of RocketMQ {', '.join(versions.locked())}"
    return what + near_miss(name, section.kinds)


def _unfit(name: str, value: object) -> str:
    """Why a run cannot do with a value that RocketMQ would read; the same names are of the same
    kinds everywhere."""
    wanted, why = _NEEDED.get(name, (None, ""))
    if why and as_text(value) != as_text(wanted):
        return f"{as_text(value)} cannot be, as {why}: leave it out"
    if name == "messageDelayLevel" and not _DELAYS.fullmatch(as_text(value)):
        return f"should begin as its default does, by which runs go: {delayed.LEVELS}"
    if name == "registerNameServerPeriod" and int(as_text(value)) not in _PERIOD:
        return f"{value} is not heeded: {_PERIOD[0]} to {_PERIOD[-1]} are"
    return ""


def of_form(cluster: Rocketmq) -> Iterator[Problem]:
    """What is there for another form of the cluster, and does nothing in this one."""
    controlled = cluster.replication == CONTROLLER_FORM
    yield from (_controlled if controlled else _fixed)(cluster)
    known = versions.known_settings(cluster.version)
    for name in cluster.controller_settings:
        if name in known["controller"] and name not in known["namesrv"]:
            what = _of_controllers(name, cluster.controllers)
            if not controlled:
                what = f"there are no controllers with replication: {cluster.replication}"
            if what:
                yield f"{_CONTROLLERS}.{name}", what


def _controlled(cluster: Rocketmq) -> Iterator[Problem]:
    sound = not versions.problem(cluster.version)
    if sound and cluster.controllers == JRAFT and not versions.has_jraft(cluster.version):
        yield "cluster.controllers", f"{cluster.version} has no jRaft: write DLedger"
    if "enableAutoInSyncReplicas" in cluster.settings:
        yield f"{_BROKERS}.enableAutoInSyncReplicas", "does nothing where controllers choose"


def _fixed(cluster: Rocketmq) -> Iterator[Problem]:
    form = cluster.replication
    idle = {*_BY_CONTROLLERS, *(["inSyncReplicas"] if form == ASYNC_MASTER else [])}
    idle -= {"minInSyncReplicas"} if lowers_in_sync(cluster) else set()
    for name in cluster.settings:
        if name in idle:
            yield f"{_BROKERS}.{name}", f"does nothing with replication: {form}"
    if cluster.controllers != JRAFT:
        yield "cluster.controllers", f"there are none with replication: {form}: leave it out"


def _of_controllers(name: str, kind: str) -> str:
    dledgers, jrafts = name in _BY_DLEDGER, name.startswith("jRaft")
    if (dledgers and kind != DLEDGER) or (jrafts and kind != JRAFT):
        return f"does nothing with controllers: {kind}"
    return ""


def of_topic(name: str) -> str:
    """Why no topic of a run can be called so; empty: it can."""
    if not _TOPIC.fullmatch(name):
        return f"should be letters, digits, `-`, `_` and `|`, not {name[:40]!r}"
    if len(name) > _LONGEST - _NUMBER_OF_RUN:
        return f"has {len(name)} letters: at most {_LONGEST - _NUMBER_OF_RUN} are possible"
    if own := next((each for each in SYSTEM if name.startswith(each)), ""):
        return f"names that begin with `{own}` are RocketMQ's own: take another one"
    return ""


def of_transactions(settings: Settings) -> Iterator[str]:
    """Which settings of brokers hide that the end of a half message is on no slave, or no disk.

    It is answered OK all the same, which producers tell by the time that it took.
    """
    for name in ("slaveTimeout", "syncFlushTimeout"):
        value = settings.get(name, _TOLD_BY_MS)
        if not _no_whole_number(value, 32) and int(as_text(value)) < _TOLD_BY_MS:
            yield f"cluster.settings.{name}={value}, as at least {_TOLD_BY_MS} is needed"


def misfit(value: object, kind: str) -> str:
    """Why RocketMQ would not read this value as what is written; empty: it would."""
    text = as_text(value)
    if kind == _TRUTH:
        return "" if text in ("true", "false") else f"{value!r} should be true or false"
    if kind in _BITS:
        return _no_whole_number(value, _BITS[kind])
    if kind in _NUMBER:
        return "" if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else _should(value, "a number")
    if "|" in kind:
        words = kind.split("|")
        return "" if text in words else _should(value, f"one of {', '.join(words)}")
    if not (text.isascii() and text.isprintable()) or text != text.strip() or "\\" in text:
        what = "one line of ASCII, without backslashes, and without blanks at either end"
        return _should(value, what)
    return ""


def _no_whole_number(value: object, bits: int) -> str:
    text, most = as_text(value), 2 ** (bits - 1)
    if not re.fullmatch(r"0|-?[1-9]\d*", text, re.ASCII):
        return _should(value, "a whole number")
    if not -most <= int(text) < most:
        return f"{text} does not fit: {-most} to {most - 1} do"
    return ""


def _should(value: object, what: str) -> str:
    return f"{value!r} should be {what}"
