"""Reading back by offset what a broker holds, with no part in any group.

A replica gives out what it has confirmed: the master up to what the SyncStateSet has, a slave up to
what its master told it. So nothing that is read here can be taken back by a change of masters
within the SyncStateSet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from chaos.errors import ClusterError
from chaos.spi import Address, Deliveries, Held, PartitionEnd
from chaos.timing import now_ns, wait_until
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.admin import agreed_master, brokers
from chaos_adapters.brokers.rocketmq.lines import Line, ask, wait
from chaos_adapters.brokers.rocketmq.remoting import Frame, Stored, messages
from chaos_adapters.brokers.rocketmq.text import from_text

GROUP = "chaos-reader"
CONCURRENTLY = "enableBuildConsumeQueueConcurrently=true"
"""The line of a broker's file under which its queues may lag behind what it says of them."""
_DEAD = "-dlt"
"""What the name of the stream ends with that an application puts dead letters into."""
_BATCH = 1000
_LOOK_S = 3.0
_STILL_LOOKS = 10
_FROM_MEMORY, _SUBSCRIBED, _SUSPEND, _COMMIT = 0, 4, 2, 1
_ANSWERS = (
    codes.SUCCESS, codes.PULL_NOT_FOUND, codes.PULL_RETRY_IMMEDIATELY, codes.PULL_OFFSET_MOVED,
    codes.TOPIC_NOT_EXIST, codes.SUBSCRIPTION_GROUP_NOT_EXIST,
)  # fmt: skip
"""What is worth asking again, or good. A slave that copies its master's lists of topics and groups
deletes all that it has first: for a moment it knows none."""


def pull_fields(
    group: str, topic: str, queue: int, offset: int, most: int, suspend_ms: int = 0
) -> Mapping[str, object]:
    """A PULL_MESSAGE for all messages of a topic, whatever their tag."""
    return {
        "consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": offset,
        "maxMsgNums": most, "commitOffset": 0, "suspendTimeoutMillis": suspend_ms,
        "sysFlag": _SUBSCRIBED | (_SUSPEND if suspend_ms else 0), "subscription": "*",
        "subVersion": 0, "expressionType": "TAG",
    }  # fmt: skip


def stored(
    clients: Mapping[str, Address], topic: str, queues: int, timeout_s: float
) -> Iterator[Deliveries | PartitionEnd]:
    """See spi.Readable; of the master of this moment. Queues of a group's dead letters have numbers
    behind those of the topic.

    No queue is told as read to its end before it is sure that the broker still is master: the end
    of a slave, or of an old master, may be short.
    """
    deadline = time.monotonic() + timeout_s
    at = _await_master(clients, deadline - timeout_s / 2)
    _await_dispatched(at, topic, queues, deadline)
    ends: list[PartitionEnd] = []
    buried = _dead_letter_topics(at) if topic.endswith(_DEAD) else []
    for place, each in enumerate((topic, *buried)):
        first, count = (queues + place - 1, 1) if place else (0, queues)
        for found in _read(at, each, range(count), {}, deadline):
            if isinstance(found, PartitionEnd):
                ends.append(replace(found, partition=first + found.partition))
            else:
                moved = [replace(message, queue=first + message.queue) for message in found]
                yield deliveries(moved if first else found, now_ns())
    if (now := _await_master(clients, deadline)) != at:
        raise ClusterError(f"{at} was read from, but by now {now} is master")
    yield from ends


def _await_dispatched(at: Address, topic: str, queues: int, deadline: float) -> None:
    """Until the queues of a broker have what its log has confirmed.

    A thread of its own puts messages into queues, and no answer to a producer waits for it. 5.3.3
    tells the end of the queue even when it is asked for the uncommitted one (`committed` is not
    looked at), but it tells how many bytes of the log that thread is behind; with
    `enableBuildConsumeQueueConcurrently` only behind with handing them to another thread, which
    tells nothing: then the queues have to stand still for a while.
    """

    def dispatched() -> bool:
        told = ask(at, codes.GET_BROKER_RUNTIME_INFO, {}, _LOOK_S).json()
        return int(told["table"]["dispatchBehindBytes"]) <= 0

    looks: list[list[int]] = []

    def still() -> bool:
        # Looks and not seconds: a broker without a processor does nothing for seconds, but then it
        # does not answer either.
        looks.append([offset_of(at, codes.GET_MAX_OFFSET, topic, n) for n in range(queues)])
        return len(looks) > _STILL_LOOKS and all(e == looks[-1] for e in looks[-_STILL_LOOKS:])

    what = f"the queues of {at}, which are behind its log"
    wait_until(dispatched, what, deadline - time.monotonic(), every_s=0.02)
    if CONCURRENTLY in ask(at, codes.GET_BROKER_CONFIG, {}, _LOOK_S).body.decode().splitlines():
        wait_until(still, what, deadline - time.monotonic())


def _dead_letter_topics(at: Address) -> list[str]:
    table = ask(at, codes.GET_ALL_TOPIC_CONFIG, {}, _LOOK_S).json()["topicConfigTable"]
    return sorted(name for name in table if name.startswith("%DLQ%"))


