"""Checked fields: types with limits, which Python, YAML and the command line share; nested mappings; YAML files."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from math import inf
from numbers import Integral, Real
from pathlib import Path, PurePath
from reprlib import repr as shortened
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from dfcvae.errors import UsageError, nearest

FINITE = sys.float_info.max
MANY = 10**9  # of anything: more is a typing error


@dataclass(frozen=True, repr=False)
class Range:
    """Limits of a number, both included, and what such a number is called."""

    low: float
    high: float
    name: str

    def __repr__(self) -> str:  # which help shows
        return f">= {self.low:g}" if self.high >= MANY else f"{self.low:g} to {self.high:g}"


Positive = Annotated[int, Range(1, MANY, "a positive integer")]
NonNegative = Annotated[int, Range(0, MANY, "a non-negative integer")]
TwoOrMore = Annotated[int, Range(2, MANY, "an integer of at least 2")]
Seed = Annotated[int, Range(0, inf, "a non-negative integer")]
Weight = Annotated[float, Range(0, FINITE, "a finite number of at least 0")]
Fraction = Annotated[float, Range(0, 1, "a number from 0 to 1")]
Width = Annotated[float, Range(1 / 64, 4, "a number from 1/64 to 4")]

NUMBERS: dict[type, type] = {int: Integral, float: Real}
NAMES = {str: "text", bool: "true or false", int: "an integer", float: "a number", list: "a list", type(None): "null"}


def checked(values: Mapping[str, Any], hints: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """The values, each as its plain type: NumPy's numbers become Python's, a path becomes text, a list a tuple.

    A UsageError names the first one, with the prefix ``group``, that is not of its type or outside its limits.
    """
    plain = {}
    for name, value in values.items():
        try:
            plain[name] = _fitted(hints[name], value)
        except _MisfitError as error:
            raise UsageError(f"{group}{name}: expected {error}, got {shortened(value)}.") from None
    return plain


def check_fields(config: Any, group: str = "") -> None:
    """Replace the fields of a dataclass, which may be frozen, by what `checked` returns."""
    for name, value in checked(vars(config), type_hints(type(config)), group).items():
        object.__setattr__(config, name, value)


def type_hints(annotated: Any) -> dict[str, Any]:
    """The types of a dataclass's fields or of a function's arguments, with their limits."""
    return inspect.get_annotations(annotated, eval_str=True)


def notes(hint: Any) -> list[str]:
    """What the help says of every argument of a type: the texts in ``Annotated[type, text]``, also in a union."""
    if get_origin(hint) is Annotated:
        return [entry for entry in get_args(hint)[1:] if isinstance(entry, str)]
    return [entry for argument in get_args(hint) for entry in notes(argument)]


class _MisfitError(Exception):
    """What a value should have been."""


def _fitted(hint: Any, value: Any) -> Any:
    """A value as an instance of its type."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _within(arguments[0], next((more for more in arguments[1:] if isinstance(more, Range)), None), value)
    if kind is Literal:
        if value not in arguments:
            raise _MisfitError(f"one of {', '.join(map(str, arguments))}{nearest(value, map(str, arguments))}")
        return value
    if kind in (Union, UnionType):
        faults = []
        for argument in arguments:
            try:
                return _fitted(argument, value)
            except _MisfitError as error:
                faults.append(str(error))
        raise _MisfitError(" or ".join(dict.fromkeys(faults)))
    if kind in (list, tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            raise _MisfitError(NAMES[list])
        if kind is tuple and len(value) != len(arguments):
            raise _MisfitError(f"{len(arguments)} entries")
        try:
            return (tuple if kind is tuple else list)(_fitted(arguments[0], entry) for entry in value)
        except _MisfitError as error:
            raise _MisfitError(f"{error} for each entry") from None
    if kind:
        return value
    if hint in NUMBERS and isinstance(value, NUMBERS[hint]) and not isinstance(value, bool):
        return hint(value)
    if hint is float and isinstance(value, str):
        with suppress(ValueError):
            return float(value)  # YAML 1.1 reads 1e-3 as text
    if hint is str and isinstance(value, PurePath):
        return str(value)
    if hint in NUMBERS or not isinstance(value, hint):
        raise _MisfitError(NAMES.get(hint, hint.__name__))
    return value


def _within(hint: Any, limits: Range | None, value: Any) -> Any:
    """A value as an instance of its type, within limits."""
    if limits is None:
        return _fitted(hint, value)
    try:
        number = _fitted(hint, value)
    except _MisfitError:
        raise _MisfitError(limits.name) from None
    if not limits.low <= number <= limits.high:
        raise _MisfitError(limits.name + (f" up to {limits.high:,}" if MANY <= limits.high < number < inf else ""))
    return number


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested fields with changes, which may be nested or dotted: ``{"loss.alpha": 0.01}``."""
    result = dict(base)
    for name, value in changes.items():
        group, _, rest = str(name).partition(".")
        value = {rest: value} if rest else value
        before = result.get(group)
        within = before if isinstance(before, Mapping) else {}
        result[group] = merged(within, value) if isinstance(value, Mapping) else value
    return result


def made(kind: Any, plain: Mapping[str, Any], group: str = "") -> Any:
    """A dataclass from fields by name, those that are dataclasses themselves nested."""
    hints, values = type_hints(kind), dict(plain)
    for name, value in plain.items():
        if name not in hints:
            raise UsageError(f"{group}{name}: unknown field{nearest(name, hints)}.")
        kinds = (hints[name], *get_args(hints[name]))  # the type itself, or those of a union
        nested = next((hint for hint in kinds if isinstance(hint, type) and is_dataclass(hint)), None)
        if nested and not (value is None and hints[name] is not nested):
            values[name] = made(nested, named(value, f"{group}{name}: "), f"{group}{name}.")
    return kind(**values)


def named(value: Any, where: str = "") -> Mapping[str, Any]:
    """Raise a UsageError where something else is in the place of fields by name."""
    if not isinstance(value, Mapping):
        found = "nothing" if value is None else f"a value of type {type(value).__name__}"
        raise UsageError(f"{where}expected fields (name: value), got {found}.")
    return value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


LARGEST = 2**20  # bytes of a file
DEEPEST = 20  # levels of its fields


def read_yaml(path: Path, what: str) -> Any:
    """The contents of a YAML file.

    Aliases (``*a``) are refused: nested ones expand exponentially ("billion laughs").

    Raises:
        UsageError: if the file is missing or is not valid YAML.
    """
    if not path.exists():
        raise UsageError(f"There is no file {path}; name {what}, a YAML file.")
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise UsageError(f"{path} is not a regular file of at most {LARGEST // 2**20} MB; name {what}, a YAML file.")
    try:
        text, depth = path.read_text(encoding="utf-8-sig"), 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise UsageError(f"{path} contains an alias (*) or more than {DEEPEST} levels; write the fields out.")
        root, plain = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not {what} ({' '.join(str(error).split())}); fix it.") from error
    if isinstance(root, yaml.MappingNode):
        _refuse_doubles(path, root)
    return plain


def _refuse_doubles(path: Path, mapping: yaml.MappingNode) -> None:
    names = [key.value for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} has the field {name!r} twice in one mapping; remove one.")
    for _, value in mapping.value:
        if isinstance(value, yaml.MappingNode):
            _refuse_doubles(path, value)
