"""Faults on clients of the load, and what an application does with its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from drive import Plan
from scenes import Scene, Seen, answer, experiment, figure

from chaos.spi import Json, Kind, Verdict

Play = Callable[[Any], Seen]


def fault(name: str, target: str, at_s: float = 3.0, for_s: float = 1.0, **more: Any) -> Json:
    """One fault of an experiment."""
    return {"at": f"{at_s}s", "for": f"{for_s}s", "fault": name, "target": target, **more}


def quick(scenes: Sequence[Scene]) -> Sequence[Any]:
    """These; the ones that hardly differ from their neighbours under `scripts/test --full` only."""
    return [
        pytest.param(each, marks=pytest.mark.full)
        if each.name.endswith(("slow", "throws"))
        else each
        for each in scenes
    ]


def load(*, producers: Json | None = None, consumers: Json | None = None) -> Json:
    """Both of a role, unless it is said otherwise."""
    return {
        "producers": {"rate": "200/s", "count": 2, **(producers or {})},
        "consumers": {"count": 2, **(consumers or {})},
    }


def whats(seen: Seen, what: str) -> dict[str, str]:
    """The clients that had this happen to them, and after whom."""
    return {
        event["client"]: event.get("after", "")
        for event in seen.events
        if event["kind"] == "client" and event["what"] == what
    }


CRASH = Scene(
    "client-crash",
    experiment(
        fault("client.crash", "producer-1"), fault("client.crash", "consumer-0"), load=load(),
        # Time enough for the successors to be seen at work: else failover cannot tell.
        phases={"settle": "2s"},
    ),
)  # fmt: skip


@pytest.mark.parametrize("scene", [CRASH], ids=str)
def test_a_crashed_client_is_followed_by_a_new_one_and_nothing_is_lost(
    scene: Scene, played: Play
) -> None:
    """The successors have numbers of their own, send and receive; that a record ends at the crash
    is no reason for doubt."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    assert whats(seen, "crashed").keys() == {"producer-1", "consumer-0"}
    assert whats(seen, "started") == {"producer-2": "producer-1", "consumer-2": "consumer-0"}
    assert {row["producer"] for row in seen.rows("sends")} == {0, 1, 2}
    assert figure(seen.document, "loss", "lost") == 0
    assert figure(seen.document, "phantoms", "phantoms") == 0
    share = figure(seen.document, "availability", "served")
    assert share is not None
    assert share > 0.9
    assert seen.rejudged().verdict is Verdict.PASS


PAUSE = Scene("client-pause", experiment(fault("client.pause", "clients"), load=load()))


@pytest.mark.parametrize("scene", [PAUSE], ids=str)
def test_a_paused_client_goes_on(scene: Scene, played: Play) -> None:
    """All of them at once: nobody sends meanwhile, and all is delivered afterwards."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    (told,) = seen.story.faults.values()
    assert set(told.on.values()) == {"paused"}
    assert set(told.after.values()) == {"running"}
    assert told.effect_ns
    assert told.heal_ns
    sent = [row["sent_ns"] for row in seen.rows("sends")]
    assert not [time_ns for time_ns in sent if told.effect_ns < time_ns < told.heal_ns]


SLOW = Scene(
    "client-slow",
    experiment(fault("client.slow", "consumers", for_s=2, by="20ms"), load=load()),
)


@pytest.mark.parametrize("scene", [SLOW], ids=str)
def test_a_slow_consumer_has_a_backlog_that_drains(scene: Scene, played: Play) -> None:
    """While it is slow, messages wait for their handler ever longer; in the end all are handled."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    (told,) = seen.story.faults.values()
    assert told.effect_ns
    assert told.heal_ns
    waits = {
        row["handled_ns"]: (row["handled_ns"] - row["due_ns"]) / 1e9
        for row in seen.rows("deliveries")
    }
    slow = [s for time_ns, s in waits.items() if told.effect_ns < time_ns < told.heal_ns + 1e9]
    assert max(slow) > 0.5
    assert figure(seen.document, "loss", "unread tail") == 0


BUSY = {"count": 1, "handle": "9ms"}
"""Busy nine tenths of the time, at this rate: there is nearly always a message in hand."""


def busy(name: str, settle: str) -> Scene:
    """The only consumer is killed; the next one has time enough to work off what waits."""
    consumers = {**BUSY, "settle": settle}
    return Scene(
        name,
        experiment(
            fault("client.crash", "consumers"), phases={"drain": "60s"},
            load=load(consumers=consumers, producers={"rate": "100/s"}),
        ),
    )  # fmt: skip


SKIPPING, KEEPING = busy("settle-before", "before"), busy("settle-after", "after")


@pytest.mark.parametrize("scene", [SKIPPING], ids=str)
def test_who_settles_before_handling_skips_what_was_in_hand(scene: Scene, played: Play) -> None:
    """It is stored, acknowledged and never handled: FAIL, and the setting is named."""
    seen = played(scene)
    assert seen.status == 1, seen.output
    skipped = figure(seen.document, "loss", "skipped by consumers")
    assert skipped
    assert figure(seen.document, "loss", "lost") == 0
    assert "settle=before" in seen.output


