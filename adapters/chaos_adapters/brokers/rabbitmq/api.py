"""The management HTTP API of one node, on a connection that is kept.

Source: "RabbitMQ Management HTTP API" (rabbitmq_management, priv/www/api/index.html).
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote

from chaos.errors import ClusterError
from chaos.spi import Address
from chaos_adapters.brokers.rabbitmq.topology import MANAGEMENT, PASSWORD, USER

VHOST = quote("/", safe="")
_AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_GONE, _CREATED = 404, 300


class Api:
    """One node's API. Everything raises ClusterError when it does not answer in time, or refuses.

    Not for several threads at once.
    """

    def __init__(self, node: str, address: Address) -> None:
        """`address` is the node's, as clients know it."""
        self.node, self._at = node, address.of(MANAGEMENT)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, timeout_s: float) -> Any:  # noqa: ANN401 - whatever JSON can say
        """The answer; None: there is no such thing."""
        return self._ask("GET", path, None, timeout_s)

    def listed(self, path: str, timeout_s: float) -> list[Any]:
        """The answer, a list that is always there, but for the moments in which a node that starts
        knows nothing of its management yet."""
        found = self.get(path, timeout_s)
        if not isinstance(found, list):
            raise ClusterError(f"{self.node} does not know of {path} yet")
        return found

    def put(self, path: str, body: Any, timeout_s: float) -> None:  # noqa: ANN401
        """Create or replace."""
        self._ask("PUT", path, body, timeout_s)

    def delete(self, path: str, timeout_s: float) -> None:
        """Remove; fine when it is gone already."""
        self._ask("DELETE", path, None, timeout_s)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: Any, timeout_s: float) -> Any:  # noqa: ANN401
        kept = self._connection is not None
        try:
            status, data = self._exchange(method, path, body, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that was kept may have been closed meanwhile, which says nothing.
            if kept and not isinstance(error, TimeoutError):
                return self._ask(method, path, body, timeout_s)
            raise ClusterError(f"{self.node} does not answer: {error!r}") from error
        if status == _GONE and method != "PUT":  # to make what has no place is no success
            return None
        if status >= _CREATED:
            said = data.decode(errors="replace")
            raise ClusterError(f"{self.node} answers {status} to {method} {path}: {said}")
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise ClusterError(f"{self.node} answers no JSON to {method} {path}") from error

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any,  # noqa: ANN401
        timeout_s: float,
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._at.host, self._at.port)
        self._connection.timeout = timeout_s
        if self._connection.sock:
            self._connection.sock.settimeout(timeout_s)
        headers = {"Authorization": _AUTHORIZATION, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/api/{path}", content, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
