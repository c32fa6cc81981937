"""Experiment files: what they mean, and everything that can be wrong with them."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import fake_plugins
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos import registry
from chaos.errors import UsageError
from chaos.experiment import Experiment, Step, load_experiment, place_problems
from chaos.experiment.source import LARGEST_FILE

GOOD = """\
name: broker-down
about: >
  What happens
  to us.
seed: 7
runtime: near
cluster: {broker: fake, nodes: 5}
stream:
  partitions: 4
  settings: {min.insync.replicas: 2}
load:
  producers: {count: 2, rate: 30/m, size: 1KiB, keys: 0, settings: {acks: all, linger.ms: 0.5}}
  consumers: {count: 3}
phases: {warm_up: 1500ms, settle: 7s, drain: 2m}
faults:
  - {at: 5s, for: 10s, fault: process.kill, target: leader(3)}
  - at: 4s
    fault: network.slow
    target: minority
    from: clients
expect:
  loss: {max: 2}
"""
SMALL = "name: x\ncluster: {broker: fake}\nfaults: []\n"


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_plugins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)


def load(text: str | bytes, *overrides: str) -> Experiment:
    Path("x.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_experiment(Path("x.yaml"), overrides)


def problems(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        load(text, *overrides)
    return [str(problem) for problem in raised.value.problems]


def test_every_part_of_a_file_is_there() -> None:
    """All sections arrive, in base units, with defaults where the file is silent."""
    it = load(GOOD)
    assert (it.name, it.about, it.seed, it.runtime) == (
        "broker-down", "What happens to us.", 7, "near",
    )  # fmt: skip
    assert it.broker_name == "fake"
    assert it.broker == fake_plugins.Broker(nodes=5)
    assert it.stream == fake_plugins.Stream(4, 3, {"min.insync.replicas": 2})
    producers = it.load.producers
    assert (producers.count, producers.rate, producers.size, producers.keys) == (2, 0.5, 1024, 0)
    assert producers.settings == {"acks": "all", "linger.ms": 0.5}
    assert (it.load.consumers.count, it.load.consumers.settings) == (3, {})
    assert (it.phases.warm_up_s, it.phases.settle_s, it.phases.drain_s) == (1.5, 7, 120)
    slow = fake_plugins.Slow("minority", away="clients")
    assert it.faults == (
        Step("1-process.kill", 5, 10, "process.kill", fake_plugins.Kill("leader(3)")),
        Step("2-network.slow", 4, None, "network.slow", slow),
    )
    assert it.verifiers == {"failover": fake_plugins.Failover(), "loss": fake_plugins.Loss(2)}
    assert it.load_end_s == 5 + 10 + 7


def test_silence_means_the_defaults() -> None:
    """A name, a broker and the faults are all that must be said; an empty section is no section."""
    it = load(SMALL + "load:\nexpect:\n  loss:\n")
    assert (it.seed, it.runtime, it.about) == (1, "auto", "")
    assert (it.load.producers.rate, it.load.producers.size) == (1000, 200)
    assert it.verifiers == {"failover": fake_plugins.Failover(), "loss": fake_plugins.Loss()}
    assert it.load_end_s == 3 + 10


def test_a_threshold_can_be_switched_off() -> None:
    """`null` is a value where a plug-in's field may be None."""
    assert load(SMALL + "expect: {failover: {max: null}}").verifiers["failover"] == (
        fake_plugins.Failover(None)
    )


@pytest.mark.parametrize("text", [GOOD, SMALL, GOOD.replace("30/m", "1/m")])
def test_resolved_says_everything(text: str) -> None:
    """`from_resolved` of the JSON gives an equal experiment, to the last digit, and equal JSON."""
    it = load(text)
    again = Experiment.from_resolved(json.loads(json.dumps(it.resolved)))
    assert again == it
    assert again.resolved == it.resolved
    assert it.resolved["load"]["producers"]["size"].endswith("B")
    assert pickle.loads(pickle.dumps(it)) == it


