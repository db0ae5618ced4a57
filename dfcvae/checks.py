"""Checks of configurations, whatever their fields are."""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import reduce
from typing import Any, get_type_hints

from dfcvae.errors import UserError

FINITE = sys.float_info.max
MANY = 10**9  # of anything: more is a slip of the keyboard, and no computer has room for it


def check_groups(plain: Any, config: type, name: str = "An experiment") -> None:
    """Raise a TypeError where plain values have something else in the place of a group of fields."""
    if not isinstance(plain, dict):
        came = "nothing" if plain is None else f"a value of type {type(plain).__name__}"
        raise TypeError(f"{name} should hold fields (name: value), but {came} came")
    for field_name, kind in get_type_hints(config).items():
        if is_dataclass(kind) and isinstance(kind, type) and field_name in plain:
            check_groups(plain[field_name], kind, field_name)


def check_ranges(config: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise a UserError for the first number outside its range, both ends allowed."""
    for path, (low, high) in ranges.items():
        value = reduce(getattr, path.split("."), config)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not low <= number <= high:
                limits = f"between {low:g} and {high:g}" if high < MANY else f"at least {low:g}"
                if number > high >= MANY:
                    limits = f"at most {high:g}"
                came = f"{number:g}" if isinstance(number, float) or number < MANY**9 else "more"
                raise UserError(f"{path} should be {limits}, but {came} came.")
