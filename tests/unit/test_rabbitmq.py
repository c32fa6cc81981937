"""RabbitMQ's adapter without I/O: what nodes tell, what settings and versions are refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from chaos.errors import ClusterError, UsageError
from chaos.experiment import Consumers, Experiment
from chaos.experiment.checks import hand_back_flaws
from chaos.experiment.records import Load
from chaos.spi import Address, Outcome, View
from chaos_adapters.brokers.rabbitmq import Rabbitmq, admin
from chaos_adapters.brokers.rabbitmq.consumer import RabbitConsumer, _Message
from chaos_adapters.brokers.rabbitmq.observer import RabbitObserver
from chaos_adapters.brokers.rabbitmq.producer import RabbitProducer
from chaos_adapters.brokers.rabbitmq.settings import Consuming
from chaos_adapters.brokers.rabbitmq.stream import Kind, Queues
from chaos_adapters.brokers.rabbitmq.tales import Queue, Tale, against, backlog, view
from chaos_adapters.brokers.rabbitmq.topology import MANAGEMENT, cookie
from chaos_adapters.runtimes.local import Local

NODES = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")


def tale(leader: str | None) -> Tale:
    return Tale(NODES, (), {}, {0: Queue(leader, NODES, NODES)})


def test_most_nodes_are_believed_and_the_others_dissent() -> None:
    """A side of a partition that has a leader of its own is seen as such."""
    tales = {NODES[0]: tale(NODES[0]), NODES[1]: tale(NODES[1]), NODES[2]: tale(NODES[1])}
    believed = view(tales, View(leaders={0: NODES[0]}))
    assert believed.leaders == {0: NODES[1]}
    assert against(tales, believed) == [NODES[0]]
    rivals = view(tales, believed, [NODES[0]]).rivals
    assert rivals == {0: {NODES[0]: (NODES[0],), NODES[1]: (NODES[1], NODES[2])}}


def test_a_leader_that_a_majority_elects_has_no_rival() -> None:
    """A node that has not heard of the election names the old one: no second leader for that."""
    tales = {
        node: Tale(NODES, (), {}, {0: Queue(leader, NODES, NODES, elected=True)})
        for node, leader in zip(NODES, (NODES[0], NODES[1], NODES[1]), strict=True)
    }
    merged = view(tales, View(leaders={0: NODES[1]}), [NODES[0]])
    assert (merged.rivals, merged.dissenting) == ({}, (NODES[0],))


@pytest.mark.parametrize(("said_again_s", "dissenting"), [(101.2, [NODES[0]]), (100.3, [])])
def test_only_a_node_that_goes_on_saying_it_dissents(
    said_again_s: float, dissenting: list[str]
) -> None:
    """One that died names itself in what it said last, and is no rival for that."""
    tales = {NODES[0]: tale(NODES[0]), NODES[1]: tale(NODES[1]), NODES[2]: tale(NODES[1])}
    observer = object.__new__(RabbitObserver)
    observer._against, believed = {}, View(leaders={0: NODES[1]})
    observer._tales = dict.fromkeys(NODES, (100.0, tales[NODES[0]]))
    assert observer._dissenting(tales, believed, 100.0) == []
    observer._tales[NODES[0]] = said_again_s, tales[NODES[0]]
    assert observer._dissenting(tales, believed, 101.4) == dissenting


def test_even_votes_change_nothing() -> None:
    """One of two nodes that is later than the other makes no change."""
    tales = {NODES[0]: tale(NODES[1]), NODES[1]: tale(NODES[0])}
    assert view(tales, View(leaders={0: NODES[0]})).leaders == {0: NODES[0]}


@pytest.mark.parametrize("key", ["confirmz", "prefetch", "window"])
def test_a_wrong_setting_is_refused_at_its_place(key: str) -> None:
    """Unknown, of the other role, of the wrong kind."""
    (problem,) = Rabbitmq().client_problems({key: "much"}, {})
    assert problem[0] == f"load.producers.settings.{key}"


def test_mirrors_are_refused_where_a_version_has_none() -> None:
    """Classic queues are mirrored up to 3.13."""
    mirrored = Queues(kind=Kind.MIRRORED)
    assert not Rabbitmq(version="3.13").problems(mirrored)
    assert [path for path, _ in Rabbitmq(version="4.0.5").problems(mirrored)] == ["stream.kind"]


def test_each_cluster_has_a_cookie_of_its_own() -> None:
    """Nodes of two clusters can never join each other."""
    assert cookie("a") == cookie("a") != cookie("b")


class _Sink:
    def __init__(self) -> None:
        self.acked: list[int] = []
        self.failures: list[tuple[int, Outcome, str]] = []

    def acknowledged(self, sequences, partitions, offsets, done_ns) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.acked += sequences

    def failed(self, sequence, partition, done_ns, outcome, reason) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.failures.append((sequence, outcome, reason))


def test_confirmed_returned_and_lost_messages_are_told_apart() -> None:
    """An ack after a return is a refusal; what is open when the connection is lost is unknown."""
    producer, sink = object.__new__(RabbitProducer), _Sink()
    producer._sink, producer._acked = sink, ([], [])
    producer._open = {1: (10, 0), 2: (11, 0), 3: (12, 1), 4: (13, 1)}
    producer._lowest, producer._channel, producer._refused = 0, None, {}
    producer._returned = {11: "returned: NO_ROUTE"}
    producer._confirm(3, multiple=True)
    producer._lost()
    producer._tell()
    assert sink.acked == [10, 12]
    assert sink.failures == [
        (11, Outcome.REFUSED, "returned: NO_ROUTE"),
        (13, Outcome.INDETERMINATE, "connection lost"),
    ]


def test_settings_that_promise_too_little_are_named() -> None:
    """The verdict labels a FAIL by them."""
    found = {c.setting for c in Rabbitmq().caveats(Queues(), {"confirms": False}, {})}
    assert "confirms=false" in found


@dataclass(eq=False)
class _Channel:
    is_open: bool = True
    done: list[tuple[str, int]] = field(default_factory=list)

    def basic_ack(self, tag: int, multiple: bool) -> None:
        assert multiple
        self.done.append(("ack up to", tag))

    def basic_nack(self, tag: int, multiple: bool, requeue: bool) -> None:
        assert requeue
        assert not multiple
        self.done.append(("nack", tag))


def _consumer(channel: Any, tags: int) -> RabbitConsumer:
    """Which has received messages with tags from 1 on, and handed them over."""
    consumer = object.__new__(RabbitConsumer)
    consumer._settings = Consuming()
    consumer._last = [_Message(channel, 0, tag, False, -1, b"") for tag in range(1, tags + 1)]
    consumer._handed_over = {channel: list(range(1, tags + 1))}
    return consumer


def test_what_is_handed_back_is_not_acknowledged() -> None:
    """An acknowledgement is of all up to a tag, which must be one that is still open."""
    channel = _Channel()
    consumer = _consumer(channel, 3)
    consumer.hand_back(2)
    consumer.settle()
    consumer.settle()
    assert channel.done == [("nack", 3), ("ack up to", 2)]


def test_nothing_is_settled_when_all_was_handed_back_or_the_channel_is_gone() -> None:
    """What was on a channel that is gone went back with it."""
    channel, gone = _Channel(), _Channel(is_open=False)
    consumer = _consumer(channel, 1)
    consumer.hand_back(0)
    consumer.settle()
    assert channel.done == [("nack", 1)]
    consumer = _consumer(gone, 2)
    consumer.hand_back(0)
    consumer.settle()
    assert gone.done == []


def test_a_queue_with_a_delivery_limit_dead_letters_into_the_stream_beside_it() -> None:
    """Queue by queue; the dead-letter stream itself keeps what it has."""
    limited = Queues(delivery_limit=2)
    assert limited.declared(1)["x-dead-letter-routing-key"] == "chaos-dlt.1"
    assert limited.declared(1)["x-delivery-limit"] == 2
    beside = replace(limited, name="chaos-dlt")
    assert beside.declared(1) == replace(beside, delivery_limit=None).declared(1)
    assert not Rabbitmq().take_back_problem(limited)
    assert Rabbitmq().take_back_problem(Queues())
    classic = Queues(kind=Kind.CLASSIC, delivery_limit=2)
    assert [path for path, _ in Rabbitmq().problems(classic)] == ["stream.delivery_limit"]


@pytest.mark.parametrize(
    ("stream", "consumers", "why"),
    [
        (Queues(), Consumers(hand_back=True, dead_letter=True), "delivery_limit"),
        (Queues(delivery_limit=1), Consumers(hand_back=True), "dead_letter"),
        (
            Queues(delivery_limit=1),
            Consumers(hand_back=True, dead_letter=True, settle="before"),
            "settle: before",
        ),
        (
            Queues(delivery_limit=1),
            Consumers(hand_back=True, dead_letter=True, retries=1),
            "retries",
        ),
    ],
)
def test_handing_back_what_cannot_come_back_is_refused(
    stream: Queues, consumers: Consumers, why: str
) -> None:
    """At validation, with what to do."""
    (flaw,) = hand_back_flaws(Rabbitmq(), stream, Load(consumers=consumers))
    assert flaw.path == ("load", "consumers", "hand_back")
    assert why in flaw.what
    fine = Consumers(hand_back=True, dead_letter=True)
    assert not list(hand_back_flaws(Rabbitmq(), Queues(delivery_limit=1), Load(consumers=fine)))


class _Answers:
    """Stands in for a node's API."""

    node = NODES[0]

    def __init__(self, answer: list[dict[str, object]]) -> None:
        self.answer, self.asked = answer, ""

    def listed(self, path: str, timeout_s: float) -> list[dict[str, object]]:
        if path.startswith("nodes"):
            return [{"name": "rabbit@rabbitmq-1", "running": False}]
        self.asked = path
        return self.answer


