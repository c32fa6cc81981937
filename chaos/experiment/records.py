"""The sections of an experiment that are the same for every system, as their keys and limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema
from pydantic import Field as Key

from chaos.message import SMALLEST
from chaos.spi import (
    Caveat,
    Duration,
    Fault,
    Momentary,
    Question,
    Rate,
    Settings,
    Size,
    Transactions,
)
from chaos.units import parse_duration, parse_rate, parse_size

MIN_BASELINE_S = 3.0
"""A shorter undisturbed time before the first fault says nothing about the cluster."""

_LONGEST_NAME = 60  # it becomes part of directory and container names


def _between(parse: Callable[[str], float], lowest: str, highest: str) -> AfterValidator:
    low, high = parse(lowest), parse(highest)

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"should be from {lowest} to {highest}")
        return value

    return AfterValidator(check)


Span = Annotated[Duration, _between(parse_duration, "0s", "24h")]
Hold = Annotated[Duration, _between(parse_duration, "1ms", "24h")]
Processes = Annotated[int, Key(ge=1, le=100)]


def _name(text: str) -> str:
    plain = text.isascii() and text.replace("-", "0").isalnum() and text == text.lower()
    if not plain or text.startswith("-") or len(text) > _LONGEST_NAME:
        raise ValueError(
            f"should consist of a-z, 0-9 and - (at most {_LONGEST_NAME}, the first one no -)"
        )
    return text


@dataclass(frozen=True)
class Head:
    """What stands at the top: everything but the sections."""

    name: Annotated[
        str,
        AfterValidator(_name),
        WithJsonSchema(
            {"type": "string", "pattern": rf"^[a-z0-9][a-z0-9-]{{0,{_LONGEST_NAME - 1}}}$"}
        ),
    ]
    """What the run is called: a-z, 0-9 and -, at most 60 characters."""
    about: str = ""
    """What the run is to show. For people."""
    seed: Annotated[int, Key(ge=0)] = 1
    """Decides whatever a target leaves open. The same seed chooses the same nodes."""
    runtime: str = "auto"
    """Where nodes run; auto: containers where they can be had, else local processes. The option
    --runtime goes before it."""


@dataclass(frozen=True)
class Producers:
    """Who sends."""

    count: Processes = 1
    """How many worker processes send, 1 to 100."""
    rate: Annotated[Rate, _between(parse_rate, "1/m", "10000000/s")] = 1000.0
    """How much is due, of all producers together. Load is open: a message is due at its time,
    whether or not the client could send it."""
    size: Annotated[Size, _between(parse_size, f"{SMALLEST}B", "64MiB")] = 200
    """Of the whole message, at least 48 B."""
    keys: Annotated[int, Key(ge=0, le=1_000_000)] = 100
    """How many different keys there are; 0: messages have none."""
    settings: Settings = field(default_factory=dict)
    """Of the client library, by the names that it gives them."""
    transactions: Transactions | None = None
    """Sends in transactions, if set."""

    @property
    def due_each_s(self) -> float:
        """How long each producer takes for what is acknowledged at once: a message, or all those of
        a transaction."""
        messages = self.transactions.messages if self.transactions else 1
        return messages * self.count / self.rate


@dataclass(frozen=True)
class Consumers:
    """Who receives: the members of one consumer group, and what their application does with each
    message.

    `handle` is how long it works on a message. `settle` says whether a message counts as done with
    (its offset is committed, it is acknowledged) after it was handled, so that a crash repeats it,
    or before, so that a crash skips it. A message that the application fails on is tried again
    `retries` times, each `retry_after` the last; then it is put into the dead-letter stream (named
    as the stream, with `-dlt` behind) if `dead_letter` is set, and else tried again for ever while
    what is behind it waits. With `hand_back` the broker is asked to do all that (queues of
    RabbitMQ). `handler_timeout` ends an attempt that takes longer.
    """

    count: Processes = 1
    """How many worker processes receive, as the members of one group, 1 to 100."""
    handle_s: Annotated[Span, Key(alias="handle")] = 0.0
    """How long the application works on a message."""
    settle: Literal["after", "before"] = "after"
    """When a message counts as done with: after it was handled, or before."""
    retries: Annotated[int, Key(ge=0, le=1000)] = 0
    """How often a message is tried again on which the handler failed."""
    retry_after_s: Annotated[Hold, Key(alias="retry_after")] = 0.1
    """How long after the last attempt."""
    dead_letter: bool = False
    """Whether it is put into a dead-letter stream then; else it is tried again for ever."""
    hand_back: bool = False
    """Whether each failed attempt ends with the message handed back to the broker, which delivers
    it again and in the end dead-letters it; else all of that is done by the application."""
    handler_timeout_s: Annotated[Hold | None, Key(alias="handler_timeout")] = None
    """Ends an attempt that takes longer, as a failed one."""
    settings: Settings = field(default_factory=dict)
    """Of the client library, by the names that it gives them."""


@dataclass(frozen=True)
class Load:
    """Who sends and who receives."""

    producers: Producers = field(default_factory=Producers)
    consumers: Consumers = field(default_factory=Consumers)

    def caveats(self) -> Iterator[Caveat]:
        """Why such an application cannot promise what users want, whatever the system."""
        if self.consumers.settle == "before":
            why = "a consumer that dies skips what it had settled and not yet handled"
            yield Caveat(Question.LOSS, "load.consumers.settle=before", why)
        if not self.consumers.dead_letter:
            why = "a message that cannot be handled holds up its partition for ever"
            yield Caveat(Question.HANDLING, "load.consumers.dead_letter=false", why)
        elif self.consumers.handler_timeout_s is None:
            why = "a handler that never returns holds up its partition for ever"
            yield Caveat(Question.HANDLING, "load.consumers.handler_timeout=null", why)


@dataclass(frozen=True)
class Phases:
    """How long the parts of a run take that are no fault."""

    warm_up_s: Annotated[Span, Key(alias="warm_up")] = 3.0
    """Load that is recorded but comes before the baseline. It goes on until each producer was
    served, for at most a minute more: then the run ends, and nothing was disturbed."""
    settle_s: Annotated[Span, Key(alias="settle")] = 10.0
    """How long load goes on after the last fault is healed."""
    drain_s: Annotated[Hold, Key(alias="drain")] = 60.0
    """How long consumers may take at the most to see everything that is stored. A limit, not a
    length: what they have not seen then is an *unread tail*, not a loss."""


@dataclass(frozen=True)
class When:
    """The part of a step that is the same for every fault."""

    at_s: Annotated[Span, Key(alias="at")]
    """When it begins, counted from the end of the warm-up. The time before the first fault is the
    baseline: at least 3 s."""
    fault: str
    """What fails."""
    for_s: Annotated[Hold | None, Key(alias="for")] = None
    """How long it lasts; left out: until the load ends."""


@dataclass(frozen=True)
class Step:
    """One fault of the schedule.

    `id` is its number from 1 and its name ("1-process.kill"). `at_s` counts from the start of the
    load after warm-up; `for_s` is None for a fault that stays until the load ends, and for one that
    is over as soon as it is done.
    """

    id: str
    at_s: float
    for_s: float | None
    name: str
    fault: Fault

    @property
    def stays(self) -> bool:
        """Whether it is healed only when the load ends."""
        return self.for_s is None and not isinstance(self.fault, Momentary)

    @property
    def until_s(self) -> float:
        """When it is to be healed, on the clock of `at_s`; infinite when it stays. One that is over
        at once counts as a moment, as nobody knows how long it takes."""
        return float("inf") if self.stays else self.at_s + (self.for_s or 0.0)
