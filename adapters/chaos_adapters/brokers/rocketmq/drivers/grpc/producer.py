"""The producer: `send_async`, whose outcomes come in threads of the package.

    send ──> send_async ──> a future ──done──> poll ──> told
                               │ a receipt ──────────────────> acknowledged
                               │ stored less safely ─────────> WEAK
                               │ another exception ──────────> INDETERMINATE

A receipt tells the offset. The queue in it is the one that this client had in mind; the request
says nothing of it, and the proxy chooses another (class SendMessageQueueSelector). An exception
tells of the last of three tries only, so it never says that a message is not stored.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from chaos.spi import Address, Outcome, SendSink
from chaos.timing import now_ns
from chaos_adapters.brokers.rocketmq.drivers.grpc import library
from chaos_adapters.brokers.rocketmq.drivers.grpc.settings import ProducerSettings

_WEAK = ("MASTER_PERSISTENCE_TIMEOUT", "SLAVE_PERSISTENCE_TIMEOUT", "HA_NOT_AVAILABLE")
"""What the proxy makes of FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT, SLAVE_NOT_AVAILABLE."""


class GrpcProducer:
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
        client = self._library.client
        about = library.configuration(client, clients, settings.requestTimeout)
        self._producer = client.Producer(about, (topic,))
        self._producer.startup()
        self._window = 1 if settings.orderly else settings.window
        self._open = 0
        self._done: SimpleQueue[tuple[int, Future[Any], int]] = SimpleQueue()

    def send(self, first: int, keys: Sequence[bytes | None], bodies: Sequence[bytes]) -> int:
        """As many as there is room for."""
        taken = max(0, min(self._window - self._open, len(bodies)))
        for number in range(taken):
            self._open += 1
            sent = self._sent(keys[number], bodies[number])
            sent.add_done_callback(partial(self._over, first + number))
        return taken

    def poll(self, timeout_s: float) -> None:
        """Waits for the first outcome only."""
        try:
            self._tell(*self._done.get(timeout_s > 0, timeout_s))
            while True:
                self._tell(*self._done.get(False))
        except Empty:
            return

    def close(self, timeout_s: float) -> None:
        """Wait for open sends. The package's threads end with this process."""
        deadline = time.monotonic() + timeout_s
        while self._open and (left_s := deadline - time.monotonic()) > 0:
            self.poll(min(left_s, 0.1))
        self._producer.shutdown()

    def _sent(self, key: bytes | None, body: bytes) -> Future[Any]:
        message = self._library.client.Message()
        message.topic, message.body = self._topic, body
        if key is not None:
            message.keys = key.decode("latin-1")
        try:
            sent: Future[Any] = self._producer.send_async(message)
        except Exception as error:  # noqa: BLE001 - without a route it raises its plain Exception
            sent = Future()
            sent.set_exception(error)
        return sent

    def _over(self, sequence: int, sent: Future[Any]) -> None:
        self._done.put((sequence, sent, now_ns()))

    def _tell(self, sequence: int, sent: Future[Any], time_ns: int) -> None:
        self._open -= 1
        error = sent.exception()
        if error is None:
            self._sink.acknowledged([sequence], [-1], [sent.result().offset], time_ns)
            return
        reason = self._reason(error)
        outcome = Outcome.WEAK if reason in _WEAK else Outcome.INDETERMINATE
        self._sink.failed(sequence, -1, time_ns, outcome, reason)

    def _reason(self, error: BaseException) -> str:
        """The proxy's code or gRPC's by name, or what kind of exception it is."""
        code = getattr(error, "code", None)
        if callable(code):
            return str(code().name)
        if code in self._library.code.values():
            return str(self._library.code.Name(code))
        return f"{type(error).__name__}: {error}"[:80]
