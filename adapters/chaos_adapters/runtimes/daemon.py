"""The Docker daemon of this machine, through its SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import docker
from docker.errors import DockerException
from requests import RequestException

from chaos.errors import ClusterError

LABEL = "mqchaos.cluster"
"""Of everything that we make there; its value is the id of the cluster."""


SILENT_S = 30.0


@cache
def client(silent_s: float) -> docker.DockerClient:
    """One connection pool for each time that an answer may take."""
    return docker.from_env(timeout=silent_s)


@contextmanager
def daemon(what: str, silent_s: float = SILENT_S) -> Iterator[docker.DockerClient]:
    """The daemon, which may be silent for so long; what it says no to becomes a ClusterError."""
    try:
        yield client(silent_s)
    except (DockerException, RequestException) as error:
        raise ClusterError(f"Docker, {what}: {error}") from error


def things(mark: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """What carries a mark, each with what it is. Raises ClusterError."""
    with daemon("what it keeps for us") as client:
        for container in client.containers.list(all=True, filters=mark, ignore_removed=True):
            yield "container", container
        for network in client.networks.list(filters=mark):
            yield "network", network
        for volume in client.volumes.list(filters=mark):
            yield "volume", volume


def labels(thing: Any) -> Mapping[str, str]:  # noqa: ANN401 - the SDK has no common type
    """Of a container, network or volume."""
    return getattr(thing, "labels", None) or thing.attrs.get("Labels") or {}
