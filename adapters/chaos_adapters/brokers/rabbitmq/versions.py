"""Which versions there are, and whether nodes have the one that the experiment says.

Refusals and caveats go by what the experiment says, and an image may be somebody's own
(`CHAOS_RABBITMQ_IMAGE`).
"""

from __future__ import annotations

import re

DEFAULT = "3.13"
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)*(?:-management)?")
_OLD, _NEW = 3, 4
_OLD_MINORS = range(10, 14)


def version_problem(version: str) -> str:
    """What is wrong with it; empty: nothing."""
    found = _VERSION.fullmatch(version)
    if not found:
        return "it should be like 3.13 or 4.0.5"
    if not _known(int(found[1]), int(found[2])):
        return "3.10 to 3.13 and 4.x are known, take one of these"
    return ""


def numbers_of(version: str) -> tuple[int, int]:
    """The first two, of which most of what is promised depends on the first one: 3 or 4."""
    first, second, *_ = _numbers(version)
    return first, second


def mismatch(said: str, running: str) -> str:
    """What to do when nodes are not of the version that the experiment says; empty: they are.

    Where it says nothing, all versions with the promises of the default will do.
    """
    numbers = re.match(r"(\d+)\.(\d+)", running)
    if not numbers:
        return ""
    first, second = int(numbers[1]), int(numbers[2])
    if not _known(first, second):
        return f"runs RabbitMQ {running}, and only 3.10 to 3.13 and 4.x are known: take another one"
    wanted = said.removesuffix("-management")
    same = f"{running}.".startswith(f"{wanted}.") or running.startswith(f"{wanted}-")
    if same or (said == DEFAULT and first == numbers_of(DEFAULT)[0]):
        return ""
    plain = re.match(r"[\d.]+", running)
    write = plain[0] if plain else running
    return f"runs RabbitMQ {running}, the experiment says {said}: write `version: '{write}'`"


def hang(running: str, erlang: str) -> str:
    """The bug by which nodes of this version may never serve again after a partition that they
    waited out (`pause_minority`) or a restart; empty: it is mended.

    Erlang's `global` may hang when two nodes connect to each other at once, and RabbitMQ's way out
    of it does nothing on Erlang 25.1 and later (rabbitmq-server#6034, mended in 3.10.9 and 3.11.1).
    """
    version, machine = _numbers(running), _numbers(erlang)
    hangs = (3, 10) <= version < (3, 10, 9) or (3, 11) <= version < (3, 11, 1)
    if not hangs or machine < (25, 1):
        return ""
    return (
        f"RabbitMQ {running} on Erlang {erlang} may hang when it connects to others again "
        "(rabbitmq-server#6034): restart the node, or take 3.10.9, 3.11.1 or later"
    )


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _known(first: int, second: int) -> bool:
    return first == _NEW or (first == _OLD and second in _OLD_MINORS)