def test_overrides_change_values_in_any_section() -> None:
    """A value is YAML; what follows `settings.` is one key; sections that are missing are made."""
    it = load(
        GOOD,
        "load.producers.rate=500/s",
        "load.producers.settings.queue.buffering.max.ms=5",
        "load.consumers.settings.fetch.min.bytes=1",
        "faults.0.at=6s",
        "expect.failover={max: 1m}",
        "cluster.nodes=3",
        "runtime=auto",
    )
    assert it.load.producers.rate == 500
    assert it.load.producers.settings == {
        "acks": "all", "linger.ms": 0.5, "queue.buffering.max.ms": 5,
    }  # fmt: skip
    assert it.load.consumers.settings == {"fetch.min.bytes": 1}
    assert it.faults[0].at_s == 6
    assert it.verifiers["failover"] == fake_plugins.Failover(60)
    assert it.broker == fake_plugins.Broker()
    assert it.runtime == "auto"
    assert load(SMALL, "phases.settle=1s").phases.settle_s == 1


def test_a_line_of_advice_names_the_right_key() -> None:
    """The whole of a bad file is told at once, in the order of its lines."""
    bad = """\
name: Broker-down
abuot: 3
seed: true
runtime: dockr
cluster: {broker: fake, nodez: 3}
stream: {partitions: 0, settings: {min.insync.replicas: [2]}}
load:
  producers: {rate: 10, size: 3B, count: 0}
  consumer:
phases: {settle: 30h}
faults:
  - {at: 2s, fro: 10s, fault: process.kill, target: leadr(0)}
  - {at: 5s, for: 0s, fault: network.slw, target: one}
  - {at: 5s, for: -1s, fault: network.slow, target: leader, from: client}
  - {fault: 3}
  - foo
expect:
  los: {max: 0}
  loss: {max: -1}
"""
    duration = "needs a number with a unit (ms, s, m, h), such as 30s"
    assert problems(bad) == [
        ('x.yaml:1:7: name: should consist of a-z, 0-9 and - (at most 60, the first one no -), '
        'not "Broker-down"'),
        ('x.yaml:2:1: abuot: unknown key "abuot"; did you mean "about"? (keys: about, cluster, '
        "expect, faults, load, name, phases, runtime, seed, stream)"),
        "x.yaml:3:7: seed: should be a whole number, not true",
        'x.yaml:4:10: runtime: unknown runtime "dockr" (runtimes: auto, far, near)',
        ('x.yaml:5:25: cluster.nodez: unknown key "nodez"; did you mean "nodes"? (keys: broker, '
        "clock, disk, nodes, settings, version)"),
        "x.yaml:6:22: stream.partitions: should be from 1 to 10000, not 0",
        ("x.yaml:6:57: stream.settings.min.insync.replicas: should be text or a whole number or a "
        "number or true or false, not [2]"),
        ("x.yaml:8:21: load.producers.rate: needs a number with a unit (/s, /m), such as 1000/s, "
        "not 10"),
        'x.yaml:8:31: load.producers.size: should be from 52B to 64MiB, not "3B"',
        "x.yaml:8:42: load.producers.count: should be greater than or equal to 1, not 0",
        ('x.yaml:9:3: load.consumer: unknown key "consumer"; did you mean "consumers"? (keys: '
        "consumers, producers)"),
        'x.yaml:10:18: phases.settle: should be from 0s to 24h, not "30h"',
        ("x.yaml:12:10: faults.0.at: should be at least 3s: the time before the first fault is the "
        "baseline"),
        ('x.yaml:12:14: faults.0.fro: unknown key "fro"; did you mean "for"? (keys: at, fault, '
        "for, target)"),
        ('x.yaml:12:53: faults.0.target: unknown target "leadr(0)"; did you mean "leader(p)"? '
        "(targets: all, controller, follower(p), followers(p), leader(p), majority, minority, "
        "one)"),
        'x.yaml:13:19: faults.1.for: should be from 1ms to 24h, not "0s"',
        ('x.yaml:13:30: faults.1.fault: unknown fault "network.slw"; did you mean "network.slow"? '
        "(faults: network.slow, process.kill)"),
        f'x.yaml:14:19: faults.2.for: {duration}, not "-1s"',
        "x.yaml:14:53: faults.2.target: leader needs a partition: write leader(0)",
        "x.yaml:14:67: faults.2.from: should be 'peers' or 'clients', not \"client\"",
        "x.yaml:15:5: faults.3.at: is missing",
        "x.yaml:15:13: faults.3.fault: should be text, not 3",
        'x.yaml:16:5: faults.4: should be a mapping (key: value), not "foo"',
        ('x.yaml:18:3: expect.los: unknown verifier "los"; did you mean "loss"? (verifiers: '
        "failover, loss)"),
        "x.yaml:19:15: expect.loss.max: should be greater than or equal to 0, not -1",
    ]  # fmt: skip


