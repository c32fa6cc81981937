"""What software a run used."""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

from chaos.spi import Json


def versions() -> Json:
    """Of Python, of mqchaos and of all that it requires, the clients of the systems among them."""
    found = {"python": platform.python_version(), "mqchaos": version("mqchaos")}
    for requirement in requires("mqchaos") or ():
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(PackageNotFoundError):  # only for another platform
            found[package] = version(package)
    return found
