"""Programs in containers, with what they print whole.

The daemon loses the output of a program that ends at once now and then, all of it, with exit code
0: one of 600 on a busy machine (Docker 20.10; moby/moby#27289 is of the same kind). So it is kept
in the container's /tmp as well, and a mark behind it tells that it arrived; where the mark is
missing it is read again, which may be done as often as one likes. The program itself runs once.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Mapping, Sequence

from docker.models.containers import Container

from chaos.errors import ClusterError, DeadlineExceeded

_TIMED_OUT, _KILLED = 124, (128 + 9, 128 + 15)
"""What `timeout` ends with: 124, but 137 when it had to kill, and BusyBox's 143 at once."""
_MARK = b"\0whole"
_WITHIN, _KEPT, _STDIN = "CHAOS_WITHIN", "CHAOS_KEPT", "CHAOS_STDIN"
_SHOW = f"cat \"${_KEPT}\"; printf '\\0whole'"
_RUN = (
    f'printf %s "${_STDIN}" | timeout -k 2 "${_WITHIN}" "$@" > "${_KEPT}"; code=$?; {_SHOW}; '
    "exit $code"
)
_TIMES = 5
_MOST_STDIN = 120 << 10
"""Bytes: it is one environment variable, and Linux takes 128 KiB of each (MAX_ARG_STRLEN)."""

_OWN = secrets.token_hex(4)
_MOST_KEPT = 64
"""More than run at once; so many files of a process there are at most."""
_numbers = itertools.count()


def run_in(
    container: Container, argv: Sequence[str], timeout_s: float, stdin: str = "", what: str = ""
) -> str:
    """Run a program once, with `stdin` to read, and return its standard output; `what` names it in
    errors. The container's image needs sh, cat and timeout.

    Raises ClusterError with its standard error when it fails or somebody kills it, or when `stdin`
    is above 120 KiB, and DeadlineExceeded when it does not end in time: it is killed in the
    container then, as the SDK could only stop listening to it.
    """
    what = what or f"{argv[0]} in {container.name}"
    if (size := len(stdin.encode())) > _MOST_STDIN:
        raise ClusterError(f"{what}: {size} bytes to read, but it can be given {_MOST_STDIN} only")
    environment = {
        _WITHIN: f"{timeout_s:g}",
        _KEPT: f"/tmp/mqchaos-{os.getpid()}-{_OWN}-{next(_numbers) % _MOST_KEPT}",  # noqa: S108 - no name that others know
        # The SDK cannot write to a program without a chance to lose output.
        _STDIN: stdin,
    }
    started = time.monotonic()
    code, out, err = _execute(container, [_RUN, "sh", *argv], environment)
    late = time.monotonic() - started >= timeout_s
    if code == _TIMED_OUT or (code in _KILLED and late):
        raise DeadlineExceeded(what, timeout_s, err)
    if code:
        said = err or out.removesuffix(_MARK).decode(errors="replace")
        how = f"was killed by signal {code - 128}" if code in _KILLED else f"ended with {code}"
        raise ClusterError(f"{what} {how}: {said}")
    for _ in range(_TIMES):
        if out.endswith(_MARK):
            return out.removesuffix(_MARK).decode(errors="replace")
        _, out, _ = _execute(container, [_SHOW], environment)
    raise ClusterError(f"{what} ended well, but Docker lost what it printed {_TIMES} times")


def _execute(
    container: Container, script: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, bytes, str]:
    """Exit code, standard output, standard error."""
    try:
        done = container.exec_run(["sh", "-c", *script], demux=True, environment=dict(environment))
    except ValueError as error:  # frames of its stream are out of step
        raise ClusterError(
            f"Docker garbled what a program in a container printed: {error}"
        ) from error
    out, err = (each or b"" for each in done.output)
    return int(done.exit_code), out, err.decode(errors="replace")