NO_BROKER = "(brokers: fake)"
TOP = "(keys: about, cluster, expect, faults, load, name, phases, runtime, seed, stream)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["x.yaml: is empty"]),
        ("# nothing\n", ["x.yaml: is empty"]),
        ("{}", [
            "x.yaml:1:1: name: is missing",
            "x.yaml:1:1: cluster.broker: is missing (brokers: fake)",
            "x.yaml:1:1: faults: is missing: write [] for a run without any",
        ]),
        ("- a\n- b\n", ['x.yaml:1:1: should be a mapping (key: value), not ["a", "b"]']),
        ("just text", ['x.yaml:1:1: should be a mapping (key: value), not "just text"']),
        ("name: [1, 2\nseed: 3", [
            "x.yaml:2:5: is not YAML: expected ',' or ']', but got ':'",
        ]),
        ("name: x\n\tseed: 3", [
            "x.yaml:2:1: is not YAML: found character '\\t' that cannot start any token",
        ]),
        ("name: x\n---\nname: y", ["x.yaml:2:1: is not YAML: but found another document"]),
        ("name: *nobody", ["x.yaml:1:7: is not YAML: found undefined alias 'nobody'"]),
        (b"name: x\n\x00\x01", ["x.yaml:2:1: is not YAML: a control character stands there"]),
        (b"\x7fELF\x02\x01\x01\n\x80\x81", ["x.yaml:2:1: is not UTF-8 text: byte 0x80"]),
        (b"\xff\xfen\x00a\x00", ["x.yaml:1:1: is not UTF-8 text: byte 0xff"]),
        ("[" * 5000, ["x.yaml: is nested too deeply"]),
        ("#" * (LARGEST_FILE + 1), [f"x.yaml: is larger than {LARGEST_FILE} bytes"]),
        (SMALL + "name: y", ["x.yaml:4:1: name: stands here twice, first in line 1"]),
        (SMALL + "seed: 99999999999999999999", [
            "x.yaml:4:7: seed: 99999999999999999999 is too large or no number",
        ]),
        (SMALL + f"seed: {'9' * 5000}", [
            "x.yaml:4:7: seed: 99999999999999999999 is too large or no number",
        ]),
        (SMALL + f"seed: 0x{'f' * 5000}", [
            "x.yaml:4:7: seed: 0xffffffffffffffffff is too large or no number",
        ]),
        (SMALL + "load: {producers: {settings: {a: .inf, b: .nan, c: 1e999}}}", [
            "x.yaml:4:34: load.producers.settings.a: .inf is too large or no number",
            "x.yaml:4:43: load.producers.settings.b: .nan is too large or no number",
            "x.yaml:4:52: load.producers.settings.c: 1e999 is too large or no number",
        ]),
        (SMALL + "seed: -1", ["x.yaml:4:7: seed: should be greater than or equal to 0, not -1"]),
        (SMALL + "about: !!binary aGk=", [
            "x.yaml:4:8: about: has the tag tag:yaml.org,2002:binary, which means nothing here",
        ]),
        (SMALL + "about: !env HOME", [
            "x.yaml:4:8: about: has the tag !env, which means nothing here",
        ]),
        (SMALL + "load: &a {producers: *a}", ["x.yaml:4:7: load.producers: contains itself"]),
        (SMALL + "? [a]\n: b", ["x.yaml:1:1: has a key that is not text in line 4"]),
        (SMALL + "load: 3", ["x.yaml:4:7: load: should be a mapping (key: value), not 3"]),
        (SMALL + "load: {producers: [1]}", [
            "x.yaml:4:19: load.producers: should be a mapping (key: value), not [1]",
        ]),
        (SMALL + "load: {producers: {size: 9999999999999999999999999999999999999GB}}", [
            ("x.yaml:4:26: load.producers.size: should be from 52B to 64MiB, not "
            '"9999999999999999999999999999999999999GB"'),
        ]),
        (SMALL + "phases: {drain: 99999999h}", [
            'x.yaml:4:17: phases.drain: should be from 1ms to 24h, not "99999999h"',
        ]),
        (SMALL.replace("[]", "3"), ["x.yaml:3:9: faults: should be a list, not 3"]),
        (SMALL.replace("[]", "[{at: 3s, target: all}]"), [
            "x.yaml:3:10: faults.0.fault: is missing",
        ]),
        (SMALL.replace("fake", "kafca"), [
            'x.yaml:2:19: cluster.broker: unknown broker "kafca" (brokers: fake)',
        ]),
        (SMALL.replace("fake", "[fake]"), [
            'x.yaml:2:19: cluster.broker: should be text, not ["fake"]',
        ]),
        (SMALL.replace("fake", "fake, nodes: 12"), [
            "x.yaml:2:10: cluster: nodes should be from 1 to 9, not 12",
        ]),
        (SMALL + "stream: {replicas: 4, settings: {min.insync.replicas: 5}}", [
            "x.yaml:4:20: stream.replicas: 4 replicas need as many nodes, and there are 3",
            "x.yaml:4:55: stream.settings.min.insync.replicas: is more than there are replicas",
        ]),
        (SMALL + "stream: {partitions: 10001}", [
            "x.yaml:4:22: stream.partitions: should be from 1 to 10000, not 10001",
        ]),
        (SMALL + "<<: {seed: 3}", [f'x.yaml:4:1: <<: unknown key "<<" {TOP}']),
        (SMALL + "1: 2", [f'x.yaml:4:1: 1: unknown key "1" {TOP}']),
    ],
)  # fmt: skip
def test_bad_files(text: str | bytes, expected: list[str]) -> None:
    """Each says where and what, once, and nothing else is reported for it."""
    assert problems(text) == expected


