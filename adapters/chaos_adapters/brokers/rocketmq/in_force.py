"""What is really in force of the settings of brokers, name servers, controllers and the topic.

Whoever is asked tells each line of its file, heeded or not; where a line has a value that was read,
that one. Which lines there may be is `refusals`' affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.spi import Address, Settings
from chaos_adapters.brokers.properties import as_text, same
from chaos_adapters.brokers.rocketmq import codes, versions
from chaos_adapters.brokers.rocketmq.admin import controllers, find_master
from chaos_adapters.brokers.rocketmq.lines import ask
from chaos_adapters.brokers.rocketmq.topology import is_broker

_OF = "controller of "


def in_force(
    clients: Mapping[str, Address], topic: str, timeout_s: float
) -> Mapping[str, Mapping[str, str]]:
    """See spi.TellsSettings. A name server has the lines of the controller inside it as they were
    written; what that one made of them, it says itself."""
    found: dict[str, Mapping[str, str]] = {}
    for name, at in clients.items():
        code = codes.GET_BROKER_CONFIG if is_broker(name) else codes.GET_NAMESRV_CONFIG
        found[name] = _pairs(ask(at, code, {}, timeout_s).body.decode())
    for name, at in controllers(clients, timeout_s).items():
        told = ask(at, codes.GET_CONTROLLER_CONFIG, {}, timeout_s).body.decode()
        found[f"{_OF}{name}"] = _pairs(told)
    master = find_master(clients, timeout_s)
    about = ask(master, codes.GET_TOPIC_CONFIG, {"topic": topic}, timeout_s).json()
    attributes = {key.lstrip("+"): value for key, value in (about.get("attributes") or {}).items()}
    return {**found, "stream": attributes}


def _pairs(text: str) -> Mapping[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def unheeded(
    version: str,
    brokers: Settings,
    servers: Settings,
    topic: Settings,
    found: Mapping[str, Mapping[str, str]],
) -> Sequence[str]:
    """What is set and not in force, a sentence each."""
    known = versions.known_settings(version)
    told = []
    for name, values in found.items():
        if name == "stream":
            wanted = topic
        elif is_broker(name):
            wanted = brokers
        else:
            owner = "controller" if name.startswith(_OF) else "namesrv"
            wanted = {key: value for key, value in servers.items() if key in known[owner]}
        for key, value in wanted.items():
            if key not in values:
                told.append(f"{name} does not know {key}")
            elif not same(value, values[key]):
                told.append(f"{name} has {key}={values[key]}, not {as_text(value)}")
    return told
