"""A function applied to chunks of rows by several processes."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

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
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    if workers == 1 or len(chunks) <= FEW:
        yield from map(function, chunks)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than processors; forking, after which these use no threads
        results = iter(
            DataLoader(
                Chunks(function, chunks),
                batch_size=None,
                num_workers=workers,
                collate_fn=_unchanged,
                # Fork only on Linux; elsewhere a script needs the usual guard around its main part.
                multiprocessing_context="fork" if sys.platform == "linux" else None,
            )
        )
    for result in results:
        if isinstance(result, Exception):
            raise result
        yield result


class Chunks(Dataset[Any], Generic[Result]):
    """The results of a function, one per chunk; errors are returned, because a worker would wrap those it raises."""

    def __init__(self, function: Callable[[Sequence[int]], Result], chunks: Sequence[Sequence[int]]) -> None:
        self.function, self.chunks = function, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, k: int) -> Result | Exception:
        try:
            return self.function(self.chunks[k])
        except (UserError, OSError) as error:
            return error


def workers_by_default() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unchanged(result: Any) -> Any:
    return result