def test_a_backlog_is_what_all_queues_hold_or_nothing_at_all() -> None:
    """Zero for a queue that could not be asked would end the drain too soon."""
    two = Queues(queues=2)
    told: Any = _Answers([{"name": "chaos.1", "messages": 7}, {"name": "chaos.0", "messages": 0}])
    assert backlog(told, two, 1.0) == {0: 0, 1: 7}
    assert "enable_queue_totals" in told.asked
    for held in ([{"name": "chaos.0", "messages": 0}], [{"name": "chaos.0"}, {"name": "chaos.1"}]):
        part: Any = _Answers(held)
        with pytest.raises(ClusterError, match="does not know"):
            backlog(part, two, 1.0)


def test_one_consumer_at_a_time_is_declared_and_refused_for_streams() -> None:
    """An argument of a queue; a stream does that by a protocol of its own."""
    assert Queues(single_active_consumer=True).declared(0)["x-single-active-consumer"] is True
    assert "x-single-active-consumer" not in Queues().declared(0)
    stream = Queues(kind=Kind.STREAM, single_active_consumer=True)
    assert [path for path, _ in Rabbitmq().problems(stream)] == ["stream.single_active_consumer"]


def test_plain_processes_are_refused_at_validation() -> None:
    """With its place in the file and the runtime that can."""
    ((path, what),) = Local().problems(Rabbitmq())
    assert path == "cluster.broker"
    assert "--runtime docker" in what


