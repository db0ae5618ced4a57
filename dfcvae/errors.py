"""User-facing errors."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(Exception):
    """A bad path, file or value: what was expected, what was found, what to do. Shown without a traceback."""


class UsageError(UserError):
    """An invalid command line or configuration."""


class PreemptedError(Exception):
    """A signal ended a run after a checkpoint, from which it can be resumed."""


def nearest(value: object, valid: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the valid choice closest to a mistyped one, or nothing.

    Capitals do not count, initials do (lr is close to learning_rate), and a word or its beginning is close to what
    contains it (smile to Smiling).
    """
    typed, names = str(value).lower(), {name.lower(): name for name in valid}
    word, ends = typed.rpartition(".")[2], {name: name.rpartition(".")[2] for name in names}
    close = [name for name, end in ends.items() if len(word) > 1 and word == "".join(p[:1] for p in end.split("_"))]
    close = close or get_close_matches(typed, names, n=1)
    close = close or [name for name in names if len(typed) > 2 and (typed in name or name.startswith(typed[:-1]))]
    return f" (did you mean {names[close[0]]!r}?)" if close else ""


def some(names: Sequence[str]) -> str:
    """The number of names and the first few: ``"5 (a, b, c, ...)"``."""
    shown = ", ".join(printable(name) for name in names[:3])
    return f"{len(names):,} ({shown}{', ...' if len(names) > 3 else ''})"


def printable(name: str) -> str:
    """A file name on one line and in any terminal's encoding: what is not printable is escaped."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return plain.encode("utf-8", "backslashreplace").decode()
