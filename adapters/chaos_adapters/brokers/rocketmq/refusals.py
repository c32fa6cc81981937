"""Settings of brokers, name servers and controllers that RocketMQ would pass over without a word.

It puts each line of a file into whatever has a setter of that name, and passes over the rest and
over what it cannot parse (class MixAll, `properties2Object`); asked for what is in force it gives
the lines back all the same (class Configuration). So names and kinds are held against the list of
the version, see `versions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaos.spi import Settings
from chaos_adapters.brokers.properties import as_text, near_miss
from chaos_adapters.brokers.rocketmq import versions

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
        return misfit(value, kind)
    if plugged and _KEY.fullmatch(name):
        return misfit(value, "String")
    if other := section.elsewhere.get(name):
        return f"is no setting of a {section.owner}: write it into {other}"
    what = f"is no {section.owner} setting of RocketMQ {', '.join(versions.locked())}"
    return what + near_miss(name, section.kinds)


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
