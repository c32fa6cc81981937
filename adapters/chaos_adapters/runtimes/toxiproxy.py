"""Toxiproxy's API through toxiproxy-python, made safe to use for many servers at once.

The library keeps the server's address in class attributes, asks without a time-out, obeys
HTTP_PROXY, raises nothing for an answer of 500 and cannot change a proxy. So its HTTP client is a
session of ours, which leads each request to the server of the thread that asks, and a change is
posted by hand. Threads do not wait for each other: a server answers only after a second when the
bytes that a toxic held have to go on first, and a heal takes off dozens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
import toxiproxy.api
from requests.adapters import HTTPAdapter
from toxiproxy import Proxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from chaos.errors import ClusterError
from chaos.spi import Address

_TIMEOUT_S = 5.0
_MOST_AT_ONCE = 64
_asked: ContextVar[Address] = ContextVar("the server that this thread asks")


class _Session(requests.Session):
    """Talks to loopback only, so no proxy of the environment may come between."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("http://", HTTPAdapter(_MOST_AT_ONCE, _MOST_AT_ONCE))

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        """To the server that this thread asks, whatever address the library believes in."""
        method, url, *rest = args
        kwargs.setdefault("timeout", _TIMEOUT_S)
        there = urlsplit(url)._replace(netloc=str(_asked.get())).geturl()
        answer = super().request(method, there, *rest, **kwargs)
        if answer.status_code >= 500:
            answer.raise_for_status()
        return answer


toxiproxy.api.requests = _Session()


@cache
def _turn(address: Address, proxy: str) -> threading.RLock:  # noqa: ARG001 - one each, by the cache
    """To look at the toxics of a proxy and then to change them is one step."""
    return threading.RLock()


class Server:
    """One Toxiproxy server. Everything raises ClusterError when it does not answer or refuses."""

    def __init__(self, address: Address) -> None:
        self._address = address

    @contextmanager
    def _talking(self, what: str) -> Iterator[None]:
        before = _asked.set(self._address)
        try:
            yield
        except (requests.RequestException, InvalidToxic, ProxyExists) as error:
            raise ClusterError(f"Toxiproxy at {self._address}, {what}: {error}") from error
        except NotFound as error:
            raise ClusterError(f"Toxiproxy at {self._address} has no {what}") from error
        except (AttributeError, KeyError, TypeError) as error:
            # The library stumbles over an answer that is JSON, but not Toxiproxy's.
            raise ClusterError(f"{self._address} does not answer as Toxiproxy: {error}") from error
        finally:
            _asked.reset(before)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            with self._talking("version"):
                return bool(toxiproxy.api.APIConsumer.get("/version").content)
        except ClusterError:
            return False

    def toxics(self, proxy: str) -> dict[str, str]:
        """Name -> stream of everything that has an effect on a proxy now."""
        with self._talking(f"proxy {proxy}"):
            found = _proxy(proxy).toxics()
            return {name: toxic.stream for name, toxic in found.items() if toxic.toxicity}

    def add(
        self, proxy: str, name: str, kind: str, stream: str, attributes: dict[str, float]
    ) -> None:
        """Put a toxic on one direction of a proxy, in place of one of the same name and kind."""
        with self._talking(f"toxic {name} on {proxy}"), _turn(self._address, proxy):
            found = _proxy(proxy)
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
        with self._talking(f"proxy {proxy}"), _turn(self._address, proxy):
            toxics = list(_proxy(proxy).toxics().values())
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


def _proxy(name: str) -> Proxy:
    """The library's, without its way there: it asks for all proxies with all their toxics, and the
    server answers that only when none of them is busy."""
    return Proxy(name=name, upstream="", enabled=True, listen="")
