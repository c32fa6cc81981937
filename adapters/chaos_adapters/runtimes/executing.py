"""Programs in containers, with what they print whole.

The daemon loses the output of a program that ends at once now and then, all of it, with exit code
0: one of 600 on a busy machine (Docker 20.10; moby/moby#27289 is of the same kind); more seldom its
frames are out of step, so that nothing can be told of it. So output and exit code are kept in the
container's /tmp as well, with a mark of this call behind them; where it is missing they are read
again, which may be done as often as one likes. The program itself runs once.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence

from docker.models.containers import Container

from chaos.errors import ClusterError, DeadlineExceeded

_TIMED_OUT, _KILLED = 124, (128 + 9, 128 + 15)
"""What `timeout` ends with: 124, but 137 when it had to kill, and BusyBox's 143 at once."""
_WITHIN, _KEPT, _STDIN, _CALL = "CHAOS_WITHIN", "CHAOS_KEPT", "CHAOS_STDIN", "CHAOS_CALL"
_SHOW = f'cat "${_KEPT}"'
_RUN = (
    f'printf %s "${_STDIN}" | timeout -k 2 "${_WITHIN}" "$@" > "${_KEPT}"; code=$?; '
    f'printf \'\\0%s ended with %d\' "${_CALL}" $code >> "${_KEPT}"; {_SHOW}; exit $code'
)
_TIMES, _PAUSE_S = 5, 0.1
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
    number = next(_numbers)
    environment = {
        _WITHIN: f"{timeout_s:g}",
        _KEPT: f"/tmp/mqchaos-{os.getpid()}-{_OWN}-{number % _MOST_KEPT}",  # noqa: S108 - no name that others know
        _CALL: str(number),
        # The SDK cannot write to a program without a chance to lose output.
        _STDIN: stdin,
    }
    mark = re.compile(rb"\x00%d ended with (\d+)\Z" % number)
    started = time.monotonic()
    code, out, err = _execute(container, [_RUN, "sh", *argv], environment)
    if not code:
        # Where nothing can be told of the first answer, the program may still run.
        until = started + timeout_s + 3 if code is None else started
        code, out = _whole(container, environment, mark, out, until)
    if code is None:
        raise ClusterError(f"{what} was run, but Docker lost what it printed {_TIMES} times")
    late = time.monotonic() - started >= timeout_s
    if code == _TIMED_OUT or (code in _KILLED and late):
        raise DeadlineExceeded(what, timeout_s, err)
    text = mark.sub(b"", out).decode(errors="replace")
    if code:
        how = f"was killed by signal {code - 128}" if code in _KILLED else f"ended with {code}"
        raise ClusterError(f"{what} {how}: {err or text}")
    return text


def _whole(
    container: Container,
    environment: Mapping[str, str],
    mark: re.Pattern[bytes],
    out: bytes,
    until: float,
) -> tuple[int | None, bytes]:
    """The exit code and all that was printed, read again until the mark is there; None: it never
    was, in so many times and until then."""
    times = 0
    while not (ended := mark.search(out)):
        if times >= _TIMES and time.monotonic() >= until:
            return None, out
        if times:
            time.sleep(_PAUSE_S)
        _, out, _ = _execute(container, [_SHOW], environment)
        times += 1
    return int(ended[1]), out


def _execute(
    container: Container, script: Sequence[str], environment: Mapping[str, str]
) -> tuple[int | None, bytes, str]:
    """Exit code, standard output, standard error; None: frames of the stream were out of step."""
    try:
        done = container.exec_run(["sh", "-c", *script], demux=True, environment=dict(environment))
    except ValueError:
        return None, b"", ""
    out, err = (each or b"" for each in done.output)
    return int(done.exit_code), out, err.decode(errors="replace")
