"""The consumer: a simple consumer of the package.

    a thread: receive ──> arrived ──receive──> held ──settle──> threads: ack
                                                └── hand_back, settle ──> visible again, in 1 s

A message that is not acknowledged in time comes again, by itself. One thread asks: two would mix up
what comes from one queue. The package tells neither queue nor offset of a message; they stand in
the handle by which it is acknowledged (class ReceiptHandle).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, Queue
from typing import Any

from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq.drivers.grpc import library
from chaos_adapters.brokers.rocketmq.drivers.grpc.settings import ConsumerSettings

_TIMEOUT_S = 3
_HELD_S = 5
"""How long the proxy may hold a question until there are messages; it takes no less."""
_AGAIN_S = 0.2
_SETTLED_WITHIN_S = 10
_WORDS, _TOPIC, _QUEUE, _NORMAL = 8, 4, 6, "0"
"""A handle has at least so many words; where the kind of topic stands, where queue and offset."""
_BACK_S = 1
"""After how long a message comes again that was handed back; the proxy takes whole seconds."""


def place(handle: str) -> tuple[int, int]:
    """Queue and offset of a message by its handle; (-1, -1): it is not told, as of one that came
    again from the group's topic of retries."""
    words = handle.split()
    if len(words) >= _WORDS and words[_TOPIC] == _NORMAL:
        queue, offset = words[_QUEUE : _QUEUE + 2]
        if queue.isdecimal() and offset.isdecimal():
            return int(queue), int(offset)
    return -1, -1


class GrpcConsumer:
    """spi.Consumer, HandsBack, WaitsForSettling."""

    waits_for_settling = True

    def __init__(
        self, clients: Mapping[str, Address], topic: str, group: str, settings: ConsumerSettings
    ) -> None:
        self._settings = settings
        client = library.load().client
        about = library.configuration(client, clients, _TIMEOUT_S)
        every = {topic: client.FilterExpression()}
        self._consumer = client.SimpleConsumer(about, group, every, _HELD_S)
        self._consumer.startup()
        # No more than is asked for at once waits here, as its time is running already.
        self._arrived: Queue[Any] = Queue(settings.batch)
        self._last: list[Any] = []
        self._held: list[Any] = []
        self._back: list[Any] = []
        self._closing = False
        self._acknowledging = ThreadPoolExecutor(settings.threads)
        self._open: set[Future[None]] = set()
        threading.Thread(target=self._ask, daemon=True).start()

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """What has come by now; waits for the first message only."""
        self._last = []
        try:
            self._last.append(self._arrived.get(timeout_s > 0, timeout_s))
            while len(self._last) < most:
                self._last.append(self._arrived.get(False))
        except Empty:
            if not self._last:
                return None
        self._held += self._last
        places = [place(message.receipt_handle or "") for message in self._last]
        again = [(message.delivery_attempt or 1) > 1 for message in self._last]
        bodies = [message.body or b"" for message in self._last]
        queues, offsets = [queue for queue, _ in places], [offset for _, offset in places]
        return Deliveries(bodies, queues, offsets, now_ns(), again)

    def settle(self) -> None:
        """Acknowledge in threads: each waits for its answer. Without one the message comes
        again."""
        self._open = {each for each in self._open if not each.done()}
        held, back = self._held, self._back
        self._held, self._back = [], []
        for messages, how in ((held, self._consumer.ack), (back, self._give_back)):
            self._open.update(self._acknowledging.submit(how, each) for each in messages)

    def hand_back(self, index: int) -> None:
        """See spi.HandsBack."""
        message = self._last[index]
        self._held = [each for each in self._held if each is not message]
        self._back.append(message)

    def close(self) -> None:
        """Wait for what is acknowledged, and go. What was not received comes again elsewhere."""
        self._closing = True
        self.settle()
        wait(self._open, _SETTLED_WITHIN_S)
        self._acknowledging.shutdown(wait=False, cancel_futures=True)
        self._consumer.shutdown()

    def _give_back(self, message: Any) -> None:  # noqa: ANN401 - the package has no types
        self._consumer.change_invisible_duration(message, _BACK_S)

    def _ask(self) -> None:
        most, kept_s = self._settings.batch, self._settings.invisibleDuration
        while not self._closing:
            try:
                found = self._consumer.receive(most, kept_s)
            except Exception:  # noqa: BLE001 - whatever it is, asking again is all there is to do
                time.sleep(_AGAIN_S)
                continue
            for message in found:
                self._arrived.put(message)
