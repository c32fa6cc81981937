"""The wheel, built and installed as a user gets it: only our three packages, with their data."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"chaos", "chaos_adapters", "chaos_verifiers"}
HATCHLING = pytest.importorskip("hatchling.build", reason="the wheel is built by hatchling")
BUILD = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"


def call(*argv: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend itself, which needs no network."""
    directory = tmp_path_factory.mktemp("wheel")
    name = call(sys.executable, "-c", BUILD, directory).split()[-1]
    return directory / name


@pytest.fixture(scope="module")
def content(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has this wheel and nothing else."""
    directory = tmp_path_factory.mktemp("clean")
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    call(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", "--disable-pip-version-check", wheel,
    )  # fmt: skip
    return python


def test_its_top_level_names_are_ours_alone(content: list[str]) -> None:
    """Other distributions have packages called `adapters` or `experiments`: none is overwritten."""
    tops = {name.partition("/")[0] for name in content}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert len(tops) == 4


def test_it_holds_every_module_and_what_modules_read(content: list[str]) -> None:
    """Exactly the files of the checkout: types, locks, experiments, Compose files and images."""
    sources = {
        "chaos": ROOT / "chaos",
        "chaos_adapters": ROOT / "adapters" / "chaos_adapters",
        "chaos_verifiers": ROOT / "verifiers" / "chaos_verifiers",
        "chaos/_data/experiments": ROOT / "experiments",
        "chaos/_data/compose": ROOT / "compose",
    }
    expected = {
        f"{name}/{path.relative_to(source)}"
        for name, source in sources.items()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in content if ".dist-info/" not in name}
    assert found == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= found
    assert "chaos/_data/experiments/broker-down.yaml" in found
    assert "chaos/_data/compose/kafka.yaml" in found
    assert any(name.startswith("chaos/_data/compose/images/") for name in found)
    assert any(name.endswith(".lock") for name in found)


def test_installed_alone_it_offers_exactly_the_plugins_of_the_project(clean: Path) -> None:
    """Listed without importing one of them, and without any of their dependencies."""
    code = (
        "import json, sys\n"
        "from importlib.metadata import entry_points\n"
        "found = {f'chaos.{kind}': {p.name: p.value for p in entry_points(group=f'chaos.{kind}')}\n"
        "         for kind in ('brokers', 'runtimes', 'faults', 'verifiers')}\n"
        "loaded = [name for name in sys.modules if name.startswith('chaos')]\n"
        "print(json.dumps([found, loaded]))\n"
    )
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, loaded = json.loads(call(clean, "-I", "-c", code, cwd=clean.parent))
    assert found == project["entry-points"]
    assert loaded == []


def test_listing_plugins_imports_none(clean: Path) -> None:
    """The registry's own listing: a Kafka run never loads a RocketMQ client. It is asked in this
    environment, where the engine's dependencies are; plug-ins and their clients stay unloaded."""
    code = (
        "import sys\n"
        "from chaos.registry import KINDS, names\n"
        "assert all(names(kind) for kind in KINDS)\n"
        "print([m for m in sys.modules if m.split('.')[0] in\n"
        "       ('chaos_adapters', 'chaos_verifiers', 'confluent_kafka', 'docker', 'pika')])\n"
    )
    assert call(sys.executable, "-c", code).strip() == "[]"


def test_installed_alone_it_finds_its_data(clean: Path) -> None:
    """Beside the package, not in a checkout; the resolver needs only the standard library."""
    code = (
        "from chaos.data import compose_dir, experiments_dir\n"
        "assert (experiments_dir() / 'broker-down.yaml').is_file()\n"
        "assert (compose_dir() / 'kafka.yaml').is_file()\n"
        "assert (compose_dir() / 'images' / 'toxiproxy' / 'Dockerfile').is_file()\n"
        "print(experiments_dir())\n"
    )
    found = call(clean, "-I", "-c", code, cwd=clean.parent).strip()
    assert Path(found).is_relative_to(clean.parents[1].resolve())
    assert found.endswith("chaos/_data/experiments")


def test_installed_it_has_the_command(clean: Path) -> None:
    """`chaos`, and those that fetch clients of RocketMQ; no other."""
    code = (
        "from importlib.metadata import distribution as d\n"
        "for each in d('mqchaos').entry_points.select(group='console_scripts'): print(each.name)\n"
    )
    commands = set(call(clean, "-I", "-c", code, cwd=clean.parent).split())
    assert commands == {"chaos", "chaos-rocketmq-native", "chaos-rocketmq-grpc"}
    assert commands <= {path.name for path in clean.parent.iterdir()}
