"""The registry and the shapes of plug-ins."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import fake_plugins
import pytest
from pydantic import Field

from chaos import registry
from chaos.errors import Unavailable, UsageError
from chaos.plugin import Flaw, Parameter, shape, summary
from chaos.registry import Entry
from chaos.spi import Duration, Settings, Size, Target

if TYPE_CHECKING:
    from decimal import Decimal


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_plugins.install(
        monkeypatch,
        Entry("faults", "twice", "fake_plugins:Kill", "one-dist 1.0"),
        Entry("faults", "twice", "fake_plugins:Slow", "other-dist 2.0"),
        Entry("faults", "gone", "no_such_module:Fault", "broken-dist 3.0"),
        Entry("faults", "hollow", "fake_plugins:NoSuchClass", "broken-dist 3.0"),
        Entry("faults", "function", "fake_plugins:install", "broken-dist 3.0"),
    )


def test_names_are_listed_without_importing() -> None:
    """A plug-in that cannot be imported is listed like every other."""
    assert registry.names("faults") == (
        "function", "gone", "hollow", "network.slow", "process.kill", "twice",
    )  # fmt: skip


def test_a_plugin_is_loaded_by_its_name() -> None:
    """The class behind the entry point comes back."""
    assert registry.load("faults", "process.kill") is fake_plugins.Kill


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "process.kil",
            UsageError,
            (
                'unknown fault "process.kil"; did you mean "process.kill"? '
                "(faults: function, gone, hollow, network.slow, process.kill, twice)"
            ),
        ),
        (
            "twice",
            UsageError,
            (
                'fault "twice" is claimed by fake_plugins:Kill of one-dist 1.0 and '
                "fake_plugins:Slow of other-dist 2.0: uninstall one of them"
            ),
        ),
        (
            "gone",
            Unavailable,
            (
                'fault "gone" (no_such_module:Fault of broken-dist 3.0) cannot be imported: '
                "ModuleNotFoundError: No module named 'no_such_module'; "
                "reinstall or uninstall broken-dist 3.0"
            ),
        ),
        (
            "hollow",
            Unavailable,
            (
                'fault "hollow" (fake_plugins:NoSuchClass of broken-dist 3.0) cannot be imported: '
                "AttributeError: module 'fake_plugins' has no attribute 'NoSuchClass'; "
                "reinstall or uninstall broken-dist 3.0"
            ),
        ),
        (
            "function",
            Unavailable,
            (
                'fault "function" (fake_plugins:install of broken-dist 3.0) is not a dataclass, '
                "so it is no plug-in"
            ),
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(name: str, error: type[Exception], message: str) -> None:
    """Each way of failing has a message with the value that was met and what to do."""
    with pytest.raises(error) as raised:
        registry.load("faults", name)
    assert str(raised.value) == message


def test_one_plugin_seen_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same claim found on two entries of sys.path is no conflict."""
    entry = Entry("faults", "same", "fake_plugins:Kill", "one-dist 1.0")
    fake_plugins.install(monkeypatch, entry, entry)
    assert registry.load("faults", "same") is fake_plugins.Kill


