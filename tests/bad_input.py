"""Commands on bad files, whose tables are in test_bad_*.py: each ends in a sentence, and the files stay as they were.

Cases that ought to work are cases too.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dfcvae import cli
from tests import broken

GIVEN = Path("given")


class Case(NamedTuple):
    """One fault.

    Args:
        status: 0 if the command works all the same, 1 for a failure, 2 for a mistaken command line or configuration.
        says: what must be said, as a regular expression.
        line: the command line.
        make: makes files below ``given/``.
    """

    status: int
    says: str
    line: str
    make: Callable[[], object]


def cases(
    kind: str, line: str, make: Callable[[Any], object], rows: Mapping[str, tuple[int, str, Any]]
) -> dict[str, Case]:
    """Cases of one command; a row is the exit status, what is said, and what ``make`` is given."""
    return {
        f"{kind} {name}": Case(status, says, line, partial(make, content))
        for name, (status, says, content) in rows.items()
    }


def run(case: Case, capsys) -> None:
    case.make()
    before = broken.tree_of(GIVEN)
    capsys.readouterr()
    status = cli.main(shlex.split(case.line))
    told = capsys.readouterr()
    shown = told.err + told.out
    assert re.search(case.says, shown), shown
    assert status == case.status, shown
    assert "Traceback" not in shown
    assert "weights_only" not in shown  # PyTorch advises to go without it, and so to execute the file
    assert broken.tree_of(GIVEN) == before
    assert not Path(broken.CANARY).exists()
    assert (status == 0) == ("\ndfcvae: " not in f"\n{told.err}")
