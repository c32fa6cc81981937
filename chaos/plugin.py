"""A plug-in's fields are its parameters: this reads, writes and describes them.

Everything in an experiment file that has keys is a frozen dataclass: plug-ins, and the engine's own
sections. `shape(cls)` checks a mapping against one, strictly: no unknown key, no `"3"` for a 3. A
field whose key is no Python name, or is not the field's, has `pydantic.Field(alias=...)` in its
annotation.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from itertools import chain, pairwise
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError, WrapValidator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from chaos.errors import Unavailable
from chaos.spi import (
    ClientTarget,
    ConsumerTarget,
    Duration,
    Json,
    ProducerTarget,
    Rate,
    Settings,
    Size,
    Target,
    TargetMark,
)
from chaos.wording import shown, unknown

T = TypeVar("T")
Path = tuple[str | int, ...]
"""Where something stands in nested mappings and lists: keys and indices from the outside in."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_REWRITTEN = ("title", "default")
_TYPES = {"Duration": Duration, "Rate": Rate, "Settings": Settings, "Size": Size}
_TYPES |= {
    "Target": Target, "Client": ClientTarget, "Producer": ProducerTarget, "Consumer": ConsumerTarget
}  # fmt: skip


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong at `path`; `at_key`: with the key itself, not with its value."""

    path: Path
    what: str
    at_key: bool = False


@dataclass(frozen=True)
class Parameter:
    """What people are told of one field. `default` is as it would be written; None: required."""

    key: str
    type: str
    default: str | None
    doc: str


@dataclass(frozen=True)
class Shape(Generic[T]):
    """How one dataclass is written in an experiment file."""

    cls: type[T]
    keys: Mapping[str, str]
    """Field name -> key."""
    target_keys: tuple[str, ...]
    """The keys whose values name nodes, or clients of the load."""
    client_keys: Mapping[str, str]
    """Those of them whose values name clients, and of which role (TargetMark.of)."""
    records: Mapping[str, type[Any]]
    """The keys whose values are mappings with keys of their own, if they are not null."""
    _mirror: type[Any]
    _adapter: TypeAdapter[Any]

    def build(self, values: Mapping[str, Any], beside: Sequence[str] = ()) -> T | list[Flaw]:
        """An instance, or all that is wrong.

        `beside` are keys of the same mapping that belong to somebody else; they serve as spellings
        that could have been meant.
        """
        try:
            parsed = self._adapter.validate_json(json.dumps(values))
        except ValidationError as error:
            return list(_flaws(error.errors(include_url=False), values, self.cls, beside))
        try:
            return self.cls(**{name: getattr(parsed, name) for name in self.keys})
        except ValueError as error:
            return [Flaw((), str(error))]

    def dump(self, instance: T) -> Json:
        """All fields as they would be written, defaults too; `build` of it gives an equal one."""
        mirrored = self._mirror(**{name: getattr(instance, name) for name in self.keys})
        dumped: Json = self._adapter.dump_python(mirrored, mode="json", by_alias=True)
        return dumped

    def defaults(self) -> Json:
        """Key -> default, as it would be written; a required field is not there."""
        given = {each.name: _default(each) for each in _settable(self.cls)}
        required = {name for name, value in given.items() if value is MISSING}
        dumped: Json = self._adapter.dump_python(
            self._mirror(**given), mode="json", by_alias=True, exclude=required
        )
        return dumped

    def schema(self) -> Json:
        """The JSON Schema of such a mapping, with what people are told of each key."""
        made: Json = self._adapter.json_schema(by_alias=True)
        docs, defaults = _field_docs(self.cls), self.defaults()
        inner = made.pop("$defs", {})
        properties = {}
        for name, key in self.keys.items():
            given = _inlined(made["properties"][key], inner)
            own = {k: v for k, v in given.items() if k not in _REWRITTEN}
            if key in self.records:
                own["anyOf"] = [shape(self.records[key]).schema(), {"type": "null"}]
            told = {"description": docs[name]} if name in docs else {}
            default = {"default": defaults[key]} if key in defaults else {}
            properties[key] = own | told | default
        about = {"description": text} if (text := inspect.getdoc(self.cls)) else {}
        return {k: v for k, v in made.items() if k != "title"} | about | {"properties": properties}

    def targets(self, instance: T) -> Mapping[str, str]:
        """Key -> text of each target that is set."""
        values = {key: getattr(instance, name) for name, key in self.keys.items()}
        return {key: values[key] for key in self.target_keys if values[key]}

    def parameters(self) -> tuple[Parameter, ...]:
        """The fields as people are told of them."""
        hints, docs, defaults = _hints(self.cls), _field_docs(self.cls), self.defaults()
        return tuple(
            Parameter(
                key,
                _type_text(hints[name]),
                _plain(defaults[key]) if key in defaults else None,
                docs.get(name, ""),
            )
            for name, key in self.keys.items()
        )


def shape(cls: type[T]) -> Shape[T]:
    """The shape of a dataclass, worked out once.

    Raises Unavailable where its annotations cannot be understood.
    """
    known: Any = cls
    found: Shape[T] = _shape(known)
    return found


@cache
def _shape(cls: Any) -> Shape[Any]:  # noqa: ANN401 - a type, which mypy does not take for hashable
    hints, own = _hints(cls), _settable(cls)
    keys = {each.name: _key(each.name, hints[each.name]) for each in own}
    mirror = make_dataclass(
        cls.__name__,
        [(each.name, _bounded(hints[each.name]), _like(each)) for each in own],
        kw_only=True,
        namespace={"__pydantic_config__": _STRICT},
    )
    marks = {keys[each.name]: list(_marks(hints[each.name], TargetMark)) for each in own}
    targets = tuple(key for key, found in marks.items() if found)
    clients = {key: marks[key][0].of for key in targets if marks[key][0].of != "nodes"}
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(mirror)
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0]
        raise Unavailable(f"{cls.__qualname__} cannot be written in a file: {reason}") from error
    records = {keys[each.name]: _dataclasses(hints[each.name]) for each in own}
    inner = {key: found[0] for key, found in records.items() if found}
    return Shape(cls, keys, targets, clients, inner, mirror, adapter)


def summary(cls: type[Any]) -> str:
    """What a plug-in says of itself in its first sentence."""
    return first_sentence((inspect.getdoc(cls) or "").partition("\n\n")[0])


def first_sentence(text: str) -> str:
    """Without the full stop."""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".")


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise Unavailable(
            f"{cls.__module__}.{cls.__qualname__}: {error} in its annotations: what they name must "
            "be imported for good, not under TYPE_CHECKING"
        ) from error


def _settable(cls: type[Any]) -> list[Field[Any]]:
    return [each for each in fields(cls) if each.init]


def _like(original: Field[Any]) -> Any:  # noqa: ANN401 - what dataclasses.field is declared to be
    if original.default_factory is not MISSING:
        return field(default_factory=original.default_factory)
    return field() if original.default is MISSING else field(default=original.default)


def _bounded(hint: Any) -> Any:  # noqa: ANN401 - any annotation
    """The same, with a number that overflows told as a flaw at its place; a list of texts has none,
    and could not be told from a tuple any more."""
    if get_origin(hint) is tuple:
        return hint

    def check(value: Any, proceed: Any) -> Any:  # noqa: ANN401
        try:
            return proceed(value)
        except OverflowError as error:
            raise ValueError("is too large") from error

    return Annotated[hint, WrapValidator(check)]


def _marks(hint: Any, kind: type[T]) -> Iterator[T] | list[T]:  # noqa: ANN401
    """What an annotation is marked with, in a union too (`Target | None`)."""
    found = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, kind)]
    if get_origin(hint) in (None, Literal):
        return found
    return [*found, *(mark for part in get_args(hint) for mark in _marks(part, kind))]


def _key(name: str, hint: Any) -> str:  # noqa: ANN401
    return next((mark.alias for mark in _marks(hint, FieldInfo) if mark.alias), name)


# ------------------------------------------------------------------------------ what is wrong

_WORDING = {
    "bool_type": "should be true or false",
    "dataclass_type": "should be a mapping (key: value)",
    "dict_type": "should be a mapping (key: value)",
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "string_type": "should be text",
}


def _flaws(
    errors: Sequence[ErrorDetails],
    values: Mapping[str, Any],
    cls: type[Any],
    beside: Sequence[str],
) -> Iterator[Flaw]:
    """One flaw a place: the alternatives of a union are told together."""
    merged: dict[Path, list[str]] = {}
    for error in errors:
        path, kind = error["loc"], error["type"]
        if kind == "unexpected_keyword_argument":
            known = [*_keys_at(cls, path[:-1]), *(() if path[:-1] else beside)]
            yield Flaw(path, unknown("key", str(path[-1]), known, "keys"), at_key=True)
        elif kind == "missing":
            yield Flaw(path, "is missing")
        else:
            merged.setdefault(_present(path, values), []).append(_what(error))
    for path, whats in merged.items():
        first, *others = dict.fromkeys(whats)
        either = " or ".join([first, *(what.removeprefix("should be ") for what in others)])
        yield Flaw(path, f"{either}, not {shown(_at(path, values))}")


def _keys_at(cls: type[Any], path: Path) -> Sequence[str]:
    """The keys that may stand in a mapping at `path` below what `cls` describes."""
    for part in path:
        hints, keys = _hints(cls), shape(cls).keys
        names = [name for name, key in keys.items() if key == part]
        inner = [found for name in names for found in _dataclasses(hints[name])]
        if not inner:
            return ()
        cls = inner[0]
    return list(shape(cls).keys.values())


def _dataclasses(hint: Any) -> list[type[Any]]:  # noqa: ANN401 - any annotation
    own = [hint] if is_dataclass(hint) and isinstance(hint, type) else []
    return [*own, *(found for part in get_args(hint) for found in _dataclasses(part))]


def _what(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _WORDING.get(error["type"]) or error["msg"].removeprefix("Input ")


def _present(path: Path, values: Any) -> Path:  # noqa: ANN401
    """As much of a path as leads somewhere: pydantic adds the names of a union's alternatives."""
    for depth, part in enumerate(path):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return path[:depth]
    return path


