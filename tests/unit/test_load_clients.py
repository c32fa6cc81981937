"""Clients of the load as faults take hold of them, and the faults themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

import numpy as np
import psutil
import pytest

from chaos import message
from chaos.attached import Attached
from chaos.errors import FaultError
from chaos.facts import facts, not_final, tell
from chaos.history.reader import Stream
from chaos.load.poison import Poison
from chaos.load.strays import is_frozen, note, release
from chaos.spi import Injection, Json, Loaded, NodeState, Presence
from chaos.targets import client_names, client_problem, resolve_clients
from chaos.timing import wait_until
from chaos_adapters.faults import clients
from chaos_adapters.faults.client_crash import ClientCrash
from chaos_adapters.faults.client_pause import ClientPause
from chaos_adapters.faults.client_slow import ClientSlow
from chaos_adapters.faults.message_poison import MessagePoison
from tests.rig import FakeRig, mesh, plain

NAMES = client_names(2, 11)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("producers", ("producer-0", "producer-1")),
        ("consumer-1", ("consumer-1",)),
        (" consumer-10 ", ("consumer-10",)),
        ("clients", tuple(NAMES)),
    ],
)
def test_a_target_means_these_clients(text: str, found: tuple[str, ...]) -> None:
    """`consumer-1` is not `consumer-10`."""
    assert resolve_clients(text, NAMES, Random(1)) == found
    assert not client_problem(text, NAMES, "clients")


def test_one_of_a_role_is_drawn_by_the_seed() -> None:
    """Any of them, and the same for the same seed."""
    drawn = {resolve_clients("consumer", NAMES, Random(seed)) for seed in range(99)}
    assert drawn == {(name,) for name in NAMES if name.startswith("consumer")}
    one = [resolve_clients("consumer", NAMES, Random(5)) for _ in range(2)]
    assert one[0] == one[1]


def test_one_of_a_role_had_something_to_do() -> None:
    """Of one that waits for another's end nothing would be seen; but if all do, so be it."""
    idle = [name for name in NAMES if name != "consumer-3"]
    drawn = {resolve_clients("consumer", NAMES, Random(seed), idle) for seed in range(9)}
    assert drawn == {("consumer-3",)}
    assert resolve_clients("consumer", NAMES, Random(1), NAMES)[0] in NAMES
    assert resolve_clients("consumer-1", NAMES, Random(1), idle) == ("consumer-1",)


@pytest.mark.parametrize(
    ("text", "of", "hint"),
    [
        ("consumer-11", "clients", "consumer-1"),
        ("consumrs", "clients", "consumers"),
        ("producers", "consumers", "consumers"),
        ("leader(0)", "clients", "consumers"),
        ("consumer_1", "clients", "consumer-1"),
    ],
)
def test_what_means_nobody_is_told_with_what_was_meant(text: str, of: str, hint: str) -> None:
    """Before anything starts, by the counts in `load:` and the role that makes sense."""
    assert hint in client_problem(text, NAMES, of)


def test_names_are_not_judged_where_the_counts_are_not_known() -> None:
    """The section `load:` has a flaw of its own, which is told."""
    assert not client_problem("consumer-7", None, "clients")
    assert client_problem("leader(0)", None, "clients")


def test_nobody_is_an_error() -> None:
    """Whoever asks for it at run time."""
    with pytest.raises(FaultError, match="no client is consumer-99"):
        resolve_clients("consumer-99", NAMES, Random(1))


# ---------------------------------------------------------------------------------- the faults

FAULTS: list[tuple[Any, str]] = [
    (ClientCrash("fake-1,fake-2"), "kill"), (ClientPause("fake-1,fake-2"), "pause"),
    (ClientSlow(0.005, "fake-1,fake-2"), "slow"), (MessagePoison(target="fake-1,fake-2"), "poison"),
]  # fmt: skip
each = pytest.mark.parametrize(("fault", "act"), FAULTS, ids=[act for _, act in FAULTS])


@each
def test_only_what_runs_can_be_hit(fault: Any, act: str) -> None:
    """It says who, and why not."""
    cluster = mesh()
    cluster.load["client-2"].now = NodeState.DEAD
    with pytest.raises(FaultError, match=f"cannot {act}.*client-2: it is dead already"):
        fault.plan(FakeRig(cluster), Random(1))