def test_a_few_aliases_do_not_fill_the_memory() -> None:
    """Aliases of aliases stand for 10^9 values and are refused at once."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "x.yaml:1:1: stands for more than 20000 values" in problems("\n".join(lines))


def test_a_file_that_cannot_be_read() -> None:
    """The reason of the system is told."""
    Path("directory").mkdir()
    for name, why in (("none.yaml", "No such file or directory"), ("directory", "Is a directory")):
        with pytest.raises(UsageError, match=f"^{name}: cannot be read: {why}$"):
            load_experiment(Path(name), ["seed=3"])


def steps(*lines: str) -> str:
    return "name: x\ncluster: {broker: fake}\nfaults:\n" + "".join(f"  - {{{s}}}\n" for s in lines)


KILL = "fault: process.kill, target: leader(0)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (steps(f"at: 2999ms, {KILL}", "at: 3s, fault: process.kill, target: all"), [
            ("x.yaml:4:10: faults.0.at: should be at least 3s: the time before the first fault is "
            "the baseline"),
        ]),
        (steps(f"at: 5s, for: 10s, {KILL}", f"at: 14s, for: 1s, {KILL}"), [
            ("x.yaml:5:5: faults.1: takes hold of the process of leader(0) while faults.0 "
            "(process.kill) does: let one end before the other begins"),
        ]),
        (steps(f"at: 9s, {KILL}", f"at: 5s, {KILL.replace('(0)', '( 0 )')}"), [
            ("x.yaml:5:5: faults.1: takes hold of the process of leader(0) while faults.0 "
            "(process.kill) does: let one end before the other begins"),
        ]),
        (steps(f"at: 5s, {KILL.replace('(0)', '(3)')}"), [
            "x.yaml:4:43: faults.0.target: there is no partition 3: the last one is 2",
        ]),
        (steps("at: 5s, fault: process.kill, target: fake-4"), [
            ('x.yaml:4:43: faults.0.target: unknown target "fake-4"; did you mean "fake-3"? '
            "(targets: all, controller, fake-1, fake-2, fake-3, follower(p), followers(p), "
            "leader(p), majority, minority, one)"),
        ]),
        (steps("at: 5s, fault: network.slow, target: one, beside: ono"), [
            ('x.yaml:4:56: faults.0.beside: unknown target "ono"; did you mean "one"? '
            "(targets: all, controller, fake-1, fake-2, fake-3, follower(p), followers(p), "
            "leader(p), majority, minority, one)"),
        ]),
    ],
)  # fmt: skip
def test_impossible_schedules(text: str, expected: list[str]) -> None:
    """What cannot be done at all is refused before anything starts."""
    assert problems(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        steps(f"at: 5s, for: 5s, {KILL}", f"at: 10s, for: 5s, {KILL}"),
        steps(f"at: 5s, for: 5s, {KILL}", f"at: 6s, {KILL.replace('leader', 'followers')}"),
        steps(f"at: 5s, {KILL}", "at: 6s, fault: network.slow, target: leader(0)"),
        steps("at: 5s, for: 1s, fault: network.slow, target: fake-2"),
    ],
)  # fmt: skip
def test_possible_schedules(text: str) -> None:
    """One after the other, other targets, and other claims on the same target may be."""
    assert load(text).faults


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("foo", "--set foo: needs key=value, such as load.producers.rate=500/s"),
        ("=3", "--set =3: needs key=value, such as load.producers.rate=500/s"),
        ("load.=3", "--set load.=3: needs key=value, such as load.producers.rate=500/s"),
        ("seed=x", '--set seed=x: seed: should be a whole number, not "x"'),
        ("faults.0.for=0s", (
            '--set faults.0.for=0s: faults.0.for: should be from 1ms to 24h, not "0s"'
        )),
        ("faults.9.at=3s", "--set faults.9.at=3s: faults.9.at: there is no faults.9"),
        ("faults.x.at=3s", "--set faults.x.at=3s: faults.x.at: there is no faults.x"),
        ("name.x=3", "--set name.x=3: name.x: there is no name.x"),
        ("seed={a", (
            "--set seed={a: seed: is not YAML: expected ',' or '}', but got '<stream end>'"
        )),
        ("cluster={a", (
            "--set cluster={a: cluster: is not YAML: expected ',' or '}', but got '<stream end>'"
        )),
        ("stream={partitions: 4, replicas: 9}", (
            "--set stream={partitions: 4, replicas: 9}: stream.replicas: 9 replicas need as "
                "many nodes, and there are 5"
        )),
        ("load.producer.rate=3/s", (
            '--set load.producer.rate=3/s: load.producer: unknown key "producer"; did you mean '
            '"producers"? (keys: consumers, producers)'
        )),
    ],
)  # fmt: skip
def test_a_bad_override_is_located_on_the_command_line(override: str, expected: str) -> None:
    """Its problems name the option, not a line of the file."""
    assert problems(GOOD, override) == [expected]


def test_a_runtime_without_links_refuses_what_needs_them() -> None:
    """The step is named, and a runtime that can; nothing is wrong on that one."""
    it = load(GOOD)
    assert [str(each) for each in place_problems(it, "near", fake_plugins.Near)] == [
        (
            "x.yaml:18:12: faults.1.fault: network.slow acts on links between nodes, which the "
            "near runtime has no hold of: use --runtime far"
        )
    ]
    assert place_problems(it, "far", fake_plugins.Far) == []


@dataclass(frozen=True)
class Demanding:
    """A verifier that has to be told something."""

    question: ClassVar[str] = "?"

    limit: int


def test_every_registered_verifier_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot do without a field, or cannot be imported, is told although not mentioned."""
    entry = registry.Entry("verifiers", "demanding", f"{__name__}:Demanding", "other 1.0")
    gone = registry.Entry("verifiers", "gone", "no_such_module:X", "other 1.0")
    fake_plugins.install(monkeypatch, entry, gone)
    assert problems(SMALL) == [
        "x.yaml:1:1: expect.demanding.limit: is missing",
        ('x.yaml:1:1: expect.gone: verifier "gone" (no_such_module:X of other 1.0) cannot be '
        "imported: ModuleNotFoundError: No module named 'no_such_module'; reinstall or uninstall "
        "other 1.0"),
    ]  # fmt: skip


