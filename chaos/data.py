"""Where the experiments and Compose files are that come with mqchaos.

A wheel carries them as `chaos/_data/`; a checkout has them beside the package.
"""

from __future__ import annotations

from pathlib import Path

UNSAFE = "unsafe"
"""Below a folder of this name are experiments that show loss; they run only when named."""

_PACKAGE = Path(__file__).resolve().parent


def experiments_dir() -> Path:
    """The experiments that come with mqchaos."""
    return _data("experiments")


def compose_dir() -> Path:
    """The Compose files and, below `images/`, what images are built from."""
    return _data("compose")


def _data(name: str) -> Path:
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
