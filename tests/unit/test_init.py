"""`chaos init`: an experiment to start from, which follows from the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_plugins
import pytest
from jsonschema import Draft202012Validator

from chaos import registry
from chaos.cli import main
from chaos.experiment import load_experiment
from chaos.experiment.records import Consumers, Head, Phases, Producers, When
from chaos.experiment.schema import experiment_schema
from chaos.experiment.source import read_document
from chaos.experiment.starter import made_up
from chaos.machine import needs_own
from chaos.plugin import shape
from chaos.spi import Broker, ChecksBroker

ROOT = Path(__file__).parents[2] / "experiments"
_YAML = re.compile(r"^(\s*)#(?! \S)(.*)$", re.MULTILINE)
each_broker = pytest.mark.parametrize("broker", [None, *registry.names("brokers")])


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def written(broker: str | None, name: str = "experiment.yaml") -> Path:
    assert main(["init", name, *(["--broker", broker] if broker else [])]) == 0
    return Path(name)


def uncommented(path: Path) -> Path:
    """The file with everything in it that is not for people, whatever it is commented out with."""
    text, before = path.read_text(), ""
    while text != before:
        text, before = _YAML.sub(r"\1\2", text), text
    whole = path.with_name("whole.yaml")
    whole.write_text(text)
    return whole


def keys(cls: type[Any]) -> set[str]:
    return set(shape(cls).keys.values())


def possible(broker: Broker) -> Iterator[str]:
    """The faults that do not say that they are not for this system, or for nodes with
    disks or clocks of their own."""
    for name in registry.names("faults"):
        cls: Any = registry.load("faults", name)
        if needs_own(cls):
            continue
        step = {k: v for k, v in made_up(name, "one").items() if k not in keys(When)}
        if not (
            issubclass(cls, ChecksBroker) and cls.broker_problem(shape(cls).build(step), broker)
        ):
            yield name


@each_broker
def test_it_can_be_run_as_it_is(broker: str | None) -> None:
    """It validates, asks for the wanted system and has a fault and a threshold or two."""
    experiment = load_experiment(written(broker))
    assert experiment.name == "experiment"
    assert broker in (None, experiment.broker_name)
    assert experiment.faults
    Draft202012Validator(experiment_schema()).validate(read_document(Path("experiment.yaml")).data)
    assert main(["validate", "experiment.yaml"]) == 0


@each_broker
def test_every_key_is_there_and_what_is_commented_out_is_right(broker: str | None) -> None:
    """Without the comment signs it still loads, and holds every key of every section, plug-in
    and fault that there is; with the same meaning, but for the other faults."""
    small = written(broker)
    whole = uncommented(small)
    few, all_of_it = load_experiment(small), load_experiment(whole)
    data: Any = read_document(whole).data
    assert set(data) == {*keys(Head), "cluster", "stream", "load", "phases", "faults", "expect"}
    assert set(data["cluster"]) == {"broker", *keys(type(few.broker))}
    assert set(data["stream"]) == keys(type(few.stream))
    assert set(data["load"]["producers"]) == keys(Producers)
    assert set(data["load"]["consumers"]) == keys(Consumers)
    assert set(data["phases"]) == keys(Phases)
    assert {step["fault"] for step in data["faults"]} == set(possible(few.broker))
    for step in data["faults"]:
        assert set(step) >= {"at", "fault", *keys(registry.load("faults", step["fault"]))}
        assert set(step) <= {*keys(When), *keys(registry.load("faults", step["fault"]))}
    for inner in shape(Producers).records.values():
        assert all(f"{key}: " in small.read_text() for key in keys(inner))
    for name in registry.names("verifiers"):
        assert set(data["expect"][name] or {}) == keys(registry.load("verifiers", name))
    same = {"name", "broker", "stream", "load", "phases", "verifiers", "seed", "runtime"}
    assert {k: getattr(few, k) for k in same} == {k: getattr(all_of_it, k) for k in same}


@each_broker
def test_every_key_that_has_a_word_is_explained(broker: str | None) -> None:
    """By the first sentence of its docstring, in the line or lines above."""
    words = " ".join(
        re.sub(r"#( |$)", " ", written(broker).read_text(), flags=re.MULTILINE).split()
    )
    experiment = load_experiment(Path("experiment.yaml"))
    for cls in (Head, Producers, Phases, type(experiment.broker), type(experiment.stream)):
        for parameter in shape(cls).parameters():
            told = " ".join(parameter.doc.partition(". ")[0].removesuffix(".").split())
            assert told in words


def test_lines_fit_a_terminal() -> None:
    """80 columns."""
    assert max(map(len, written(None).read_text().splitlines())) <= 80


def test_a_value_that_yaml_reads_otherwise_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version such as 4.1 is text, not a number. With plug-ins of somebody else, too."""
    fake_plugins.install(monkeypatch)
    whole = uncommented(written("fake"))
    assert '#version: "4.1"' in Path("experiment.yaml").read_text()
    assert load_experiment(whole).broker == fake_plugins.Broker()


def test_nothing_is_overwritten_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the experiment nor the schema beside it."""
    Path("experiment.yaml").write_text("mine")
    Path("experiment.schema.json").write_text("mine")
    assert main(["init"]) == 2
    assert "experiment.yaml is there already" in capsys.readouterr().err
    assert main(["init", "other.yaml"]) == 0
    assert Path("experiment.yaml").read_text() == "mine"
    assert Path("experiment.schema.json").read_text() == "mine"
    assert main(["init", "--force"]) == 0
    assert Path("experiment.yaml").read_text() != "mine"
    assert Path("experiment.schema.json").read_text().startswith("{")


def test_an_example_is_copied_with_its_comments() -> None:
    """Under the schema that lies beside it."""
    assert main(["init", "my.yaml", "--example", "kafka/broker-pause"]) == 0
    original = (ROOT / "kafka" / "broker-pause.yaml").read_text()
    assert Path("my.yaml").read_text() == original.replace("$schema=../", "$schema=")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--broker", "kafak"], 'unknown broker "kafak"; did you mean "kafka"?'),
        (["--example", "broker-dwon"], 'did you mean "broker-down"?'),
        (["--example", "kafka"], "kafka is a folder of experiments: name one of them"),
        (["--example", "broker-down", "--broker", "kafka"], "exclude each other"),
        (["no/such/x.yaml"], "no/such/x.yaml: cannot be written: No such file or directory"),
    ],
)
def test_a_mistake_is_told_and_nothing_written(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the nearest right spelling."""
    assert main(["init", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("file", "name"), [("My Leader_1.yaml", "my-leader-1"), ("-.yaml", "experiment")]
)
def test_it_is_named_after_its_file(file: str, name: str) -> None:
    """As far as names allow."""
    assert load_experiment(written(None, f"./{file}")).name == name