def _at(path: Path, values: Any) -> Any:  # noqa: ANN401
    for part in path:
        values = values[part]
    return values


# --------------------------------------------------------------------------------- descriptions


def _type_text(hint: Any) -> str:  # noqa: ANN401
    """An annotation as it is told: `duration`, `int`, `peers | clients`, `rate | null`."""
    named = [name for name, known in _TYPES.items() if _same(hint, known)]
    if named:
        return named[0].lower()
    parts, origin = get_args(hint), get_origin(hint)
    if origin is Annotated:
        return _type_text(parts[0])
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " | ".join(_type_text(part) for part in parts)
    if hint is NoneType:
        return "null"
    if origin is tuple:
        return f"list of {_type_text(parts[0])}"
    return str(hint) if parts else getattr(hint, "__name__", str(hint))


def _same(hint: Any, known: Any) -> bool:  # noqa: ANN401
    """Whether it is the known type, perhaps with more marks (limits, an alias) behind its own."""
    own = getattr(known, "__metadata__", ())
    marks = getattr(hint, "__metadata__", ())
    return bool(hint == known or (own and marks[: len(own)] == own))


def _inlined(part: Any, inner: Json) -> Any:  # noqa: ANN401 - a part of a schema
    """The same without references to definitions that are about to go, those of records apart,
    which are told in full elsewhere."""
    if isinstance(part, list):
        return [_inlined(each, inner) for each in part]
    if not isinstance(part, dict):
        return part
    named = inner.get(str(part.get("$ref", "")).rpartition("/")[2], {})
    if "enum" in named:
        return {k: v for k, v in named.items() if k not in ("title", "description")}
    return {key: _inlined(value, inner) for key, value in part.items()}


def _default(each: Field[Any]) -> Any:  # noqa: ANN401
    """The default of a field, MISSING where there is none."""
    if each.default_factory is not MISSING:
        return each.default_factory()
    return each.default


def _plain(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else json.dumps(value)


def _field_docs(cls: type[Any]) -> dict[str, str]:
    """The string that stands below a field, as in `class Batch` of `chaos.spi`; inherited, too."""
    try:
        sources = [inspect.getsource(each) for each in reversed(cls.__mro__[:-1])]
        trees = [ast.parse(textwrap.dedent(source)).body for source in sources]
    except (OSError, TypeError, SyntaxError):  # made at run time, or installed without sources
        return {}
    bodies = [tree[0].body for tree in trees if tree and isinstance(tree[0], ast.ClassDef)]
    docs = {}
    for statement, follower in chain.from_iterable(map(pairwise, bodies)):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match follower:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[statement.target.id] = " ".join(text.split())
    return docs
