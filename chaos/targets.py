"""Which nodes or clients a fault takes.

    target = word | word "(" kind ")" | "rack" "(" name ")" | role | role "(" partition ")" | node
    word   = "one" | "minority" | "majority" | "all"        of all nodes, or of all of a kind
    kind   = what the cluster's nodes are: "broker", "controller"
    role   = what the broker knows: "controller", "leader(0)", "follower(0)", "followers(0)", ...
    node   = the name of a node: "kafka-2"

A role that also exists in the plural (`follower`, `followers`) means one of those who have it, the
plural all of them. A minority is the largest number of nodes below a half, a majority the smallest
above it; where not all nodes are of the same kinds, these words need a kind, as votes and copies
count within one. Whatever is left open is drawn by the random generator of the run, so a seed
repeats it.

A fault on the load instead takes

    clients = "clients" | "producers" | "consumers"         all, all of one role
            | "producer" | "consumer"                       one of them that had something to do
            | "producer-0" | "consumer-1" | ...             by name, numbered from 0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from chaos.errors import FaultError
from chaos.spi import Broker, Member, View
from chaos.wording import shown, unknown

_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_GRAMMAR = re.compile(rf"\s*({_NAME})\s*(?:\(\s*(?:([0-9]{{1,6}})|({_NAME}))\s*\))?\s*")

WORDS: Mapping[str, Callable[[int], int]] = {
    "one": lambda nodes: min(nodes, 1),
    "minority": lambda nodes: max(nodes - 1, 0) // 2,
    "majority": lambda nodes: nodes // 2 + 1,
    "all": lambda nodes: nodes,
}
"""How many of so many nodes each word takes."""


RACK = "rack"


def pattern(roles: Iterable[str]) -> str:
    """A regular expression, for editors too, of what can be a target where these are the roles that
    take a partition."""
    inner = rf"(?:{'|'.join(map(re.escape, roles))})\s*\(\s*[0-9]{{1,6}}\s*\)"
    named = rf"(?:{'|'.join([*WORDS, RACK])})\s*\(\s*{_NAME}\s*\)"
    return rf"^\s*(?:{_NAME}|{inner}|{named})\s*$"


@dataclass(frozen=True)
class TargetExpr:
    """A target as written: a word, a role or a node's name, and what stands in its parentheses: a
    partition, or the name of a kind or of a rack."""

    role: str
    partition: int | None = None
    of: str = ""

    @property
    def inner(self) -> str:
        """What stands in the parentheses; empty: there are none."""
        return self.of if self.partition is None else str(self.partition)

    def __str__(self) -> str:
        return f"{self.role}({self.inner})" if self.inner else self.role


def parse_target(text: str) -> TargetExpr:
    """Read a target. Raises ValueError."""
    found = _GRAMMAR.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is no target, such as leader(0), controller or one")
    return TargetExpr(found[1], None if found[2] is None else int(found[2]), found[3] or "")


def target_problem(
    text: str,
    roles: Mapping[str, bool],
    members: Sequence[Member] | None,
    partitions: int | None,
) -> str:
    """Why this target cannot mean anything in such a cluster; empty: it can.

    `roles` are those of spi.Broker. Where `members` or `partitions` is None, it is not known, and
    what depends on it is not checked.
    """
    try:
        expr = parse_target(text)
    except ValueError as error:
        return str(error)
    if expr.role in roles:
        return _partition_problem(expr, roles[expr.role], partitions)
    if expr.role in WORDS:
        return "" if members is None else _word_problem(expr, members)
    if expr.role == RACK:
        return "" if members is None else _rack_problem(expr, members)
    names = [member.name for member in members or ()]
    if expr.role in names or members is None:
        if not expr.inner:
            return ""
        if expr.role in names:
            return f"{expr.role} takes no partition: write {expr.role}"
    spelled = [f"{role}(p)" if takes else role for role, takes in roles.items()]
    racks = [f"{RACK}({name})" for name in _racks(members or ())]
    return unknown("target", text, [*WORDS, *spelled, *racks, *names], "targets")


def _partition_problem(expr: TargetExpr, takes_one: bool, partitions: int | None) -> str:
    if not takes_one:
        return f"{expr.role} takes no partition: write {expr.role}" if expr.inner else ""
    if expr.partition is None:
        return f"{expr.role} needs a partition: write {expr.role}(0)"
    if partitions is not None and expr.partition >= partitions:
        return f"there is no partition {expr.partition}: the last one is {partitions - 1}"
    return ""


def _word_problem(expr: TargetExpr, members: Sequence[Member]) -> str:
    """A kind that nobody is, a part that is nobody, or a count over unlike nodes."""
    kinds = _kinds(members)
    if expr.inner and expr.of not in kinds:
        return unknown("kind of node", expr.inner, kinds, "kinds")
    if not expr.inner and expr.role != "all" and len({member.roles for member in members}) > 1:
        either = " or ".join(f"{expr.role}({kind})" for kind in kinds)
        return f"the nodes are not all alike: write {either}"
    counted = len(_of_kind(expr.of, members))
    if WORDS[expr.role](counted):
        return ""
    return f"the {expr.role} of {counted} {f'{expr.of} ' if expr.of else ''}nodes is none of them"


def _rack_problem(expr: TargetExpr, members: Sequence[Member]) -> str:
    racks = _racks(members)
    if not racks:
        return "no node stands in a rack: set cluster.racks"
    if not expr.inner:
        return f"rack needs a name: write {RACK}({racks[0]})"
    return "" if expr.inner in racks else unknown("rack", expr.inner, racks, "racks")


def _kinds(members: Sequence[Member]) -> list[str]:
    return sorted({role for member in members for role in member.roles})


def _racks(members: Sequence[Member]) -> list[str]:
    return sorted({member.rack for member in members if member.rack})


def _of_kind(kind: str, members: Sequence[Member]) -> list[str]:
    """The names of the nodes of a kind; of all nodes when none is said."""
    return [member.name for member in members if not kind or kind in member.roles]


def resolve(
    expr: TargetExpr, broker: Broker, view: View, node_names: Sequence[str], random: Random
) -> tuple[str, ...]:
    """The nodes that a target means now, in the cluster's order; at least one.

    Raises FaultError with what was looked for when nobody is there.
    """
    if expr.role in broker.roles:
        chosen = list(broker.locate(expr.role, expr.partition, view))
        if chosen and f"{expr.role}s" in broker.roles:
            chosen = [random.choice(sorted(chosen))]
    elif expr.role in WORDS:
        counted = _of_kind(expr.of, broker.members()) if expr.of else list(node_names)
        chosen = random.sample(counted, WORDS[expr.role](len(counted)))
    elif expr.role == RACK:
        chosen = [member.name for member in broker.members() if member.rack == expr.inner]
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
    words = client_words(of)
    fitting = [name for name in names or () if name.rpartition("-")[0] in words]
    text = text.strip()
    by_name = names is None and text.rpartition("-")[0] in {*words} & {*CLIENT_ROLES}
    if by_name or text in (*fitting, *words):
        return ""
    return unknown("target", text, [*words, *fitting], "clients")


def client_words(of: str) -> list[str]:
    """What names clients by role, where they must be `of` this kind; see client_problem."""
    roles = [role for role in CLIENT_ROLES if of in ("clients", f"{role}s")]
    words = [spelled for role in roles for spelled in (role, f"{role}s")]
    return [*words, "clients"] if of == "clients" else words


def client_pattern(of: str) -> str:
    """A regular expression, for editors too, of what can name such clients."""
    words = client_words(of)
    named = [rf"{role}-[0-9]+" for role in CLIENT_ROLES if role in words]
    return rf"^\s*(?:{'|'.join([*words, *named])})\s*$"


def resolve_clients(
    text: str, names: Sequence[str], random: Random, idle: Collection[str] = ()
) -> tuple[str, ...]:
    """The clients that a target means, in their order; one of many is one that is not `idle`, if
    there is any. Raises FaultError when there are none."""
    text = text.strip()
    chosen = _matching(text, names)
    if not chosen:
        raise FaultError(f"no client is {text}: there are {', '.join(names)}")
    if text not in CLIENT_ROLES:
        return tuple(chosen)
    return (random.choice([name for name in chosen if name not in idle] or chosen),)


def _matching(text: str, names: Sequence[str]) -> list[str]:
    role = text.removesuffix("s")
    if role in CLIENT_ROLES:
        return [name for name in names if name.rpartition("-")[0] == role]
    return [name for name in names if text in (name, "clients")]