@each
def test_a_consumer_that_has_had_nothing_to_do_is_no_target(
    fault: Any, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be seen of it, and the run would pass; seen in a real run."""
    monkeypatch.setattr(clients, "FIRST_DELIVERY_S", 0.2)
    cluster = mesh()
    cluster.load["client-2"].stats["received"] = 0
    with pytest.raises(FaultError, match="client-2 to any effect: it has received nothing"):
        fault.plan(FakeRig(cluster), Random(1))


@each
def test_the_first_delivery_of_a_consumer_is_waited_for(fault: Any, act: str) -> None:
    """Seen on a busy machine: a consumer with its first messages 2 s late ended a run."""
    cluster = mesh()
    stats = cluster.load["client-2"].stats
    stats["received"] = 0
    Timer(0.3, stats.update, kwargs={"received": 1}).start()
    assert fault.plan(FakeRig(cluster), Random(1)).nodes, act


@each
def test_half_an_effect_is_partial(fault: Any, act: str) -> None:
    """One of two does not obey."""
    cluster = mesh()
    cluster.load["client-2"].deaf |= {"kill", "pause", "order"}
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL


@each
def test_without_a_load_there_is_nothing_to_do_and_nothing_left(fault: Any, act: str) -> None:
    """The load died with the tool: a process that heals finds the fault gone."""
    cluster, injection = plain(), Injection(("consumer-0",))
    fault.heal(cluster, injection)
    assert fault.in_effect(cluster, injection).presence is Presence.NONE
    with pytest.raises(FaultError, match="there is no load"):
        fault.plan(FakeRig(cluster), Random(1))


def test_slow_is_proved_by_the_clock_only() -> None:
    """A consumer that took the order and is as fast as before is not slow."""
    cluster, fault = mesh(), ClientSlow(0.1, "fake-1")
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    cluster.load["client-1"].stats["took_s"] = 0.05
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL


@pytest.mark.parametrize("met", [{}, {"1": 4}, {"3": 9}])
def test_poison_that_met_no_handler_is_not_proved(met: dict[str, int]) -> None:
    """Acknowledged is not enough; nor is poison of an earlier fault, or of somebody else."""
    cluster, fault = mesh(), MessagePoison(target="fake-1")
    injection = fault.plan(FakeRig(cluster), Random(1))
    fault.inject(cluster, injection)
    for client in cluster.load.values():
        client.stats["met"] = met
    assert fault.in_effect(cluster, injection).presence is Presence.PARTIAL


def test_the_cluster_has_a_load_only_when_it_is_given_one() -> None:
    """What heals after a crash of the tool does not pretend."""
    cluster: Any = plain()
    broker: Any = None
    assert not isinstance(Attached(cluster, broker), Loaded)
    load: Any = {"consumer-0": mesh().load["client-1"]}
    assert isinstance(Attached(cluster, broker, workers=load), Loaded)


# ------------------------------------------------------------------------------------- poison


def test_poison_depends_on_the_number_alone() -> None:
    """However the messages are cut into chunks, the same ones are hit, and so many at most."""
    poison = Poison(0, 2, every=3, count=4, since=10)
    whole = poison.kinds(0, 40)
    assert np.flatnonzero(whole).tolist() == [10, 13, 16, 19]
    assert set(whole.tolist()) == {0, 2}
    pieces = [poison.kinds(first, 7) for first in range(0, 35, 7)]
    assert np.concatenate(pieces).tolist() == whole[:35].tolist()
    poison.acknowledged(np.array([9, 10, 16, 22]))
    assert poison.acked == 2


def test_the_kind_survives_the_wire_and_is_seen_at_a_glance() -> None:
    """The envelope is intact; a batch of normal ones is known without a look at each."""
    kinds = np.array([0, 3, 0], np.uint32)
    bodies = message.encode(7, 1, 0, np.arange(3), 0, 60, kinds)
    decoded = message.decode(7, bodies)
    assert decoded.kind.tolist() == [0, 3, 0]
    assert decoded.intact.all()
    assert message.any_odd(bodies)
    assert not message.any_odd([bodies[0], bodies[2]])
    assert message.any_odd([b""])


# ------------------------------------------------------------------------------------- strays


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for the end of its input."""
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def freeze(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: is_frozen(psutil.Process(process.pid)), "it to be frozen", 5)


def test_a_frozen_worker_is_found_again_and_let_go(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """By what is on the disk; the second time there is nothing to do."""
    note(tmp_path, "consumer-0", sleeper.pid)
    freeze(sleeper)
    assert release(tmp_path) == ["consumer-0"]
    assert release(tmp_path) == []
    assert sleeper.stdin
    sleeper.stdin.close()
    assert sleeper.wait(10) == 0


def test_a_process_that_has_the_number_by_now_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """A pid alone says nothing."""
    note(tmp_path, "consumer-0", sleeper.pid)
    path = tmp_path / "load.jsonl"
    line: Json = json.loads(path.read_text())
    path.write_text(json.dumps({**line, "started": line["started"] - 5}) + "\ntorn {")
    freeze(sleeper)
    assert release(tmp_path) == []
    assert is_frozen(psutil.Process(sleeper.pid))


def test_no_record_is_nothing_to_do(tmp_path: Path) -> None:
    """Most clusters that are cleaned up never had a load."""
    assert release(tmp_path) == []


# -------------------------------------------------------------------------------- on the record

STORY: list[Json] = [
    {"time_ns": 1, "kind": "run", "run": "1"},
    {"time_ns": 10, "kind": "load", "what": "started"},
    {"time_ns": 20, "kind": "client", "client": "consumer-0", "what": "crashed"},
    {"time_ns": 30, "kind": "client", "client": "consumer-2", "what": "started",
     "after": "consumer-0"},
    {"time_ns": 50, "kind": "load", "what": "ended", "due": {}},
]  # fmt: skip


def test_a_record_that_ends_at_a_crash_of_ours_is_no_doubt() -> None:
    """Another one that ends early is."""
    story = tell(STORY)
    cut = [
        Stream(Path("x"), name, "deliveries", -1, torn=True)
        for name in ("consumer-0", "consumer-1")
    ]
    assert [reason.split(" (")[0] for reason in not_final(story, cut)] == [
        "The record of consumer-1"
    ]
    assert story.failed_clients == []


def test_verifiers_know_when_a_client_was_there() -> None:
    """From its start to its crash, or to the end of the load."""
    assert facts(tell(STORY), []).lives == {"consumer-0": (10, 20), "consumer-2": (30, 50)}
