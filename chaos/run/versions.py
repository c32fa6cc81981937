"""What software a run used."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

from chaos.spi import Json

_IMAGE = re.compile(r"CHAOS_\w+_IMAGE")


def versions() -> Json:
    """Of Python, of mqchaos and of all that it requires, the clients of the systems among them; and
    the images that the environment names instead of the usual ones."""
    found = {"python": platform.python_version(), "mqchaos": version("mqchaos")}
    for requirement in requires("mqchaos") or ():
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(PackageNotFoundError):  # only for another platform
            found[package] = version(package)
    images = {name: value for name, value in os.environ.items() if _IMAGE.fullmatch(name)}
    return found | dict(sorted(images.items()))
