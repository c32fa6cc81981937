"""The frames of a message are those that pika itself would send."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pika import BasicProperties, ConnectionParameters
from pika.adapters.select_connection import SelectConnection
from pika.spec import Basic

from chaos_adapters.brokers.rabbitmq.publications import Publications


class _Pika:
    """What pika's own publishing needs of a connection, and what came out."""

    def __init__(self, frame_max: int) -> None:
        self.params = ConnectionParameters(frame_max=frame_max)
        self._body_max_length = SelectConnection._get_body_frame_max_length(self)
        self.frames: list[bytes] = []

    def _output_marshaled_frames(self, frames: list[bytes]) -> None:
        self.frames += frames


@pytest.mark.parametrize("frame_max", [4096, 131072])
@pytest.mark.parametrize("size", [0, 1, 200, 4088, 4089, 8176, 300_000])
@pytest.mark.parametrize(("persistent", "mandatory"), [(True, True), (False, False)])
def test_frames(frame_max: int, size: int, persistent: bool, mandatory: bool) -> None:
    """For each queue, whatever the size of the message and of the largest frame."""
    pika = _Pika(frame_max)
    properties = BasicProperties(delivery_mode=2 if persistent else 1)
    queues = ("one", "another")
    channel: Any = SimpleNamespace(channel_number=7, connection=pika)
    ours = Publications(channel, queues, properties, mandatory)
    for number, queue in enumerate((*queues, *queues)):
        body = bytes([number]) * size
        publish = Basic.Publish(exchange="", routing_key=queue, mandatory=mandatory)
        SelectConnection._send_message(pika, 7, publish, (properties, body))
        assert b"".join(ours.frames(number % 2, body)) == b"".join(pika.frames)
        pika.frames.clear()
