"""Which nodes or clients a fault takes.

    target = word | role | role "(" partition ")" | node
    word   = "one" | "minority" | "majority" | "all"        of all nodes
    role   = what the broker knows: "controller", "leader(0)", "follower(0)", "followers(0)", ...
    node   = the name of a node: "kafka-2"

A role that also exists in the plural (`follower`, `followers`) means one of those who have it, the
plural all of them. A minority is the largest number of nodes below a half, a majority the smallest
above it. Whatever is left open is drawn by the random generator of the run, so a seed repeats it.

A fault on the load instead takes

    clients = "clients" | "producers" | "consumers"         all, all of one role
            | "producer" | "consumer"                       one of them
            | "producer-0" | "consumer-1" | ...             by name, numbered from 0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from chaos.errors import FaultError
from chaos.spi import Broker, View
from chaos.wording import shown, unknown

GRAMMAR = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\(\s*([0-9]{1,6})\s*\))?\s*")

WORDS: Mapping[str, Callable[[int], int]] = {
    "one": lambda nodes: min(nodes, 1),
    "minority": lambda nodes: max(nodes - 1, 0) // 2,
    "majority": lambda nodes: nodes // 2 + 1,
    "all": lambda nodes: nodes,
}
"""How many of so many nodes each word takes."""


@dataclass(frozen=True)
class TargetExpr:
    """A target as written: a word, a role or a node's name, and the partition where it has one."""

    role: str
    partition: int | None = None

    def __str__(self) -> str:
        return self.role if self.partition is None else f"{self.role}({self.partition})"


def parse_target(text: str) -> TargetExpr:
    """Read a target. Raises ValueError."""
    found = GRAMMAR.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is no target, such as leader(0), controller or one")
    return TargetExpr(found[1], None if found[2] is None else int(found[2]))


def target_problem(
    text: str, roles: Mapping[str, bool], nodes: Sequence[str] | None, partitions: int | None
) -> str:
    """Why this target cannot mean anything in such a cluster; empty: it can.

    `roles` are those of spi.Broker. Where `nodes` or `partitions` is None, it is not known, and
    what depends on it is not checked.
    """
    try:
        expr = parse_target(text)
    except ValueError as error:
        return str(error)
    if expr.role in roles:
        return _partition_problem(expr, roles[expr.role], partitions)
    is_node = nodes is None or expr.role in nodes
    if expr.partition is not None and (expr.role in WORDS or (nodes and is_node)):
        return f"{expr.role} takes no partition: write {expr.role}"
    if expr.role in WORDS:
        none = nodes is not None and not WORDS[expr.role](len(nodes))
        return f"the {expr.role} of {len(nodes or ())} nodes is none of them" if none else ""
    if is_node and expr.partition is None:
        return ""
    spelled = [f"{role}(p)" if takes else role for role, takes in roles.items()]
    return unknown("target", text, [*WORDS, *spelled, *(nodes or ())], "targets")


def _partition_problem(expr: TargetExpr, takes_one: bool, partitions: int | None) -> str:
    if not takes_one:
        wrong = expr.partition is not None
        return f"{expr.role} takes no partition: write {expr.role}" if wrong else ""
    if expr.partition is None:
        return f"{expr.role} needs a partition: write {expr.role}(0)"
    if partitions is not None and expr.partition >= partitions:
        return f"there is no partition {expr.partition}: the last one is {partitions - 1}"
    return ""


def resolve(
    expr: TargetExpr, broker: Broker, view: View, node_names: Sequence[str], random: Random
) -> tuple[str, ...]:
    """The nodes that a target means now, in the cluster's order; at least one.

    Raises FaultError with what was looked for when nobody is there.
    """
    if expr.role in WORDS:
        chosen = random.sample(list(node_names), WORDS[expr.role](len(node_names)))
    elif expr.role in broker.roles:
        chosen = list(broker.locate(expr.role, expr.partition, view))
        if chosen and f"{expr.role}s" in broker.roles:
            chosen = [random.choice(sorted(chosen))]
    else:
        chosen = [name for name in node_names if name == expr.role]
    if not chosen:
        raise FaultError(f"no node is {expr} now: {_seen(expr, view)}")
    return tuple(sorted(set(chosen), key=_order(node_names)))


def _order(node_names: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    place = {name: number for number, name in enumerate(node_names)}
    return lambda name: (place.get(name, len(place)), name)


def _seen(expr: TargetExpr, view: View) -> str:
    if expr.partition is None:
        return f"the controller is {view.controller or 'unknown'}"
    leader = view.leaders.get(expr.partition)
    replicas = ", ".join(view.replicas.get(expr.partition, ())) or "unknown"
    return f"partition {expr.partition} has leader {leader or 'none'} and replicas {replicas}"


# ------------------------------------------------------------------------------------ clients

CLIENT_ROLES = ("producer", "consumer")


def client_names(producers: int, consumers: int) -> list[str]:
    """The clients of a load of so many, by name."""
    counts = zip(CLIENT_ROLES, (producers, consumers), strict=True)
    return [f"{role}-{number}" for role, count in counts for number in range(count)]


def client_problem(text: str, names: Sequence[str] | None, of: str) -> str:
    """Why this target cannot mean anything with these clients (None: not known); empty: it can.

    `of` is "clients", or the role in the plural that they must have.
    """
    fitting = [name for name in names or () if of in ("clients", f"{name.rpartition('-')[0]}s")]
    roles = [role for role in CLIENT_ROLES if of in ("clients", f"{role}s")]
    words = [spelled for role in roles for spelled in (role, f"{role}s")]
    everybody = ["clients"] if of == "clients" else []
    text = text.strip()
    by_name = names is None and text.rpartition("-")[0] in roles
    if by_name or text in (*fitting, *words, *everybody):
        return ""
    return unknown("target", text, [*words, *everybody, *fitting], "clients")


def resolve_clients(text: str, names: Sequence[str], random: Random) -> tuple[str, ...]:
    """The clients that a target means, in their order. Raises FaultError when there are none."""
    text = text.strip()
    chosen = _matching(text, names)
    if not chosen:
        raise FaultError(f"no client is {text}: there are {', '.join(names)}")
    return (random.choice(chosen),) if text in CLIENT_ROLES else tuple(chosen)


def _matching(text: str, names: Sequence[str]) -> list[str]:
    role = text.removesuffix("s")
    if role in CLIENT_ROLES:
        return [name for name in names if name.rpartition("-")[0] == role]
    return [name for name in names if text in (name, "clients")]
