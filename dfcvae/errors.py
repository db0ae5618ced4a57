"""Mistakes of the user, told in sentences."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A bad path, file or value: says what was expected, what came and what to do. Shown without a traceback."""


def nearest(value: object, valid: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the valid choice closest to a mistyped one, or nothing."""
    close = get_close_matches(str(value), list(valid), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