@pytest.mark.parametrize("scene", [KEEPING], ids=str)
def test_who_settles_after_handling_loses_nothing(scene: Scene, played: Play) -> None:
    """The same crash, the other order."""
    seen = played(scene)
    # Other questions may be open: how long partitions stand still depends on a busy machine.
    assert answer(seen.document, "loss").verdict is Verdict.PASS, seen.output
    assert figure(seen.document, "loss", "skipped by consumers") == 0


def poison(kind: str, every: int = 20, **more: Any) -> Json:
    """Some poisoned messages."""
    return fault("message.poison", "producers", kind=kind, every=every, **more)


BURYING = {"dead_letter": True, "retries": 1, "retry_after": "20ms", "handler_timeout": "100ms"}
BURIED = [
    Scene(f"poison-{kind}", experiment(poison(kind, 40), load=load(consumers=BURYING)))
    for kind in ("malformed", "throws", "hangs")
]


@pytest.mark.parametrize("scene", quick(BURIED), ids=str)
def test_what_cannot_be_handled_is_dead_lettered(scene: Scene, played: Play) -> None:
    """All that is poisoned and nothing else; what is behind it is handled."""
    seen = played(scene)
    assert seen.status == 0, seen.output
    kind = int(Kind[scene.name.removeprefix("poison-").upper()])
    odd = {(r["producer"], r["sequence"]) for r in seen.rows("stored") if r["kind"] == kind}
    assert odd
    assert {(r["producer"], r["sequence"]) for r in seen.rows("dead")} == odd
    assert figure(seen.document, "handling", "dead-lettered") == len(odd)
    assert figure(seen.document, "handling", "most attempts") == 2
    assert figure(seen.document, "loss", "unread tail") == 0


STUCK = [
    Scene(
        "stuck-throws",
        experiment(poison("throws", count=1), load=load(), phases={"drain": "1s"}),
    ),
    Scene(
        "stuck-hangs",
        experiment(
            poison("hangs", count=1), load=load(consumers={"dead_letter": True}),
            phases={"drain": "1s"},
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("scene", STUCK, ids=str)
def test_without_a_way_out_a_poisoned_message_stops_its_partition(
    scene: Scene, played: Play
) -> None:
    """FAIL with the setting that would help; what waits behind it is not called lost."""
    seen = played(scene)
    assert seen.status == 1, seen.output
    assert figure(seen.document, "handling", "stuck")
    assert figure(seen.document, "loss", "lost") == 0
    assert figure(seen.document, "loss", "skipped by consumers") == 0
    (row,) = [q for q in seen.document.questions if q.name == "handling"]
    assert row.label == "unsafe setting"
    assert seen.gone_after_s is not None, seen.left


TOO_SHORT = Scene(
    "time-out-too-short",
    experiment(load=load(consumers={**BURYING, "handle": "200ms"}, producers={"rate": "6/s"})),
)


@pytest.mark.parametrize("scene", [TOO_SHORT], ids=str)
def test_normal_messages_that_are_dead_lettered_fail(scene: Scene, played: Play) -> None:
    """A time-out shorter than the work."""
    seen = played(scene)
    assert seen.status == 1, seen.output
    assert figure(seen.document, "handling", "normal ones dead-lettered")


LONG = {
    "crash": fault("client.crash", "clients", for_s=20),
    "pause": fault("client.pause", "clients", for_s=20),
    "slow": fault("client.slow", "consumers", for_s=20, by="50ms"),
    "poison": poison("hangs", for_s=20),
}
PROVED = "event kind=fault what=effect"
KILLED = [
    Scene(f"kill-9-{name}", experiment(step, load=load()), Plan(at=PROVED, do=("tool:KILL",)))
    for name, step in LONG.items()
]
STOPPED = [
    Scene(f"ctrl-c-{name}", experiment(step, load=load()), Plan(at=PROVED, do=("tool:INT",)))
    for name, step in LONG.items()
]


@pytest.mark.parametrize("scene", quick(KILLED), ids=str)
def test_a_tool_that_is_killed_leaves_no_client_behind(scene: Scene, played: Play) -> None:
    """Frozen ones are let go and end, busy ones end in the middle of a message."""
    seen = played(scene)
    assert seen.status == -9, seen.output
    assert seen.gone_after_s is not None, seen.left


@pytest.mark.parametrize("scene", quick(STOPPED), ids=str)
def test_a_tool_that_is_stopped_heals_its_clients(scene: Scene, played: Play) -> None:
    """Healed, nothing left, and a verdict that says that the run was interrupted."""
    seen = played(scene)
    assert seen.status == 130, seen.output
    assert seen.gone_after_s is not None, seen.left
    assert seen.document.healed
    assert seen.document.verdict is not Verdict.PASS
