"""The JSON Schema of experiment files: it accepts what the loader accepts, and refuses mistakes."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from chaos import registry
from chaos.cli import main
from chaos.errors import UsageError
from chaos.experiment import Experiment
from chaos.experiment.schema import experiment_schema
from chaos.experiment.source import read_document
from chaos.plugin import shape

ROOT = Path(__file__).parents[2] / "experiments"
SHIPPED = sorted(ROOT.rglob("*.yaml"))
SCHEMA = experiment_schema()
EDITOR = Draft202012Validator(SCHEMA)
FREE = {"settings", "controller_settings", "policy"}
"""What has the keys of brokers and clients, not ours."""
each_shipped = pytest.mark.parametrize(
    "path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT))
)


def data(path: Path) -> Any:
    return read_document(path).data


def loads(value: Any) -> bool:
    try:
        Experiment.from_resolved(copy.deepcopy(value))
    except UsageError:
        return False
    return True


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place below the top."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in inner:
        yield (*path, key)
        if isinstance(below, dict | list):
            yield from places(below, (*path, key))


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with something else at a place."""
    made = copy.deepcopy(value)
    holder = made
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = new
    return made


def test_it_is_a_schema() -> None:
    """By the rules of its draft."""
    Draft202012Validator.check_schema(SCHEMA)


@each_shipped
def test_it_accepts_what_is_shipped(path: Path) -> None:
    """As written, and with every default filled in as in the record of a run."""
    written = data(path)
    EDITOR.validate(written)
    EDITOR.validate(Experiment.from_resolved(written).resolved)


@each_shipped
def test_every_shipped_file_names_it(path: Path) -> None:
    """In its first line, as editors look for it, by a path that leads there."""
    schema = os.path.relpath(ROOT / "experiment.schema.json", path.parent)
    first, second, _ = path.read_text().split("\n", 2)
    assert first == f"# yaml-language-server: $schema={schema}"
    assert second == ""


@each_shipped
def test_a_value_of_the_wrong_type_is_refused_as_by_the_loader(path: Path) -> None:
    """At every place of every shipped file."""
    written = data(path)
    for place in places(written):
        wrong = changed(written, place, [["wrong"]])
        assert not EDITOR.is_valid(wrong), place
        assert not loads(wrong), place


@each_shipped
def test_an_unknown_key_is_refused_as_by_the_loader(path: Path) -> None:
    """In every mapping whose keys are ours, not the broker's."""
    written = data(path)
    ours = [at for at in [(), *places(written)] if not FREE & set(at)]
    for place in ours:
        wrong = changed(written, (*place, "nonsense"), 1) if mapping(written, place) else None
        if wrong is not None:
            assert not EDITOR.is_valid(wrong), place
            assert not loads(wrong), place


def mapping(value: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        value = value[part]
    return isinstance(value, dict)


BASE = {
    "name": "x",
    "cluster": {"broker": "memory"},
    "faults": [{"at": "5s", "for": "5s", "fault": "process.kill", "target": "leader(0)"}],
}


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("name",), "Not a name"),
        (("runtime",), "moon"),
        (("cluster", "broker"), "mqtt"),
        (("cluster", "nodes"), "3"),
        (("cluster",), None),
        (("stream",), {"partitions": True}),
        (("seed",), -1),
        (("load",), {"producers": {"rate": 1000}}),
        (("load",), {"producers": {"rate": "1000/h"}}),
        (("load",), {"producers": {"size": "3 potatoes"}}),
        (("load",), {"consumers": {"settings": {"a": None}}}),
        (("phases",), {"settle": "8"}),
        (("phases",), {"settle": "8s and more"}),
        (("faults", 0, "fault"), "process.kil"),
        (("faults", 0, "at"), 5),
        (("faults", 0, "for"), "5 seconds"),
        (("faults", 0, "target"), "leader(zero)"),
        (("faults", 0, "target"), "leader(0"),
        (("faults", 0, "target"), "all the brokers"),
        (("faults", 0), {"at": "5s", "fault": "process.kill"}),
        (("faults", 0), {"at": "5s", "target": "one"}),
        (("faults", 0), {"at": "5s", "fault": "client.pause", "target": "leader(0)"}),
        (("faults", 0), {"at": "5s", "fault": "client.pause", "target": "consumers-0"}),
        (("faults", 0), None),
        (("faults",), None),
        (("expect",), {"loss": {"max": "none"}}),
        (("expect",), {"los": {"max": 0}}),
        (("expect",), {"failover": {"max": "fast"}}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_mistake_is_refused_as_by_the_loader(path: tuple[str | int, ...], new: Any) -> None:
    """The kinds of mistakes that people make."""
    assert EDITOR.is_valid(BASE)
    assert loads(BASE)
    wrong = changed(BASE, path, new)
    assert not loads(wrong)
    assert not EDITOR.is_valid(wrong)


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("expect",), None),
        (("load",), {"producers": None}),
        (("phases",), {"settle": " 8 s "}),
        (("load",), {"producers": {"rate": "1_000/s", "size": "1KiB"}}),
        (("faults",), []),
        (("faults", 0, "for"), None),
        (("faults", 0, "target"), "memory-2"),
        (("faults", 0, "target"), " leader( 0 ) "),
        (("runtime",), "auto"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_rare_spelling_is_accepted_as_by_the_loader(
    path: tuple[str | int, ...], new: Any
) -> None:
    """An editor that underlines what is right is soon switched off."""
    right = changed(BASE, path, new)
    assert loads(right)
    EDITOR.validate(right)


def test_every_plugin_is_in_it_with_all_its_keys() -> None:
    """And with what people are told of each."""
    for kind, at in (("brokers", "broker"), ("faults", "fault"), ("verifiers", "expect")):
        for name in registry.names(kind):
            known = SCHEMA["$defs"][f"{at}.{name}"]
            assert known["description"]
            for parameter in shape(registry.load(kind, name)).parameters():
                told = known["properties"][parameter.key]
                assert told.get("description", "") == parameter.doc


def test_the_command_prints_or_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same text, as JSON."""
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == SCHEMA
    assert main(["schema", "--output", str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_text() == printed
    assert main(["schema", "--output", str(tmp_path / "no" / "s.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
