"""An experiment file to start from: every key with its explanation, made from the code.

What an experiment that comes with mqchaos sets for the wanted system is set; the rest is commented
out with its default. A comment of people's words has one space behind its `#`; whatever else
follows a `#` is YAML, and right when that `#` is taken away.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chaos import registry
from chaos.data import UNSAFE, experiments_dir
from chaos.experiment.place import meshed
from chaos.experiment.records import Consumers, Head, Phases, Producers, When
from chaos.experiment.schema import SECTIONS, example_targets
from chaos.experiment.source import read_document, scalar
from chaos.machine import needs_own
from chaos.plugin import first_sentence, shape, summary
from chaos.spi import ChecksBroker, Json, Momentary
from chaos.targets import client_words, target_problem

_WIDTH = 78  # what is commented out is wrapped before it gets its sign
_STEP = "  "
_FIRST_S, _EVERY_S, _FOR = 5, 40, "20s"
_HEADER = """\
An experiment of mqchaos, made by `chaos init`. Every key is here: what is commented out shows its
default. Check it with `chaos validate FILE`, run it with `chaos run FILE`."""


def starter(name: str, broker: str | None) -> str:
    """The text of an experiment of this name, on a system by name or on that of the main one.

    Raises UsageError for a system that nobody knows.
    """
    written = _written(broker)
    text = [*_told(_HEADER, ""), "", *_keys(Head, {"name": name}, "")]
    for section, lines in _sections(written):
        text += ["", *_told(SECTIONS[section], ""), f"{section}:", *lines]
    return "".join(f"{line}\n" for line in text)


def shipped() -> list[Path]:
    """The experiments that come with mqchaos and are safe, the main one first."""
    base = experiments_dir()
    files = [path.relative_to(base) for path in base.rglob("*.yaml")]
    files = [path for path in files if UNSAFE not in path.parts]
    return [base / path for path in sorted(files, key=lambda path: (len(path.parts), path))]


def _written(broker: str | None) -> Json:
    """What is to be set: as in the first shipped experiment with this system, else only its faults,
    on targets that the system knows."""
    known = [document for path in shipped() if (document := read_document(path).data)]
    main = known[0]
    if broker is None:
        return main
    for document in known:
        if document["cluster"]["broker"] == broker:
            return document
    roles = registry.load("brokers", broker).roles
    return {
        "cluster": {"broker": broker},
        "faults": [_retargeted(step, roles) for step in main["faults"]],
    }


def _retargeted(step: Json, roles: Any) -> Json:  # noqa: ANN401
    keys = shape(registry.load("faults", step["fault"])).target_keys
    wrong = [key for key in keys if target_problem(step.get(key, ""), roles, None, None)]
    return step | dict.fromkeys(wrong, "one")


def _sections(written: Json) -> Iterator[tuple[str, Iterator[str]]]:
    cluster, load = written["cluster"], written.get("load") or {}
    broker = registry.load("brokers", cluster["broker"])
    yield "cluster", _cluster(broker, cluster)
    yield "stream", _keys(broker.stream_type, written.get("stream") or {}, _STEP)
    yield "load", _load(load)
    yield "phases", _keys(Phases, written.get("phases") or {}, _STEP)
    yield "faults", _faults(broker, cluster, written["faults"])
    yield "expect", _expect(written.get("expect") or {})


def _cluster(broker: type[Any], written: Json) -> Iterator[str]:
    yield from _told(f"One of: {', '.join(registry.names('brokers'))}", _STEP)
    yield f"{_STEP}broker: {written['broker']}"
    yield from _keys(broker, written, _STEP)


def _load(written: Json) -> Iterator[str]:
    for section, cls in (("producers", Producers), ("consumers", Consumers)):
        yield from _told(summary(cls), _STEP)
        yield f"{_STEP}{section}:"
        yield from _keys(cls, written.get(section) or {}, _STEP * 2)


def _expect(written: Json) -> Iterator[str]:
    for name in registry.names("verifiers"):
        cls = registry.load("verifiers", name)
        yield from _told(cls.question, _STEP)
        yield f"{_STEP}{name}:"
        yield from _keys(cls, written.get(name) or {}, _STEP * 2)


def _faults(broker: type[Any], cluster: Json, written: Sequence[Json]) -> Iterator[str]:
    """What is set, then each other fault that this system can have, commented out, one after the
    other in time."""
    yield from _told(f"Targets: {', '.join(example_targets(broker))}, or a node", _STEP)
    for step in written:
        yield from ["", *_told(_about(step["fault"]), _STEP)]
        yield from _step(step, _keys(When, step, _STEP * 2, but="fault"))
    named = {step["fault"] for step in written}
    target = next(_aims(written[0]), "one")
    others = [made_up(name, target) for name in registry.names("faults") if name not in named]
    system = _built(broker, cluster, {"broker"})
    for turn, step in enumerate((step for step in others if _fits(step, system)), 1):
        yield from ["", *_told(_about(step["fault"]), _STEP)]
        step["at"] = f"{_FIRST_S + _EVERY_S * turn}s"
        when = (f"{_STEP * 2}{key}: {step[key]}" for key in ("at", "for") if key in step)
        yield from (f"{_STEP}#{line.removeprefix(_STEP)}" for line in _step(step, when))


def _about(fault: str) -> str:
    cls = registry.load("faults", fault)
    if not cls.needs_links:
        return summary(cls)
    return f"{summary(cls)}. Needs {' or '.join(f'--runtime {name}' for name in meshed())}"


def _aims(step: Json) -> Iterator[str]:
    for key in shape(registry.load("faults", step["fault"])).target_keys:
        if key in step:
            yield step[key]


def _built(cls: type[Any], written: Json, but: Iterable[str]) -> Any:  # noqa: ANN401
    return shape(cls).build({key: value for key, value in written.items() if key not in but})


def _fits(step: Json, system: Any) -> bool:  # noqa: ANN401 - a broker
    """Whether this system can have the fault, as far as it says so. Those that would need disks or
    clocks of the nodes' own are left out."""
    cls = registry.load("faults", step["fault"])
    if needs_own(cls):
        return False
    if not issubclass(cls, ChecksBroker):
        return True
    return not _built(cls, step, shape(When).keys.values()).broker_problem(system)


