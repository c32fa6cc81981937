"""The JSON Schema of experiment files, by which editors complete and check them.

It follows from the registry and from the shapes of plug-ins and sections, so it knows what is
installed. It accepts whatever the loader accepts. What needs more than one place of the file, such
as a target that no node of this cluster is, only the loader finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chaos import registry
from chaos.experiment.build import AUTO
from chaos.experiment.records import Consumers, Head, Phases, Producers, When
from chaos.machine import Machine
from chaos.plugin import shape
from chaos.spi import Json, Momentary
from chaos.targets import WORDS, client_pattern, client_words, pattern

SECTIONS = {
    "cluster": "The system to test, how many nodes it has, and its settings.",
    "stream": "The topic or queue of the run.",
    "load": "Who sends and who receives.",
    "phases": "How long the parts of a run take that are no fault.",
    "faults": "What fails, and when; [] for a run without any.",
    "expect": "What a PASS needs. All verifiers run, whether they are named here or not.",
}
"""The sections of a file, in its order, and what each is about."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """The schema as it is written to a file. Raises ChaosError for a plug-in that is broken."""
    return json.dumps(experiment_schema(), indent=2, ensure_ascii=False) + "\n"


def experiment_schema() -> Json:
    """The schema of a whole file. Raises ChaosError for a plug-in that is broken."""
    brokers = {name: registry.load("brokers", name) for name in registry.names("brokers")}
    head = shape(Head).schema()
    head["properties"]["runtime"]["enum"] = [AUTO, *registry.names("runtimes")]
    sections = {
        "cluster": {
            "type": "object",
            "description": SECTIONS["cluster"],
            "properties": {"broker": {"enum": list(brokers)}, **_machine()},
            "required": ["broker"],
        },
        "stream": {"description": SECTIONS["stream"]},
        "load": _load(),
        "phases": _section(Phases),
        "faults": {
            "type": "array",
            "description": SECTIONS["faults"],
            "items": {"oneOf": [{"$ref": f"#/$defs/fault.{name}"} for name in _faults()]},
        },
        "expect": _expect(),
    }
    return {
        "$schema": _DRAFT,
        "title": "An experiment of mqchaos",
        "type": "object",
        "properties": head["properties"] | sections,
        "required": [*head["required"], "cluster", "faults"],
        "additionalProperties": False,
        "allOf": [_of_broker(name) for name in brokers],
        "$defs": dict(_definitions(brokers)),
    }


def _machine() -> Json:
    """The keys that stand beside the broker's, whatever the broker."""
    made: Json = shape(Machine).schema()["properties"]
    return made


def _faults() -> tuple[str, ...]:
    return registry.names("faults")


def _section(cls: type[Any]) -> Json:
    """A section may be there and empty, and then has all its defaults."""
    made = shape(cls).schema()
    return made if made.get("required") else made | {"type": ["object", "null"]}


def _mapping(properties: Mapping[str, Any], description: str) -> Json:
    return {
        "type": ["object", "null"],
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _load() -> Json:
    sections = {"producers": _section(Producers), "consumers": _section(Consumers)}
    return _mapping(sections, SECTIONS["load"])


def _expect() -> Json:
    thresholds = {name: {"$ref": f"#/$defs/expect.{name}"} for name in registry.names("verifiers")}
    return _mapping(thresholds, SECTIONS["expect"])


def _of_broker(name: str) -> Json:
    """What `cluster` and `stream` hold once the broker is named."""
    named = {"properties": {"broker": {"const": name}}, "required": ["broker"]}
    own = {"cluster": f"broker.{name}", "stream": f"stream.{name}"}
    return {
        "if": {"properties": {"cluster": named}, "required": ["cluster"]},
        "then": {"properties": {key: {"$ref": f"#/$defs/{at}"} for key, at in own.items()}},
    }


def _definitions(brokers: Mapping[str, type[Any]]) -> Iterator[tuple[str, Json]]:
    for name, cls in brokers.items():
        made = shape(cls).schema()
        made["properties"] |= _machine()
        yield f"broker.{name}", _beside(made, "broker", name)
        yield f"stream.{name}", _section(cls.stream_type)
    target = _target(brokers)
    for name in _faults():
        yield f"fault.{name}", _step(name, target)
    for name in registry.names("verifiers"):
        yield f"expect.{name}", _section(registry.load("verifiers", name))


def example_targets(broker: type[Any]) -> list[str]:
    """Targets on every cluster of a system; the names of its nodes are targets, too."""
    return [*WORDS, *(f"{role}(0)" if takes else role for role, takes in broker.roles.items())]


def _target(brokers: Mapping[str, type[Any]]) -> Json:
    """What the keys take that name nodes."""
    examples = [each for cls in brokers.values() for each in example_targets(cls)]
    roles = [role for cls in brokers.values() for role, takes in cls.roles.items() if takes]
    return {"pattern": pattern(dict.fromkeys(roles)), "examples": list(dict.fromkeys(examples))}


def _clients(of: str) -> Json:
    return {"pattern": client_pattern(of), "examples": client_words(of)}


def _step(name: str, target: Json) -> Json:
    """One entry of `faults`: when it happens, and the parameters of the fault beside that."""
    cls = registry.load("faults", name)
    own, when = shape(cls), shape(When).schema()
    made = own.schema()
    for key in own.target_keys:
        of = own.client_keys.get(key)
        made["properties"][key] |= _clients(of) if of else target
    if issubclass(cls, Momentary):
        told = "Nothing: it is over when it is done."
        when["properties"]["for"] = {"type": "null", "description": told}
    made["properties"] = when["properties"] | made["properties"]
    made["required"] = [*when["required"], *made.get("required", ())]
    return _beside(made, "fault", name)


def _beside(made: Json, key: str, name: str) -> Json:
    """The schema with the key in front that says which plug-in it is for."""
    properties = {key: {"const": name}} | {k: v for k, v in made["properties"].items() if k != key}
    required = [key, *(each for each in made.get("required", ()) if each != key)]
    return made | {"properties": properties, "required": required}
