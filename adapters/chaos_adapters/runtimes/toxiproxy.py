"""Toxiproxy's API through toxiproxy-python, made safe to use for many servers at once.

The library keeps the server's address in class attributes, asks without a time-out, obeys
HTTP_PROXY, raises nothing for an answer of 500 and cannot change a proxy. So every call holds one
lock, the library's HTTP client is a session of ours, and a change is posted by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
import toxiproxy.api
from toxiproxy import Proxy, Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from chaos.errors import ClusterError
from chaos.spi import Address

_TIMEOUT_S = 5.0
_lock = threading.RLock()


class _Session(requests.Session):
    """Talks to loopback only, so no proxy of the environment may come between."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        kwargs.setdefault("timeout", _TIMEOUT_S)
        answer = super().request(*args, **kwargs)
        if answer.status_code >= 500:
            answer.raise_for_status()
        return answer


toxiproxy.api.requests = _Session()


class Server:
    """One Toxiproxy server. Everything raises ClusterError when it does not answer or refuses."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @contextmanager
    def _talking(self, what: str) -> Iterator[Toxiproxy]:
        with _lock:
            server = Toxiproxy()
            server.update_api_consumer(self._address.host, self._address.port)
            try:
                yield server
            except (requests.RequestException, InvalidToxic, ProxyExists) as error:
                raise ClusterError(f"Toxiproxy at {self._address}, {what}: {error}") from error
            except NotFound as error:
                raise ClusterError(f"Toxiproxy at {self._address} has no {what}") from error
            except (AttributeError, KeyError, TypeError) as error:
                # The library stumbles over an answer that is JSON, but not Toxiproxy's.
                raise ClusterError(
                    f"{self._address} does not answer as Toxiproxy: {error}"
                ) from error

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            with self._talking("version") as server:
                return bool(server.version())
        except ClusterError:
            return False

    def toxics(self, proxy: str) -> dict[str, str]:
        """Name -> stream of everything that has an effect on a proxy now."""
        with self._talking(f"proxy {proxy}") as server:
            found = _get(server, proxy).toxics()
            return {name: toxic.stream for name, toxic in found.items() if toxic.toxicity}

    def add(
        self, proxy: str, name: str, kind: str, stream: str, attributes: dict[str, float]
    ) -> None:
        """Put a toxic on one direction of a proxy, in place of one of the same name and kind."""
        with self._talking(f"toxic {name} on {proxy}") as server:
            found = _get(server, proxy)
            if name in found.toxics():
                _update(proxy, name, {"toxicity": 1.0, "attributes": attributes})
            else:
                found.add_toxic(name=name, type=kind, stream=stream, attributes=attributes)

    def remove(self, proxy: str, name: str) -> None:
        """Take a toxic off; one that is not there is fine.

        One that stands before others on its direction is only made to do nothing, until those are
        taken off: to take it out is what Toxiproxy 2.12 does not survive. It forgets to shorten its
        list of a connection that ended meanwhile, and the next toxic that is added then makes it
        panic ("index out of range", `ToxicLink.AddToxic`); with it goes the network of the node.
        """
        with self._talking(f"proxy {proxy}") as server:
            toxics = list(_get(server, proxy).toxics().values())
            gone = next((toxic for toxic in toxics if toxic.name == name), None)
            if gone is None:
                return
            mine = [toxic for toxic in toxics if toxic.stream == gone.stream]
            if mine[-1] is not gone:
                _update(proxy, name, {"toxicity": 0.0, "attributes": {}})
                return
            for last in reversed(mine):
                if last is not gone and last.toxicity:
                    break
                toxiproxy.api.APIConsumer.delete(f"/proxies/{proxy}/toxics/{last.name}")

    def redirect(self, proxy: str, upstream: str) -> None:
        """Have a proxy lead elsewhere from now on; its open connections are closed."""
        with self._talking(f"proxy {proxy}"):
            toxiproxy.api.APIConsumer.post(f"/proxies/{proxy}", json={"upstream": upstream})


def _update(proxy: str, name: str, changes: Mapping[str, object]) -> None:
    toxiproxy.api.APIConsumer.post(f"/proxies/{proxy}/toxics/{name}", json=changes)


def _get(server: Toxiproxy, name: str) -> Proxy:
    found = server.get_proxy(name)
    if found is None:
        raise NotFound(name)
    return found
