"""The consumer: a listener that the library calls in its threads, one message a call.

    called ──> arrived ──receive──> held ──settle──────> CONSUME_SUCCESS
                                     └── hand_back, settle ──> RECONSUME_LATER

A call lasts until its message is settled, as an application acknowledges by returning. The listener
does nothing that may raise: an exception in it *acknowledges* the message.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from chaos.spi import Address, Deliveries
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq.drivers.native import library
from chaos_adapters.brokers.rocketmq.drivers.native.names import name_servers
from chaos_adapters.brokers.rocketmq.drivers.native.settings import ConsumerSettings
from chaos_adapters.brokers.rocketmq.text import from_text


@dataclass
class Call:
    """One message for whose fate the library waits."""

    body: bytes
    queue: int
    offset: int
    times: int
    over: threading.Event = field(default_factory=threading.Event)
    back: bool = False


class NativeConsumer:
    """spi.Consumer, HandsBack, WaitsForSettling."""

    waits_for_settling = True

    def __init__(
        self, clients: Mapping[str, Address], topic: str, group: str, settings: ConsumerSettings
    ) -> None:
        self._client = library.load().client
        self._arrived: SimpleQueue[Call] = SimpleQueue()
        self._last: list[Call] = []
        self._held: list[Call] = []
        self._closing = False
        # Kept as long as this object is: the library calls what belongs to it.
        with library.quiet():
            self._consumer = self._client.PushConsumer(group, orderly=settings.orderly)
            self._consumer.set_name_server_address(name_servers(clients))
            self._consumer.set_instance_name(f"chaos-{os.getpid()}")
            self._consumer.set_thread_count(settings.threads)
            self._consumer.subscribe(topic, self._called)
            self._consumer.start()

    def receive(self, most: int, timeout_s: float) -> Deliveries | None:
        """What the library has handed over by now; waits for the first message only."""
        self._last = []
        try:
            self._last.append(self._arrived.get(timeout=timeout_s))
            while len(self._last) < most:
                self._last.append(self._arrived.get(False))
        except Empty:
            if not self._last:
                return None
        self._held += self._last
        # A message that comes again has no place in the stream any more, nor its queue's number.
        again = [call.times > 0 for call in self._last]
        return Deliveries(
            [from_text(call.body) for call in self._last],
            [-1 if call.times else call.queue for call in self._last],
            [-1 if call.times else call.offset for call in self._last], now_ns(), again,
        )  # fmt: skip

    def settle(self) -> None:
        """Return from the calls."""
        held, self._held = self._held, []
        for call in held:
            call.over.set()

    def hand_back(self, index: int) -> None:
        """See spi.HandsBack."""
        self._last[index].back = True

    def close(self) -> None:
        """Leave the group, which stores positions; what was not received goes back."""
        self.settle()
        self._closing = True
        self._give_back()
        self._consumer.shutdown()

    def _give_back(self) -> None:
        try:
            while True:
                call = self._arrived.get(False)
                call.back = True
                call.over.set()
        except Empty:
            return

    def _called(self, message: Any) -> Any:  # noqa: ANN401 - the package has no types
        status = self._client.ConsumeStatus
        call = Call(
            message.body or b"", message.queue_id, message.queue_offset, message.reconsume_times
        )
        if not self._closing:
            self._arrived.put(call)
        if not self._closing:
            call.over.wait()
        return status.RECONSUME_LATER if call.back or self._closing else status.CONSUME_SUCCESS
