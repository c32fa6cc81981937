"""The pages that teach how to write a plug-in, followed word for word in an empty directory."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAOS = [sys.executable, "-c", "import sys; from chaos.cli import main; sys.exit(main())"]
_FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def argv(line: str, site: Path) -> list[str]:
    """What a line does here: it installs beside the environment of the tests, not into it."""
    program, *words = shlex.split(line)
    if program == ".venv/bin/pip":
        words = [word for word in words if word != "--editable"]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--target", str(site)]
        return [sys.executable, "-m", "pip", *words[:1], *quiet, *words[1:]]
    if program == "scripts/test":
        words = [str(ROOT / word) if word.startswith("tests/") else word for word in words]
        setting = ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-q"]
        return [sys.executable, "-m", "pytest", *setting, *words]
    assert program == "scripts/chaos", line
    return [*CHAOS, *words]


def followed(page: str, directory: Path) -> str:
    """Write the files, type the commands; all that was printed. Each must succeed."""
    text = (ROOT / "docs" / page).read_text()
    files = _FILE.findall(text)
    assert len(files) >= 3
    for name, content in files:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    site = directory / "site"
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CHAOS_HOME": str(directory / "home"),
    }  # fmt: skip
    printed = ""
    for line in "".join(_COMMANDS.findall(text)).splitlines():
        done = subprocess.run(
            argv(line, site), cwd=directory, env=environment, check=False, timeout=280,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        assert "no tests ran" not in done.stdout
        printed += done.stdout
    return printed


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            "write-a-fault.md",
            [
                "every: duration = 1s",
                "process.cascade on memory-1",
                "cascade.yaml: ok",
                "PASS cascade",
            ],
        ),
        (
            "write-a-verifier.md",
            ["How long did acknowledgements take?", "99 of 100", "<= 30  ok", "PASS latency"],
        ),
    ],
)
def test_the_page_can_be_followed(page: str, told: list[str], tmp_path: Path) -> None:
    """Everything on it is there in full, and what it shows comes out."""
    printed = followed(page, tmp_path)
    for part in told:
        assert part in printed
