"""The memory broker as real processes: honest without mischief, and wrong exactly as asked."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from nodes import Nodes, running

from chaos import message
from chaos.errors import ClusterError, DeadlineExceeded, UsageError
from chaos.spi import Consumer, Deliveries, Numbers, Outcome, PartitionEnd
from chaos.timing import wait_until
from chaos_adapters.brokers.memory import Memory, MemoryStream
from chaos_adapters.brokers.memory.mischief import FAR_BEYOND
from chaos_adapters.brokers.memory.wire import pack

RUN = 7
STREAM = MemoryStream(name="run-1")
Place = tuple[int, int]


@dataclass
class Sink:
    """Collects outcomes by sequence number; a second one for the same message is an error."""

    acknowledged_at: dict[int, Place] = field(default_factory=dict)
    failures: dict[int, Outcome] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def acknowledged(
        self, sequences: Numbers, partitions: Numbers, offsets: Numbers, done_ns: int
    ) -> None:
        for sequence, *place in zip(sequences, partitions, offsets, strict=True):
            assert sequence not in self.acknowledged_at
            assert sequence not in self.failures
            self.acknowledged_at[sequence] = place[0], place[1]

    def failed(
        self, sequence: int, partition: int, done_ns: int, outcome: Outcome, reason: str
    ) -> None:
        assert sequence not in self.acknowledged_at
        assert sequence not in self.failures
        self.failures[sequence] = outcome
        self.reasons[reason] += 1

    def __len__(self) -> int:
        return len(self.acknowledged_at) + len(self.failures)

    def of(self, outcome: Outcome) -> set[int]:
        return {sequence for sequence, found in self.failures.items() if found == outcome}


def bodies(first: int, count: int) -> list[bytes]:
    return message.encode(RUN, 0, first, np.arange(count), 0, 100)


class Sending:
    """A producer with its polling thread, as a worker has it."""

    def __init__(
        self, nodes: Nodes, timeout_s: float = 10.0, stream: MemoryStream = STREAM
    ) -> None:
        self.sink = Sink()
        self.sent = 0
        settings = {"timeout_s": timeout_s}
        self._producer = nodes.broker.producer(nodes.clients, stream, settings, self.sink)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()

    def _poll(self) -> None:
        while not self._end.is_set():
            self._producer.poll(0.05)

    def send(self, count: int) -> None:
        taken = self._producer.send(self.sent, [None] * count, bodies(self.sent, count))
        assert taken == count
        self.sent += count

    def wait_done(self) -> None:
        wait_until(lambda: len(self.sink) == self.sent, "all outcomes", 20, every_s=0.005)

    def close(self) -> None:
        self._producer.close(5)
        self._end.set()
        self._thread.join()


def send(nodes: Nodes, count: int, timeout_s: float = 10.0) -> Sink:
    sending = Sending(nodes, timeout_s)
    try:
        sending.send(count)
        sending.wait_done()
    finally:
        sending.close()
    return sending.sink


def stored(nodes: Nodes) -> dict[Place, bytes]:
    """All that is stored by its place; proves that places are dense and ends are right."""
    found: dict[Place, bytes] = {}
    ends = {}
    for piece in nodes.broker.stored(nodes.clients, STREAM, 5):
        if isinstance(piece, Deliveries):
            found |= zip(
                zip(piece.partitions, piece.offsets, strict=True), piece.bodies, strict=True
            )
        else:
            ends[piece.partition] = piece
    counts = Counter(partition for partition, _ in found)
    assert ends == {p: PartitionEnd(p, 0, counts[p], counts[p]) for p in range(STREAM.partitions)}
    assert set(found) == {(p, offset) for p in counts for offset in range(counts[p])}
    return found


def sequences(found: dict[Place, bytes]) -> dict[Place, int]:
    return dict(
        zip(found, message.decode(RUN, list(found.values())).sequence.tolist(), strict=True)
    )


def receive(consumer: Consumer, wanted: int) -> list[tuple[int, int, int, bool]]:
    """(partition, offset, sequence, redelivered), settled in between."""
    rows: list[tuple[int, int, int, bool]] = []
    deadline = time.monotonic() + 10
    while len(rows) < wanted:
        assert time.monotonic() < deadline, f"{len(rows)} of {wanted} messages came"
        found = consumer.receive(50, 0.1)
        if found:
            numbers = message.decode(RUN, found.bodies).sequence.tolist()
            rows += zip(found.partitions, found.offsets, numbers, found.redelivered, strict=True)
            consumer.settle()
    return rows


def receive_unsettled(consumer: Consumer, wanted: int) -> None:
    got = 0
    deadline = time.monotonic() + 10
    while got < wanted:
        assert time.monotonic() < deadline, f"{got} of {wanted} messages came"
        found = consumer.receive(1000, 0.1)
        got += len(found.bodies) if found else 0


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    """Three nodes with the stream; indirect parameters are fields of the broker."""
    broker = Memory(**getattr(request, "param", {}))
    with running(broker, tmp_path) as nodes:
        broker.prepare(nodes.clients, STREAM, 5)
        yield nodes


# ------------------------------------------------------------------------------ without mischief


def test_what_is_acknowledged_is_stored_where_the_broker_said(cluster: Nodes) -> None:
    """Nothing lost, doubled or moved; order within a partition is the order of sending."""
    sink = send(cluster, 3000)
    places = {place: sequence for sequence, place in sink.acknowledged_at.items()}
    assert len(places) == 3000
    assert sequences(stored(cluster)) == places
    for partition in range(3):
        ours = [places[partition, offset] for offset in range(1000)]
        assert ours == sorted(ours)


def test_consumers_of_a_group_share_the_stream_and_get_each_message_once(cluster: Nodes) -> None:
    """The second one joins late, and still nothing comes twice."""
    one = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    send(cluster, 300)
    first = receive(one, 300)
    two = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    one.settle()
    send(cluster, 300)
    rows: dict[str, list[tuple[int, int, int, bool]]] = {"one": [], "two": []}
    deadline = time.monotonic() + 10
    while len(rows["one"]) + len(rows["two"]) < 300:
        assert time.monotonic() < deadline
        for name, consumer in (("one", one), ("two", two)):
            found = consumer.receive(1000, 0.02)
            if found:
                numbers = [0] * len(found.bodies)
                rows[name] += zip(
                    found.partitions, found.offsets, numbers, found.redelivered, strict=True
                )
                consumer.settle()
    assert rows["one"]
    assert rows["two"]
    assert not {row[0] for row in rows["one"]} & {row[0] for row in rows["two"]}
    places = [row[:2] for row in [*first, *rows["one"], *rows["two"]]]
    assert len(set(places)) == len(places) == 600
    assert not any(row[3] for row in [*first, *rows["one"], *rows["two"]])
    one.close()
    two.close()


def test_what_a_closed_consumer_settled_does_not_come_again(cluster: Nodes) -> None:
    """Settling is durable once `close` has returned, also across a kill of all nodes."""
    send(cluster, 30)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    assert {row[2] for row in receive(consumer, 30)} == set(range(30))
    consumer.close()
    for node in cluster.clients:
        cluster.kill(node)
        cluster.start(node)
    cluster.wait_ready()
    places = set(send(cluster, 30).acknowledged_at.values())
    again = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    rows = receive(again, 30)
    assert {row[:2] for row in rows} == places
    assert not any(row[3] for row in rows)
    again.close()


def test_close_waits_until_nodes_have_confirmed_what_is_settled(cluster: Nodes) -> None:
    """A node that is frozen for a moment does not make it come again."""
    send(cluster, 30)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    receive_unsettled(consumer, 30)
    cluster.signal("memory-1", signal.SIGSTOP)
    closing = threading.Thread(target=consumer.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    cluster.signal("memory-1", signal.SIGCONT)
    closing.join(10)
    assert not closing.is_alive()


def test_what_was_not_settled_comes_again_marked(cluster: Nodes) -> None:
    """At least once, and no doubt about which ones may be double."""
    send(cluster, 30)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    receive_unsettled(consumer, 30)
    for connection in consumer._lanes:
        connection.close()  # as the end of the process would
    again = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    assert all(row[3] for row in receive(again, 30))
    again.close()


def test_keys_decide_about_partitions(cluster: Nodes) -> None:
    """All messages of one key are in one partition, in order."""
    sink = Sink()
    producer = cluster.broker.producer(cluster.clients, STREAM, {}, sink)
    keys = [message.key(number % 10) for number in range(100)]
    assert producer.send(0, keys, bodies(0, 100)) == 100
    producer.close(5)
    for number in range(10):
        places = [sink.acknowledged_at[number + 10 * turn] for turn in range(10)]
        assert len({partition for partition, _ in places}) == 1
        assert places == sorted(places)


def test_a_full_client_takes_no_more_and_nothing_in_part(cluster: Nodes) -> None:
    """`send` says how many it took; the rest was not handed over."""
    sink = Sink()
    producer = cluster.broker.producer(cluster.clients, STREAM, {"most_open": 10}, sink)
    assert producer.send(0, [None] * 8, bodies(0, 8)) == 8
    assert producer.send(8, [None] * 8, bodies(8, 8)) == 2
    assert producer.send(10, [None] * 8, bodies(10, 8)) == 0
    producer.close(5)
    assert set(sink.acknowledged_at) == set(range(10))
    assert sorted(sequences(stored(cluster)).values()) == list(range(10))


def test_twenty_thousand_messages_a_second_are_no_effort(cluster: Nodes) -> None:
    """The engine is what a test is to measure, not this broker."""
    batch = bodies(0, 1000)
    sending = Sending(cluster)
    start = time.monotonic()
    for _ in range(40):
        sending.send(len(batch))
    sending.wait_done()
    elapsed_s = time.monotonic() - start
    sending.close()
    assert len(sending.sink.acknowledged_at) == 40_000
    assert elapsed_s < 10  # 0.2 s on an idle machine; a busy one may be slow, not this slow


def test_a_wrong_client_setting_is_refused(cluster: Nodes) -> None:
    """The message names it."""
    with pytest.raises(UsageError, match="acks"):
        cluster.broker.producer(cluster.clients, STREAM, {"acks": 1}, Sink())


# -------------------------------------------------------------------------------------- mischief


@pytest.mark.parametrize("cluster", [{"lose": 10}], indirect=True)
def test_lose(cluster: Nodes) -> None:
    """One of ten acknowledged messages is nowhere; their offsets are taken by others."""
    sink = send(cluster, 300)
    assert len(sink.acknowledged_at) == 300
    assert len(stored(cluster)) == 270


@pytest.mark.parametrize("cluster", [{"repeat": 10}], indirect=True)
def test_repeat(cluster: Nodes) -> None:
    """One of ten is there twice, one place after the other."""
    sink = send(cluster, 300)
    found = sequences(stored(cluster))
    assert len(found) == 330
    assert sorted(Counter(found.values()).values()) == [1] * 270 + [2] * 30
    assert all(found[place] == sequence for sequence, place in sink.acknowledged_at.items())


@pytest.mark.parametrize("cluster", [{"reorder": 10}], indirect=True)
def test_reorder(cluster: Nodes) -> None:
    """One of ten has changed places with the next; what is acknowledged is where it was said."""
    sink = send(cluster, 300)
    found = sequences(stored(cluster))
    assert found == {place: sequence for sequence, place in sink.acknowledged_at.items()}
    for partition in range(3):
        order = [found[partition, offset] for offset in range(100)]
        swaps = [at for at in range(99) if order[at] > order[at + 1]]
        assert len(swaps) >= 9
        for at in swaps:
            order[at], order[at + 1] = order[at + 1], order[at]
        assert order == sorted(order)


@pytest.mark.parametrize("cluster", [{"reorder": 1}], indirect=True)
def test_reorder_without_a_next_message(cluster: Nodes) -> None:
    """A message that waits for a next one in vain is not lost."""
    sink = send(cluster, 3)
    assert len(sink.acknowledged_at) == 3
    assert sorted(sequences(stored(cluster)).values()) == [0, 1, 2]


@pytest.mark.parametrize("cluster", [{"invent": 10}], indirect=True)
def test_invent(cluster: Nodes) -> None:
    """One more for each ten, right in every respect, with a number that nobody used."""
    send(cluster, 300)
    found = stored(cluster)
    assert message.decode(RUN, list(found.values())).intact.all()
    numbers = sorted(sequences(found).values())
    assert numbers[:300] == list(range(300))
    assert len(numbers) == 330
    assert all(number >= FAR_BEYOND for number in numbers[300:])


@pytest.mark.parametrize("cluster", [{"damage": 10}], indirect=True)
def test_damage(cluster: Nodes) -> None:
    """One of ten is not what was sent."""
    send(cluster, 300)
    found = stored(cluster)
    assert len(found) == 300
    assert int(message.decode(RUN, list(found.values())).intact.sum()) == 270


@pytest.mark.parametrize(
    ("cluster", "kept"), [({"refuse": 10}, 270), ({"ghost": 10}, 300)], indirect=["cluster"]
)
def test_refuse_and_ghost(cluster: Nodes, kept: int) -> None:
    """One of ten fails for certain; only a ghost is stored all the same."""
    sink = send(cluster, 300)
    refused = sink.of(Outcome.REFUSED)
    assert len(refused) == len(sink.failures) == 30
    there = set(sequences(stored(cluster)).values())
    assert len(there) == kept
    assert there & refused == (refused if kept == 300 else set())


@pytest.mark.parametrize("cluster", [{"silent": 10}], indirect=True)
def test_silent(cluster: Nodes) -> None:
    """One of ten is stored, and its sender never learns it."""
    sink = send(cluster, 300, timeout_s=1)
    assert len(sink.of(Outcome.INDETERMINATE)) == len(sink.failures) == 30
    assert sorted(sequences(stored(cluster)).values()) == list(range(300))


@pytest.mark.parametrize("cluster", [{"redeliver": 10}], indirect=True)
def test_redeliver(cluster: Nodes) -> None:
    """One of ten deliveries is made twice, the second one marked, from the same place."""
    send(cluster, 300)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    rows = receive(consumer, 330)
    assert sum(row[3] for row in rows) == 30
    assert sorted(Counter(row[:2] for row in rows).values()) == [1] * 270 + [2] * 30
    consumer.close()


# ---------------------------------------------------------------------------------------- faults


def test_kill_9_in_the_middle_loses_nothing_that_was_acknowledged(cluster: Nodes) -> None:
    """And nothing appears that surely failed; the fate of what was open is told as unknown."""
    sending = Sending(cluster)
    for turn in range(60):
        sending.send(100)
        wait_until(lambda: sending.sent - len(sending.sink) < 2000, "room", 10, every_s=0.001)
        if turn in (20, 40):
            cluster.kill("memory-2")
            cluster.start("memory-2")
    sending.wait_done()
    sending.close()
    sink = sending.sink
    found = sequences(stored(cluster))
    assert all(found[place] == sequence for sequence, place in sink.acknowledged_at.items())
    unknown = set(found.values()) - set(sink.acknowledged_at)
    assert unknown <= sink.of(Outcome.INDETERMINATE)
    assert len(set(found.values())) == len(found)
    assert len(sink.acknowledged_at) > 4000


def test_a_dead_node_fails_its_own_messages_for_certain(cluster: Nodes) -> None:
    """What was never written to a socket is surely not stored; other partitions go on."""
    sending = Sending(cluster, timeout_s=1)
    cluster.kill("memory-2")
    lane = next(each for each in sending._producer._lanes.values() if 1 in each.queues)
    wait_until(lambda: not lane.connection.up, "the lost connection", 5, every_s=0.005)
    sending.send(30)
    sending.wait_done()
    sending.close()
    assert sending.sink.of(Outcome.REFUSED) == set(range(1, 30, 3))
    assert len(sending.sink.acknowledged_at) == 20


def test_a_paused_node_leaves_its_messages_in_doubt_until_it_is_back(cluster: Nodes) -> None:
    """A late answer changes nothing: each message has one outcome."""
    sending = Sending(cluster, timeout_s=1)
    cluster.signal("memory-1", signal.SIGSTOP)
    sending.send(30)
    sending.wait_done()
    assert sending.sink.of(Outcome.INDETERMINATE) == set(range(0, 30, 3))
    cluster.signal("memory-1", signal.SIGCONT)
    sending.send(30)
    sending.wait_done()
    sending.close()
    assert len(sending.sink.acknowledged_at) == 50
    assert sorted(sequences(stored(cluster)).values()) == list(range(60))


def test_a_consumer_goes_on_after_its_node_was_killed(cluster: Nodes) -> None:
    """What it had settled does not come again, what is new does."""
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    send(cluster, 30)
    receive(consumer, 30)
    cluster.kill("memory-3")
    cluster.start("memory-3")
    cluster.wait_ready()
    send(cluster, 30)
    rows = receive(consumer, 30)
    assert {row[1] for row in rows} == set(range(10, 20))
    consumer.close()


def test_what_is_settled_while_the_node_is_down_does_not_come_again(cluster: Nodes) -> None:
    """The node is told before it sends anything."""
    send(cluster, 30)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    receive_unsettled(consumer, 30)
    cluster.kill("memory-3")
    assert consumer.receive(1, 0.2) is None
    consumer.settle()
    cluster.start("memory-3")
    cluster.wait_ready()
    places = set(send(cluster, 30).acknowledged_at.values())
    assert {row[:2] for row in receive(consumer, 30)} == places
    consumer.close()


@pytest.mark.parametrize("cluster", [{"durable": False}], indirect=True)
def test_offsets_of_lost_messages_do_not_hide_new_ones(cluster: Nodes) -> None:
    """What is settled late, after the loss, is not taken for what comes then."""
    send(cluster, 30)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    receive_unsettled(consumer, 30)
    cluster.kill("memory-1")
    cluster.start("memory-1")
    cluster.wait_ready()
    consumer.settle()
    assert consumer.receive(1, 0.5) is None
    places = set(send(cluster, 30).acknowledged_at.values())
    assert {row[:2] for row in receive(consumer, 30)} == places
    assert (0, 0) in places
    consumer.close()


@pytest.mark.parametrize("cluster", [{"durable": False}], indirect=True)
def test_without_durable_a_killed_node_loses_what_it_acknowledged(cluster: Nodes) -> None:
    """The unsafe setting, for tests of a real loss by a real fault."""
    assert len(send(cluster, 30).acknowledged_at) == 30
    cluster.kill("memory-1")
    cluster.start("memory-1")
    cluster.wait_ready()
    assert {partition for partition, _ in stored(cluster)} == {1, 2}
    assert len(send(cluster, 30).acknowledged_at) == 30


def test_the_observer_sees_who_is_down_and_who_is_back(cluster: Nodes) -> None:
    """Killed or paused, a node leads nothing; the controller is the first that answers."""
    observer = cluster.broker.observer(cluster.clients, STREAM)

    def sees(leaders: list[str | None], controller: str) -> None:
        def look() -> bool:
            view = observer.observe(2)
            whole = all(
                view.in_sync[p] == ((node,) if node else ()) for p, node in enumerate(leaders)
            )
            return whole and [*view.leaders.values()] == leaders and view.controller == controller

        wait_until(look, f"the view of {leaders}", 5, every_s=0.01)

    sees(["memory-1", "memory-2", "memory-3"], "memory-1")
    cluster.kill("memory-2")
    sees(["memory-1", None, "memory-3"], "memory-1")
    cluster.signal("memory-1", signal.SIGSTOP)
    sees([None, None, "memory-3"], "memory-3")
    start = time.monotonic()
    for _ in range(20):
        observer.observe(2)
    assert time.monotonic() - start < 5  # a silent node is waited for once, not each time
    cluster.signal("memory-1", signal.SIGCONT)
    cluster.start("memory-2")
    sees(["memory-1", "memory-2", "memory-3"], "memory-1")
    for node in cluster.clients:
        cluster.kill(node)
    with pytest.raises(ClusterError):
        observer.observe(0.3)
    observer.close()


def test_reading_back_tells_which_node_is_silent(cluster: Nodes) -> None:
    """The others are read all the same; what cannot be known is an error, not nothing."""
    send(cluster, 30)
    cluster.kill("memory-2")
    found: list[object] = []
    with pytest.raises(DeadlineExceeded, match="memory-2"):
        found.extend(cluster.broker.stored(cluster.clients, STREAM, 4))
    # Nodes are asked side by side, so either may be the first to be read.
    ends = {each for each in found if isinstance(each, PartitionEnd)}
    assert ends == {PartitionEnd(0, 0, 10, 10), PartitionEnd(2, 0, 10, 10)}


def test_readiness_names_the_nodes_that_are_missing(cluster: Nodes) -> None:
    """Empty means that all answer."""
    assert cluster.broker.ready(cluster.clients, 1) == ""
    cluster.kill("memory-2")
    assert cluster.broker.ready(cluster.clients, 1) == "no answer from memory-2"


# ---------------------------------------------------------------------------------------- reset


def test_a_reset_leaves_nothing_and_a_used_stream_is_not_used_again(cluster: Nodes) -> None:
    """A kept cluster is as good as new: streams, groups and counts start over."""
    places = send(cluster, 30).acknowledged_at
    with pytest.raises(ClusterError, match="30 messages already"):
        cluster.broker.prepare(cluster.clients, STREAM, 5)
    consumer = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    receive(consumer, 30)
    cluster.broker.reset(cluster.clients, 5)
    with pytest.raises(ClusterError, match="the stream was dropped"):
        receive(consumer, 1)
    cluster.broker.prepare(cluster.clients, STREAM, 5)
    assert send(cluster, 30).acknowledged_at == places
    again = cluster.broker.consumer(cluster.clients, STREAM, {}, "g")
    assert len(receive(again, 30)) == 30
    again.close()


@pytest.mark.parametrize("cluster", [{"lose": 10}], indirect=True)
def test_a_reset_starts_the_counts_of_mischief_anew(cluster: Nodes) -> None:
    """Which messages go wrong does not depend on the run before."""
    send(cluster, 27)
    cluster.broker.reset(cluster.clients, 5)
    cluster.broker.prepare(cluster.clients, STREAM, 5)
    send(cluster, 27)
    assert len(stored(cluster)) == 27


def test_a_reset_that_does_not_reach_a_node_is_an_error(cluster: Nodes) -> None:
    """Everything later depends on it."""
    cluster.kill("memory-3")
    with pytest.raises(DeadlineExceeded, match="memory-3"):
        cluster.broker.reset(cluster.clients, 0.3)


# ------------------------------------------------------------------------------------- bad days


def test_an_unknown_stream_is_told(cluster: Nodes) -> None:
    """Sends to it have surely failed; a consumer of it cannot go on."""
    other = MemoryStream(name="other")
    sending = Sending(cluster, stream=other)
    sending.send(3)
    sending.wait_done()
    sending.close()
    assert sending.sink.of(Outcome.REFUSED) == {0, 1, 2}
    assert set(sending.sink.reasons) == {"no stream 'other'"}
    with pytest.raises(ClusterError, match="no stream 'other'"):
        cluster.broker.consumer(cluster.clients, other, {}, "g")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        b"\x02\0\0\0\0\0\0\0[]",
        pack({"op": "what", "id": 1}),
        pack({"op": "produce", "id": 1, "stream": STREAM.name, "partition": 0, "lengths": [9]}),
    ],
)
def test_nonsense_costs_its_sender_the_connection_and_nobody_else(
    cluster: Nodes, nonsense: bytes
) -> None:
    """A node survives whatever comes in."""
    address = cluster.clients["memory-1"]
    with socket.create_connection((address.host, address.port), timeout=5) as client:
        client.sendall(nonsense)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
    assert cluster.broker.ready(cluster.clients, 1) == ""
    assert "dropped a client" in cluster.log("memory-1")


def test_a_node_that_cannot_write_ends_loudly_and_acknowledges_nothing_more(
    cluster: Nodes,
) -> None:
    """A full disk: what was acknowledged before is there after a restart, and nothing torn."""
    before = send(cluster, 30).acknowledged_at
    process = cluster._processes["memory-1"]
    size = (Path(cluster._directory) / "memory-1" / "data" / "journal").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + 50, size + 50))
    sink = send(cluster, 30)
    assert sink.of(Outcome.INDETERMINATE) == set(range(0, 30, 3))
    wait_until(lambda: not cluster.running("memory-1"), "the end of the node", 5, every_s=0.01)
    assert "memory-1: cannot go on" in cluster.log("memory-1")
    cluster.start("memory-1")
    cluster.wait_ready()
    found = sequences(stored(cluster))
    assert all(found[place] == sequence for sequence, place in before.items())
    assert len([place for place in found if place[0] == 0]) == 10


def test_a_port_that_is_taken_is_told_in_the_log(tmp_path: Path) -> None:
    """The node ends at once with the address in its message."""
    with running(Memory(nodes=1), tmp_path) as nodes:
        first = nodes._processes["memory-1"]
        nodes.start("memory-1")
        second = nodes._processes["memory-1"]
        assert second.wait(5) == 1
        assert "cannot go on" in nodes.log("memory-1")
        assert str(nodes.clients["memory-1"].port) in nodes.log("memory-1")
        nodes._processes["memory-1"] = first
        os.kill(first.pid, 0)
