"""The producer: synchronous sends in threads, as applications of this client send.

    send ──> to do ──a thread: send_sync──> done ──poll──> told
               │          │ SendStatus OK ──────────────> acknowledged
               │          │ another SendStatus ─────────> WEAK
               │          │ an exception ──────────────> INDETERMINATE

It tells the offset of what is stored and not the queue, which the library chooses by itself, in
turn, whatever the key. An exception never says that a message is not stored: whatever goes wrong,
also an answer that did not come, the library sends five times in all and then throws "No route info
of this topic" (DefaultMQProducer::sendDefaultImpl, 1.2.4).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from chaos.spi import Address, Outcome, SendSink
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq.drivers.native import library
from chaos_adapters.brokers.rocketmq.drivers.native.names import name_servers
from chaos_adapters.brokers.rocketmq.drivers.native.settings import ProducerSettings
from chaos_adapters.brokers.rocketmq.text import as_text

_GROUP = "chaos-producers"


@dataclass(frozen=True)
class Done:
    """How one send ended."""

    sequence: int
    outcome: Outcome
    offset: int
    time_ns: int
    reason: str = ""


Task = tuple[int, bytes | None, bytes]
"""Sequence, key, body."""


class NativeProducer:
    """spi.Producer."""

    def __init__(
        self,
        clients: Mapping[str, Address],
        topic: str,
        settings: ProducerSettings,
        sink: SendSink,
    ) -> None:
        self._topic, self._sink = topic, sink
        self._library = library.load()
        self._client = self._library.client
        with library.quiet():
            self._producer = self._client.Producer(_GROUP, timeout=settings.sendMsgTimeout)
            self._producer.set_name_server_address(name_servers(clients))
            self._producer.start()
        self._threads = 1 if settings.orderly else settings.threads
        self._open, self._warm = 0, False
        self._to_do: SimpleQueue[Task | None] = SimpleQueue()
        self._done: SimpleQueue[Done] = SimpleQueue()
        for _ in range(self._threads):
            threading.Thread(target=self._work, daemon=True).start()

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """As many as there are free threads. Only one before anything was acknowledged: first sends
        that come at once fail with "No route info of this topic"."""
        room = (self._threads if self._warm else 1) - self._open
        taken = max(0, min(room, len(bodies)))
        for number in range(taken):
            self._to_do.put((first + number, keys[number], bodies[number]))
        self._open += taken
        return taken

    def poll(self, timeout_s: float) -> None:
        """Waits for the first outcome only."""
        try:
            self._tell(self._done.get(timeout_s > 0, timeout_s))
            while True:
                self._tell(self._done.get(False))
        except Empty:
            return

    def close(self, timeout_s: float) -> None:
        """Wait for open sends. The library is not shut down, as that aborts some processes; this
        one ends now anyway, and brokers see its connections close."""
        deadline = time.monotonic() + timeout_s
        while self._open and (left_s := deadline - time.monotonic()) > 0:
            self.poll(min(left_s, 0.1))
        for _ in range(self._threads):
            self._to_do.put(None)

    def _tell(self, done: Done) -> None:
        self._open -= 1
        if done.outcome is Outcome.OK:
            self._warm = True
            self._sink.acknowledged([done.sequence], [-1], [done.offset], done.time_ns)
        else:
            self._sink.failed(done.sequence, -1, done.time_ns, done.outcome, done.reason)

    def _work(self) -> None:
        while task := self._to_do.get():
            self._done.put(self._sent(*task))

    def _sent(self, sequence: int, key: bytes | None, body: bytes) -> Done:
        message = self._client.Message(self._topic)
        try:
            if key is not None:
                message.set_keys(key)
            message.set_body(as_text(body))
            result = self._producer.send_sync(message)
        except self._library.error as error:
            reason = str(error).split(":")[0]
            return Done(sequence, Outcome.INDETERMINATE, -1, now_ns(), reason)
        finally:
            self._library.dll.DestroyMessage(message)  # the package never does
        if result.status == self._client.SendStatus.OK:
            return Done(sequence, Outcome.OK, result.offset, now_ns())
        return Done(sequence, Outcome.WEAK, -1, now_ns(), result.status.name)
