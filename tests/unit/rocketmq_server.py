"""A name server and master of RocketMQ in one, on the wire, for tests of clients."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from chaos.spi import Address
from chaos_adapters.brokers.rocketmq import codes
from chaos_adapters.brokers.rocketmq.remoting import frame

Answer = tuple[int, Mapping[str, str], bytes]
"""Code, fields, body."""


class Server:
    """Tells the route and takes heartbeats; what else is asked, subclasses answer in `reply`.

    `at` are the brokers that the route names by their ids, None: the topic is not known. `remark`
    goes with every answer. While `silent` is set, nothing is answered.
    """

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.socket.getsockname()[1])
        self.at: Mapping[str, str] | None = {"0": str(self.address)}
        self.remark, self.silent = "", False
        self.asked: Counter[int] = Counter()
        self.beats: list[bytes] = []
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reply(self, code: int, fields: Mapping[str, str], body: bytes) -> Answer | None:
        """One question at a time; None: never."""
        raise NotImplementedError

    def ask(self, code: int, fields: Mapping[str, str], body: bytes) -> None:
        """Of every client that is connected."""
        header = json.dumps({"code": code, "flag": 0, "opaque": 1, "extFields": fields})
        with self._lock:
            for line in self._lines:
                line.sendall(frame(header.encode(), body))

    def close(self) -> None:
        """Nobody can connect any more."""
        self.socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(ConnectionError), line, line.makefile("rb") as file:
            while head := file.read(8):
                size, length = struct.unpack(">iI", head)
                header = json.loads(file.read(length))
                body = file.read(size - 4 - length)
                with self._lock:
                    answer = self._answer(line, header, body)
                    if answer is None or self.silent:
                        continue
                    code, fields, content = answer
                    told = {
                        "code": code, "flag": 1, "opaque": header["opaque"], "extFields": fields,
                        "remark": self.remark,
                    }  # fmt: skip
                    line.sendall(frame(json.dumps(told).encode(), content))

    def _answer(
        self, line: socket.socket, header: Mapping[str, object], body: bytes
    ) -> Answer | None:
        code, fields = header["code"], header["extFields"]
        assert isinstance(code, int)
        assert isinstance(fields, dict)
        self.asked[code] += 1
        if code == codes.GET_ROUTEINFO_BY_TOPIC:
            if self.at is None:
                return codes.TOPIC_NOT_EXIST, {}, b""
            route = {
                "brokerDatas": [{"brokerName": "rocketmq", "brokerAddrs": self.at}],
                "queueDatas": [
                    {
                        "brokerName": "rocketmq",
                        "readQueueNums": 4,
                        "writeQueueNums": 4,
                        "perm": 6,
                    }
                ],
            }
            return codes.SUCCESS, {}, json.dumps(route).encode()
        if code == codes.HEART_BEAT:
            self.beats.append(body)
            if line not in self._lines:
                self._lines.append(line)
            return codes.SUCCESS, {}, b""
        return self.reply(code, fields, body)


def stored(
    body: bytes,
    queue: int = 0,
    physical: int = 0,
    times: int = 0,
    properties: str = "",
    offset: int = 0,
) -> bytes:
    """One message, as in class MessageDecoder."""
    told = properties.encode()
    rest = (
        struct.pack(">IIiiqqiq", 0xDAA320A7, 0, queue, 0, offset, physical, 0, 1)
        + bytes(8 + 8 + 8) + struct.pack(">iqi", times, 0, len(body)) + body
        + b"\x01t" + len(told).to_bytes(2, "big") + told
    )  # fmt: skip
    return struct.pack(">i", len(rest) + 4) + rest