@pytest.mark.parametrize(("version", "queues", "named"), [
    ("3.13", 3, True), ("3.10.8", 2, True), ("4.0.5", 3, False), ("3.13", 1, False),
])  # fmt: skip
def test_streams_on_one_channel_are_safe_from_4_0_on(
    version: str, queues: int, named: bool
) -> None:
    """Up to 3.13 what is sent again to a new leader has the channel's numbers."""
    stream = Queues(kind=Kind.STREAM, queues=queues)
    found = {each.setting for each in Rabbitmq(version=version).caveats(stream, {}, {})}
    assert (f"queues={queues}" in found) is named


class _Starting(BaseHTTPRequestHandler):
    """A node that listens already and has no management yet."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def test_a_node_whose_management_is_not_there_yet_does_not_serve() -> None:
    """It answers 404 to everything for a moment; what it does not know of is not nothing."""
    with HTTPServer(("127.0.0.1", 0), _Starting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        clients = {"rabbitmq-1": Address("127.0.0.1", 1, ((MANAGEMENT, port),))}
        try:
            assert "rabbitmq-1 does not serve yet" in admin.missing(clients, 2, "3.13")
            with pytest.raises(ClusterError, match="does not know of queues"):
                admin.reset(clients, 2)
            with pytest.raises(ClusterError, match="does not know of nodes"):
                admin.memory_alarms(clients, 2)
        finally:
            server.shutdown()


STOPPED = """\
[notice] <0.61.0> SIGTERM received - shutting down
[info] <0.716.0> stopped TCP listener on [::]:5672
[info] <0.551.0> Message store for directory '/var/lib/rabbitmq/msg_store_persistent' is stopped
[info] <0.547.0> Message store for directory '/var/lib/rabbitmq/msg_store_transient' is stopped
[info] <0.488.0> Management plugin: to stop collect_statistics."""


@pytest.mark.parametrize(("log", "in_order"), [
    (STOPPED, True),
    (STOPPED.replace("msg_store_transient' is", "msg_store_transient' was"), False),
    (f"{STOPPED}\n[notice] <0.61.0> SIGTERM received - shutting down", False), ("", False),
])  # fmt: skip
def test_an_orderly_end_is_told_by_the_stores(log: str, in_order: bool) -> None:
    """As 3.10.8 writes it at its end, and not what is left of an earlier one."""
    assert Rabbitmq().ended_in_order(log.splitlines()) is in_order


WARNED = (
    "\x1b[1m\x1b[31mRABBITMQ_ERLANG_COOKIE env variable support is deprecated and will be REMOVED "
    "in a future version. \x1b[0m\x1b[33mUse the $HOME/.erlang.cookie file or the --erlang-cookie "
    "switch instead.\x1b[0m\n"
)


class _Shell:
    """A node that evaluates, as 3.10.8 was seen to."""

    name = "rabbitmq-1"

    def __init__(self, value: str) -> None:
        self.value, self.asked = value, ""

    def run(self, argv: list[str], timeout_s: float) -> str:
        self.asked = argv[-1]
        return f"{WARNED}{{mqchaos,{self.value}}}\n" if self.value else WARNED


@pytest.mark.parametrize("limit", ["0.4", "{absolute,1073741824}"])
def test_a_limit_is_read_past_what_else_the_tool_says(limit: str) -> None:
    """What is given back on heal is the limit alone."""
    shell: Any = _Shell(limit)
    assert admin.memory_limit(shell) == limit
    admin.limit_memory(shell, limit)
    assert shell.asked == (f"{{mqchaos, vm_memory_monitor:set_vm_memory_high_watermark({limit})}}.")


def test_a_tool_that_says_nothing_of_use_is_no_limit() -> None:
    with pytest.raises(ClusterError, match="to nothing"):
        admin.memory_limit(_Shell(""))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_threshold_for_copies_that_queues_cannot_show_is_refused(kind: Kind) -> None:
    """They have no positions; a stream has."""
    given = {
        "name": "copies", "cluster": {"broker": "rabbitmq", "nodes": 3},
        "stream": {"kind": kind.value}, "faults": [], "expect": {"duplication": {"max_stored": 0}},
    }  # fmt: skip
    if kind is Kind.STREAM:
        Experiment.from_resolved(given)
        return
    with pytest.raises(UsageError, match="use max_delivered"):
        Experiment.from_resolved(given)