def test_a_resolved_experiment_with_an_error_names_its_file() -> None:
    """What was changed by hand in a run directory is told with the path of the key."""
    resolved: dict[str, Any] = {**load(GOOD).resolved, "seed": "x"}
    with pytest.raises(UsageError, match=r"^run/experiment\.json: seed: should be a whole number"):
        Experiment.from_resolved(resolved, "run/experiment.json")


def test_a_run_that_has_been_is_judged_though_it_would_be_refused_today() -> None:
    """A version that refuses more must not take records away; what it cannot read, it says."""
    resolved: dict[str, Any] = load(GOOD).resolved
    stream = {**resolved["stream"], "settings": {"min.insync.replicas": 5}}
    refused = {**resolved, "stream": stream}
    with pytest.raises(UsageError, match="is more than there are replicas"):
        Experiment.from_resolved(refused)
    assert Experiment.recorded(refused).resolved == refused
    with pytest.raises(UsageError, match="seed: should be a whole number"):
        Experiment.recorded({**refused, "seed": "x"})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_file_it_is_read_or_refused(data: st.DataObject) -> None:
    """A good file with a piece cut out, doubled or overwritten never ends in any other error."""
    raw = GOOD.encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(start + 30, len(raw))))
    middle = data.draw(
        st.one_of(
            st.binary(max_size=8),
            st.just(raw[start:end] * 2),
            st.sampled_from([b"", b"- ", b"{", b"]", b"&a ", b"*a", b"!!int ", b": ", b"9" * 400]),
            st.text(max_size=6).map(lambda text: text.encode("utf-8", "replace")),
        )
    )
    try:
        experiment = load(raw[:start] + middle + raw[end:])
    except UsageError as error:
        where = [problem.where for problem in error.problems]
    else:
        where = ["x.yaml"]
        assert Experiment.from_resolved(experiment.resolved) == experiment
    assert where
    assert all(place.startswith("x.yaml") for place in where)


def test_a_fault_without_an_end_needs_time_to_settle(tmp_path: Path) -> None:
    """It would last as long as the load settles: with hardly any of that it is refused."""
    file = tmp_path / "e.yaml"
    file.write_text(
        "name: e\ncluster: {broker: memory}\nphases: {settle: 0s}\n"
        "faults:\n  - {at: 5s, fault: process.kill, target: leader(0)}\n"
    )
    with pytest.raises(UsageError, match=r"e.yaml:5:5: faults.0: needs a `for`"):
        load_experiment(file)
