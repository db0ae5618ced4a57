"""Types of numbers with limits, and the check that Python, YAML and the command line share."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from reprlib import repr as shortened
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from dfcvae.errors import UsageError, nearest

FINITE = sys.float_info.max
MANY = 10**9  # of anything: more is a slip of the keyboard, and no computer has room for it


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

NAMES = {str: "text", bool: "true or false", int: "an integer", float: "a number", list: "a list", type(None): "null"}


def check(values: Mapping[str, Any], hints: Mapping[str, Any], group: str = "") -> None:
    """Raise a UsageError for the first value that is not of its type, or outside its limits.

    Args:
        values: by name.
        hints: their types, by name.
        group: prefix of a name in the message: ``"training."``.
    """
    for name, value in values.items():
        if wanted := _expected(hints[name], value):
            raise UsageError(f"{group}{name}: expected {wanted}, got {shortened(value)}.")


def check_fields(config: Any, group: str = "") -> None:
    """`check` the fields of a dataclass."""
    check(vars(config), type_hints(type(config)), group)


def type_hints(annotated: Any) -> dict[str, Any]:
    """The types of a dataclass's fields or of a function's arguments, with their limits."""
    return inspect.get_annotations(annotated, eval_str=True)


def notes(hint: Any) -> list[str]:
    """What the help says of every argument of a type: the texts in ``Annotated[type, text]``, also in a union."""
    if get_origin(hint) is Annotated:
        return [entry for entry in get_args(hint)[1:] if isinstance(entry, str)]
    return [entry for argument in get_args(hint) for entry in notes(argument)]


def _expected(hint: Any, value: Any) -> str | None:
    """What a value should have been; None if it is that."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind is Annotated:
        base, *more = arguments
        limits = next((entry for entry in more if isinstance(entry, Range)), None)
        if limits is None:
            return _expected(base, value)
        if _expected(base, value):
            return limits.name
        above = f" up to {limits.high:,}" if MANY <= limits.high < value < inf else ""
        return None if limits.low <= value <= limits.high else limits.name + above
    if kind is Literal:
        return None if value in arguments else f"one of {', '.join(map(str, arguments))}{nearest(value, arguments)}"
    if kind in (Union, UnionType):
        faults = [_expected(argument, value) for argument in arguments]
        return None if None in faults else " or ".join(dict.fromkeys(map(str, faults)))
    if kind in (list, tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            return NAMES[list]
        return next((f"{fault} for each entry" for entry in value if (fault := _expected(arguments[0], entry))), None)
    if kind:
        return None
    if hint is int or hint is float:
        fits = isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    else:
        fits = isinstance(value, hint)
    return None if fits else NAMES.get(hint, hint.__name__)
