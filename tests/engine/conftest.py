"""Plays the scenes of the selected tests ahead, some at once: most of a run is waiting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import engine_plugins
import pytest

AT_ONCE = 4


@pytest.fixture(scope="session", autouse=True)
def plugins(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Makes `engine_plugins` an installed distribution for the processes of these tests."""
    directory = tmp_path_factory.mktemp("plugins")
    engine_plugins.install(directory)
    os.environ["ENGINE_PLUGINS"] = str(directory)


@pytest.fixture(scope="session")
def played(
    request: pytest.FixtureRequest, plugins: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Any], Any]]:
    """`played(scene)`: what `scene.play(directory)` returned or raised; `scene` is a parameter.

    All scenes of the selected tests are begun in the order of the tests, before they are asked for.
    """
    with ThreadPoolExecutor(AT_ONCE, "scene") as pool:
        results: dict[int, Future[Any]] = {}
        for item in request.session.items:
            callspec = getattr(item, "callspec", None)
            scene = callspec and callspec.params.get("scene")
            if scene is not None and id(scene) not in results:
                directory: Path = tmp_path_factory.mktemp("scene")
                results[id(scene)] = pool.submit(scene.play, directory)
        yield lambda scene: results[id(scene)].result()
        pool.shutdown(cancel_futures=True)