def deliveries(found: Sequence[Stored], received_ns: int) -> Deliveries:
    """As the engine wants them."""
    return Deliveries(
        [from_text(each.body) for each in found], [each.queue for each in found],
        [each.offset for each in found], received_ns, [each.times > 0 for each in found],
    )  # fmt: skip


def held(
    node: str, clients: Mapping[str, Address], topic: str, queues: int, timeout_s: float
) -> Iterator[Held | PartitionEnd]:
    """See spi.Replicas; name servers hold nothing. Waits until the node has what the longest
    replica has."""
    if node not in brokers(clients):
        return
    deadline = time.monotonic() + timeout_s
    epochs = _epochs(clients[node])
    longest = _longest(clients, topic, queues)
    for found in _read(clients[node], topic, range(queues), longest, deadline):
        if isinstance(found, PartitionEnd):
            yield found
        else:
            yield _held(found, epochs)


def _held(found: Sequence[Stored], epochs: Sequence[tuple[int, int]]) -> Held:
    offsets = [each.offset for each in found]
    return Held(
        found[0].queue, offsets, offsets, [crc32(each.body) & 0x7FFFFFFF for each in found],
        [_epoch(each.physical, epochs) for each in found],
        [from_text(each.body) for each in found],
    )  # fmt: skip


def _epochs(at: Address) -> list[tuple[int, int]]:
    """(place in the commit log from which on, epoch of the master); empty without controllers."""
    try:
        told = ask(at, codes.GET_BROKER_EPOCH_CACHE, {}, _LOOK_S).json()
    except ClusterError:
        return []
    return sorted((each["startOffset"], each["epoch"]) for each in told.get("epochList") or ())


def _epoch(physical: int, epochs: Sequence[tuple[int, int]]) -> int:
    return max((epoch for start, epoch in epochs if start <= physical), default=0)


def _longest(clients: Mapping[str, Address], topic: str, queues: int) -> dict[int, int]:
    """The end of the longest replica of each queue, among the brokers that answer."""
    longest: dict[int, int] = {}
    for at in brokers(clients).values():
        for queue in range(queues):
            try:
                end = offset_of(at, codes.GET_MAX_OFFSET, topic, queue)
            except ClusterError:
                break
            longest[queue] = max(end, longest.get(queue, 0))
    return longest


def offset_of(at: Address, code: int, topic: str, queue: int, timeout_s: float = _LOOK_S) -> int:
    """An end of a queue as one broker knows it. Raises ClusterError."""
    answer = ask(at, code, {"topic": topic, "queueId": queue, "committed": True}, timeout_s)
    return int(answer.fields["offset"])


def _await_master(clients: Mapping[str, Address], deadline: float) -> Address:
    while True:
        try:
            return agreed_master(clients, _LOOK_S)
        except ClusterError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


def _read(
    at: Address, topic: str, queues: Sequence[int], ends: Mapping[int, int], deadline: float
) -> Iterator[list[Stored] | PartitionEnd]:
    """All messages of one broker, queue by queue, each to the end that is given or that it has
    now."""
    line = Line(at)
    try:
        for queue in queues:
            left_s = max(_LOOK_S, deadline - time.monotonic())  # a busy one may take a while
            first = offset_of(at, codes.GET_MIN_OFFSET, topic, queue, left_s)
            own = offset_of(at, codes.GET_MAX_OFFSET, topic, queue, left_s)
            end, read = max(own, ends.get(queue, 0)), first
            while read < end and time.monotonic() < deadline:
                answer = _pull(line, topic, queue, read, deadline)
                if answer.code != codes.SUCCESS:
                    time.sleep(0.02)  # a replica that lags; bounded by the deadline
                    continue
                if found := [each for each in messages(answer.body) if each.offset < end]:
                    yield found
                read = int(answer.fields["nextBeginOffset"])
            yield PartitionEnd(queue, first, end, min(read, end))
    finally:
        line.close()


def _pull(line: Line, topic: str, queue: int, offset: int, deadline: float) -> Frame:
    """Ask until there is an answer. A slave may owe one for ever: when it deletes its topics, to
    copy its master's, while it has found the messages, 5.3.3 runs into a null there and answers
    nothing (DefaultPullMessageResultHandler.handle)."""
    now = time.monotonic()
    while now < deadline:
        if line.connect(now):
            line.ask(True, codes.PULL_MESSAGE, pull_fields(GROUP, topic, queue, offset, _BATCH))
        give_up = min(deadline, now + _LOOK_S)
        while line.connected and now < give_up:
            wait([line], min(1.0, give_up - now))
            for tag, answer in line.turn():
                if tag and answer.code in _ANSWERS:
                    return answer
                if tag:
                    raise ClusterError(
                        f"{line.address} does not give queue {queue}: {answer.remark}"
                    )
            now = time.monotonic()
        line.close()  # or an answer that comes late after all would be taken for the next one's
        time.sleep(0.02)  # until it can be connected to again; bounded by the deadline
        now = time.monotonic()
    raise ClusterError(f"{line.address} does not give queue {queue}")