def made_up(name: str, target: str) -> Json:
    """A step with this fault, whose required parameters have an example: that of the fault itself,
    if it has one (spi.Fault)."""
    own = shape(registry.load("faults", name))
    schema = own.schema()
    needed = {key: _example(schema["properties"][key]) for key in schema.get("required", ())}
    needed |= getattr(own.cls, "example", {})
    aims = {key: target for key in own.target_keys if key in needed}
    aims |= {key: client_words(of)[0] for key, of in own.client_keys.items() if key in needed}
    length = {} if issubclass(own.cls, Momentary) else {"for": _FOR}
    return {"fault": name, "at": ""} | length | needed | aims


def _example(schema: Json) -> Any:  # noqa: ANN401 - whatever the key takes
    if "enum" in schema:
        return schema["enum"][0]
    return next(iter(schema.get("examples", ())), schema.get("minimum", 1))


def _step(step: Json, when: Iterable[str]) -> Iterator[str]:
    """One entry of the list."""
    yield f"{_STEP}- fault: {step['fault']}"
    yield from when
    yield from _keys(registry.load("faults", step["fault"]), step, _STEP * 2)


def _keys(cls: type[Any], written: Json, indent: str, but: str = "") -> Iterator[str]:
    """Each key of a record but one, explained; set as written, or commented out with its
    default."""
    own = shape(cls)
    defaults = own.defaults()
    for parameter in own.parameters():
        if (key := parameter.key) == but:
            continue
        yield from _told(first_sentence(parameter.doc), indent)
        if key in written or key in defaults:
            mark, value = ("", written[key]) if key in written else ("#", defaults[key])
        else:
            mark, value = "", _example(own.schema()["properties"][key])
        yield f"{indent}{mark}{key}: {_flow(value)}{_or_record(own.records.get(key), value)}"


def _or_record(cls: type[Any] | None, value: Any) -> str:  # noqa: ANN401
    """What a key may hold that holds nothing by default."""
    return f"    # or {_flow(shape(cls).defaults())}" if cls and value is None else ""


def _told(text: str, indent: str) -> list[str]:
    lead = f"{indent}# "
    stop = "" if not text or text.endswith((".", "?")) else "."
    return textwrap.wrap(text + stop, _WIDTH, initial_indent=lead, subsequent_indent=lead)


def _flow(value: Any) -> str:  # noqa: ANN401 - what YAML can say
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return scalar(value)
