"""The package rocketmq-client-python 2.0.0, and the native library that it lacks.

The package is an sdist without `librocketmq.so`. The wheel rocketmq 0.4.4 has that (its version
1.2.x for C++, of 2019), but owns the same import name, so both cannot be installed beside each
other: `chaos-rocketmq-native` puts the wheel into a directory of its own in this environment, and
only its library is used. That one lacks four functions which the package names when it is imported,
those for transactions and for order by key; they get stand-ins that are never called.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

from chaos.errors import ChaosError, ClusterError, Unavailable

PACKAGE = "rocketmq-client-python"
WHEEL = "rocketmq==0.4.4"
SHA256 = "19a10219f5074d1050e88cdbdfed3903a374b3f83c0dd2c8773e1e93e33ad02d"
"""Of rocketmq-0.4.4-py2.py3-none-manylinux1_x86_64.whl."""
COMMAND = "chaos-rocketmq-native"
_LACKING = frozenset({
    "CreateOrderlyProducer", "CreateTransactionProducer", "SendMessageOrderlyByShardingKey",
    "SendMessageTransaction",
})  # fmt: skip
_INSTALL_WITHIN_S = 300


def directory() -> Path:
    """Where the wheel is unpacked to: it goes with the environment."""
    return Path(sys.prefix) / "share" / "mqchaos" / WHEEL.replace("==", "-")


def path() -> Path:
    """The native library."""
    return directory() / "rocketmq" / "librocketmq.so"


def missing() -> str:
    """What to do before this client can be used; empty: nothing."""
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        return f"the package {PACKAGE} is missing: install mqchaos again"
    if not path().exists():
        command = Path(sys.executable).with_name(COMMAND)
        return f"the native library of {PACKAGE} is missing: run {command}"
    return ""


@dataclass(frozen=True)
class Loaded:
    """What of the package is used; it has no types."""

    client: Any
    dll: Any
    error: type[Exception]
    """What all of its exceptions are."""


def load() -> Loaded:
    """Import it. Raises ClusterError."""
    if why := missing():
        raise ClusterError(why)
    with (
        patch.object(ctypes.util, "find_library", lambda name: str(path())),
        patch.object(ctypes.cdll, "LoadLibrary", _Library),
    ):
        try:
            client = importlib.import_module("rocketmq.client")
            errors = importlib.import_module("rocketmq.exceptions")
        except (ImportError, OSError, AttributeError) as error:
            raise ClusterError(f"{PACKAGE} on {path()}: {error}") from error
    if not hasattr(client, "ReceivedMessage"):
        raise ClusterError(f"{client.__file__} is not of {PACKAGE}, but of another package")
    return Loaded(client, client.dll, errors.RocketMQException)


@contextmanager
def quiet() -> Iterator[None]:
    """Make and start a client in here: its log goes nowhere. It would grow in the home directory,
    `logs/rocketmq-cpp`, whatever `SetProducerLogPath` says (logAdapter of 1.2.4)."""
    with (
        tempfile.TemporaryDirectory(prefix="mqchaos-rocketmq-") as home,
        patch.dict(os.environ, HOME=home),
    ):
        yield


class _Library(ctypes.CDLL):
    """The native library, with stand-ins for what it lacks."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as its base
        if name not in _LACKING:
            return super().__getattr__(name)
        setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_int)(lambda: -1))
        return self.__dict__[name]


def install() -> None:
    """Get the wheel with pip, which knows the registry, and check it. Raises Unavailable."""
    if path().exists():
        return
    where = directory()
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.parent) as beside:
        wanted = Path(beside) / "wanted.txt"
        wanted.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "install", *options, "--require-hashes",
                   "--target", f"{beside}/wheel", "--requirement", str(wanted)]  # fmt: skip
        try:
            subprocess.run(
                command, check=True, timeout=_INSTALL_WITHIN_S, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as error:
            raise Unavailable(_explained(error.stderr)) from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"pip did not get {WHEEL} in {_INSTALL_WITHIN_S} s") from error
        shutil.rmtree(where, ignore_errors=True)
        Path(beside, "wheel").rename(where)


def _explained(told: str) -> str:
    if "No module named pip" in told:
        return f"{sys.executable} has no pip, which gets {WHEEL}: {sys.executable} -m ensurepip"
    return f"pip cannot get {WHEEL}, which there is for Linux on x86-64 only:\n{told.strip()}"


def main() -> int:
    """The console script."""
    try:
        install()
    except (ChaosError, OSError) as error:
        sys.stderr.write(f"{COMMAND}: {error}\n")
        return 1
    sys.stdout.write(f"{path()}\n")
    return 0