def test_importing_the_engine_imports_no_plugin() -> None:
    """Neither the engine's modules nor a listing load an adapter or a verifier."""
    code = (
        "import sys, chaos.experiment, chaos.targets, chaos.registry as registry;"
        "[registry.names(kind) for kind in registry.KINDS];"
        "print([m for m in sys.modules if m.startswith(('chaos_adapters', 'chaos_verifiers'))])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------- shapes


@dataclass(frozen=True)
class Everything:
    """One of each.

    Not shown.
    """

    kind: ClassVar[str] = "not a parameter"

    target: Target
    size: Annotated[Size, Field(alias="at-most")] = 200
    """How much
    at most."""
    hold: Duration | None = 1.5
    copy: bool = True
    settings: Settings = field(default_factory=dict)
    derived: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.target == "bad" or self.size > 1000:
            raise ValueError(f"a size of {self.size} does not go with {self.target}")


def test_a_mapping_becomes_an_instance() -> None:
    """Keys are fields, by their alias where they have one."""
    values = {"target": "one", "at-most": "1kB", "hold": None, "settings": {"a.b": 1, "c": True}}
    assert shape(Everything).build(values) == Everything(
        "one", 1000, None, settings={"a.b": 1, "c": True}
    )


def test_an_instance_is_written_as_its_mapping() -> None:
    """Units are written out, and what is written is read again as the same."""
    instance = Everything("all", 48, 0.25, settings={"x": "1"})
    written = shape(Everything).dump(instance)
    assert written == {
        "target": "all", "at-most": "48B", "hold": "0.25s", "copy": True, "settings": {"x": "1"},
    }  # fmt: skip
    assert shape(Everything).build(written) == instance


def test_defaults_leave_out_what_is_required() -> None:
    """Defaults are what would be written."""
    assert shape(Everything).defaults() == {
        "at-most": "200B", "hold": "1.5s", "copy": True, "settings": {},
    }  # fmt: skip


def test_parameters_tell_type_default_and_meaning() -> None:
    """The text below a field is its documentation."""
    assert summary(Everything) == "One of each"
    assert shape(Everything).parameters() == (
        Parameter("target", "target", None, ""),
        Parameter("at-most", "size", "200B", "How much at most."),
        Parameter("hold", "duration | null", "1.5s", ""),
        Parameter("copy", "bool", "true", ""),
        Parameter("settings", "settings", "{}", ""),
    )


def test_targets_are_the_marked_fields_that_are_set() -> None:
    """A target that is optional and not given is none."""
    assert shape(fake_plugins.Slow).target_keys == ("target", "beside")
    assert shape(fake_plugins.Slow).targets(fake_plugins.Slow("one")) == {"target": "one"}
    assert shape(fake_plugins.Slow).targets(fake_plugins.Slow("one", beside="all")) == {
        "target": "one", "beside": "all",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "flaws"),
    [
        ({}, [Flaw(("target",), "is missing")]),
        (
            {"target": "one", "holt": "1s"},
            [
                Flaw(
                    ("holt",),
                    'unknown key "holt"; did you mean "hold"? '
                    "(keys: at-most, copy, hold, settings, target)",
                    at_key=True,
                )
            ],
        ),
        (
            {"target": "one", "derived": 3},
            [
                Flaw(
                    ("derived",),
                    'unknown key "derived" (keys: at-most, copy, hold, settings, target)',
                    at_key=True,
                )
            ],
        ),
        (
            {"target": 7, "hold": 3, "copy": "yes"},
            [
                Flaw(("target",), "should be text, not 7"),
                Flaw(
                    ("hold",), "needs a number with a unit (ms, s, m, h), such as 30s, not 3"
                ),
                Flaw(("copy",), 'should be true or false, not "yes"'),
            ],
        ),
        ({"target": "bad"}, [Flaw((), "a size of 200 does not go with bad")]),
        (
            {"target": "one", "at-most": "9" * 400 + "GB"},
            [Flaw(("at-most",), f'is too large, not "{"9" * 56}...')],
        ),
        (
            {"target": "one", "settings": {"a.b": None}},
            [
                Flaw(
                    ("settings", "a.b"),
                    "should be text or a whole number or a number or true or false, not null",
                )
            ],
        ),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_told(values: dict[str, Any], flaws: list[Flaw]) -> None:
    """All flaws of a mapping come at once, each at its place."""
    assert shape(Everything).build(values) == flaws


@dataclass(frozen=True)
class Hidden:
    """Its annotation is known to type checkers only."""

    amount: Decimal


@dataclass(frozen=True)
class Unwritable:
    """Its field cannot stand in a file."""

    amount: object = field(default_factory=object)
    thread: subprocess.Popen[bytes] | None = None


@pytest.mark.parametrize(
    ("cls", "message"), [(Hidden, "TYPE_CHECKING"), (Unwritable, "cannot be written in a file")]
)
def test_a_plugin_that_cannot_be_read_says_why(cls: type[Any], message: str) -> None:
    """A mistake in a plug-in's fields is told to its author."""
    with pytest.raises(Unavailable, match=message):
        shape(cls)
