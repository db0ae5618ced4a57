"""A function applied to chunks of rows by several processes."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from dfcvae.errors import UserError

Result = TypeVar("Result")

CHUNK = 64  # rows that one worker processes at a time
FEW = 8  # chunks that are done before processes would have started


def in_chunks(function: Callable[[Sequence[int]], Result], rows: Sequence[int], workers: int) -> Iterator[Result]:
    """The results of a function on runs of ``CHUNK`` rows, in order, from several processes.

    Processes, not threads: half of the work on a small image holds the GIL. They are PyTorch's data-loading workers,
    which exit with this process even if it is killed.

    Raises:
        UserError, OSError: raised by the function.
    """
    if workers == 1 or len(rows) <= FEW * CHUNK:
        yield from (function(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))
        return
    # Fork only on Linux; elsewhere a script needs the usual guard around its main part.
    context = "fork" if sys.platform == "linux" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than processors; forking, after which these use no threads
        loader: DataLoader[Any] = DataLoader(
            rows,  # type: ignore[arg-type]  # anything with a length and items
            CHUNK,
            num_workers=workers,
            collate_fn=partial(caught, function),
            multiprocessing_context=context,
        )
        results = iter(loader)
    for result in results:
        if isinstance(result, Exception):
            raise result
        yield result


def caught(function: Callable[[Sequence[int]], Result], rows: Sequence[int]) -> Result | Exception:
    """The result of a function, or its error: a worker would wrap one that it raises."""
    try:
        return function(rows)
    except (UserError, OSError) as error:
        return error


def workers_by_default() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
