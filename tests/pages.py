"""Pages of the documentation that teach, followed word for word in an empty directory.

The files that a page shows are written, its commands are typed. `scripts/chaos`, `scripts/test` and
`.venv/bin/pip` are stand-ins there: they lead to this checkout and its environment, and what pip
installs lands in the directory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENDS_WITH = re.compile(r"# ends with (\d+)")
_ONE_COMMAND_S = 280

_STAND_INS = {
    "scripts/chaos": 'exec {python} -c "from chaos.cli import main; raise SystemExit(main())" "$@"',
    "scripts/test": 'set -- $(printf "%s\\n" "$@" | sed "s#^tests/#{root}/tests/#")\n'
    "exec {python} -m pytest -c {root}/pyproject.toml -p no:cacheprovider -q "
    '--basetemp "$PWD/tmp" "$@"',
    ".venv/bin/pip": 'set -- $(printf "%s\\n" "$@" | grep -v -e --editable -e ^install)\n'
    "exec {python} -m pip install --quiet --disable-pip-version-check --no-index "
    '--target "$PWD/site" "$@"',
}


def files(page: str) -> dict[str, str]:
    """The files that a page shows: a path in a line of its own, and the block below it."""
    return dict(_FILE.findall((ROOT / "docs" / page).read_text()))


def lines(page: str) -> list[str]:
    """The commands of a page, in order."""
    return "".join(_COMMANDS.findall((ROOT / "docs" / page).read_text())).splitlines()


def follow(page: str, directory: Path) -> str:
    """All that was printed. Each command must end as the page says, which is with 0 mostly."""
    shown = files(page)
    for name, script in _STAND_INS.items():
        shown[name] = "#!/bin/bash\n" + script.format(python=sys.executable, root=ROOT) + "\n"
    for name, content in shown.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o700)
    paths = [str(directory / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CHAOS_HOME": str(directory / "home"),
    }  # fmt: skip
    return "".join(_typed(line, directory, environment) for line in lines(page))


def _typed(line: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", line], cwd=directory, env=environment, check=False, timeout=_ONE_COMMAND_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wanted = _ENDS_WITH.search(line)
    assert done.returncode == (int(wanted[1]) if wanted else 0), f"{line}\n{done.stdout}"
    return done.stdout
