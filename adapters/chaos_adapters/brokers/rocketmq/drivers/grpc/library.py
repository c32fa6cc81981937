"""The package rocketmq-python-client 5.1.2, in a directory of its own.

It owns the import name `rocketmq`, as rocketmq-client-python does, so the two cannot be installed
beside each other, and it is no extra of ours: `chaos-rocketmq-grpc` puts it and what it needs
(gRPC, protobuf, OpenTelemetry) into a directory of this environment, which only the processes of
clients have on their path.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from chaos.errors import ClusterError, Unavailable
from chaos.spi import Address
from chaos_adapters.brokers.rocketmq.topology import is_proxy

PACKAGE = "rocketmq-python-client"
PINNED = f"{PACKAGE}==5.1.2"
COMMAND = "chaos-rocketmq-grpc"
_LOGGER = "rocketmq-python-client"
_INSTALL_WITHIN_S = 300


def directory() -> Path:
    """Where the package is: it goes with the environment."""
    return Path(sys.prefix) / "share" / "mqchaos" / PINNED.replace("==", "-")


def missing() -> str:
    """What to do before this client can be used; empty: nothing."""
    if (directory() / "rocketmq" / "v5").is_dir():
        return ""
    return f"the package {PACKAGE} is missing: run {Path(sys.executable).with_name(COMMAND)}"


@dataclass(frozen=True)
class Loaded:
    """What of the package is used; it has no types."""

    client: Any
    """The module."""
    code: Any
    """The enumeration of what a proxy answers."""


def load() -> Loaded:
    """Import it. Raises ClusterError."""
    if why := missing():
        raise ClusterError(why)
    if (at := str(directory())) not in sys.path:
        sys.path.insert(0, at)
    try:
        # Its log would grow in the home directory, `logs/rocketmq_python`, at once.
        with (
            tempfile.TemporaryDirectory(prefix="mqchaos-rocketmq-") as home,
            patch.dict(os.environ, HOME=home),
        ):
            client = importlib.import_module("rocketmq")
            code = importlib.import_module("rocketmq.grpc_protocol").Code
            _silence()
    except (ImportError, OSError, AttributeError) as error:
        raise ClusterError(f"{PACKAGE} in {at}: {error}") from error
    if not hasattr(client, "SimpleConsumer"):
        raise ClusterError(f"{client.__file__} is not of {PACKAGE}, but of another package")
    return Loaded(client, code)


def _silence() -> None:
    logger = logging.getLogger(_LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.CRITICAL + 1)


def configuration(
    client: Any,  # noqa: ANN401 - the module
    clients: Mapping[str, Address],
    timeout_s: int,
) -> Any:  # noqa: ANN401 - the package has no types
    """Where the proxies are, as the package wants to be told."""
    proxies = ";".join(str(at) for name, at in clients.items() if is_proxy(name))
    return client.ClientConfiguration(proxies, client.Credentials(), request_timeout=timeout_s)


def install() -> None:
    """Get it with pip, which knows the registry. Raises Unavailable."""
    if not missing():
        return
    where = directory()
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.parent) as beside:
        options = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "install", *options,
                   "--target", f"{beside}/package", PINNED]  # fmt: skip
        try:
            subprocess.run(
                command, check=True, timeout=_INSTALL_WITHIN_S, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"pip cannot get {PINNED}:\n{error.stderr.strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"pip did not get {PINNED} in {_INSTALL_WITHIN_S} s") from error
        shutil.rmtree(where, ignore_errors=True)
        Path(beside, "package").rename(where)


def main() -> int:
    """The console script."""
    try:
        install()
    except (Unavailable, OSError) as error:
        sys.stderr.write(f"{COMMAND}: {error}\n")
        return 1
    sys.stdout.write(f"{directory()}\n")
    return 0
