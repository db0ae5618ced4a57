"""Work on chunks of images by all processors."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from dfcvae.errors import UserError

Result = TypeVar("Result")

CHUNK = 64  # images that one worker takes at a time
FEW = 8  # chunks, which are done before processes would have started


def in_chunks(function: Callable[[Sequence[int]], Result], rows: Sequence[int], workers: int) -> Iterator[Result]:
    """The results of a function on runs of ``CHUNK`` rows, in order, from several processes.

    Processes, not threads: half of the work on a small image holds Python's lock. They are PyTorch's data-loading
    workers, so that they end with this process whatever ends it.

    Raises:
        UserError, OSError: that the function raised.
    """
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    if workers == 1 or len(chunks) <= FEW:
        yield from map(function, chunks)
        return
    with warnings.catch_warnings():
        # Of more workers than processors, which is a choice; and of forking, after which these use no threads.
        warnings.simplefilter("ignore")
        results = iter(
            DataLoader(
                Chunks(function, chunks),
                batch_size=None,
                num_workers=workers,
                collate_fn=_as_it_is,
                # Elsewhere a forked process may not live; there a script needs the usual guard around its main part.
                multiprocessing_context="fork" if sys.platform == "linux" else None,
            )
        )
    for result in results:
        if isinstance(result, Exception):
            raise result
        yield result


class Chunks(Dataset[Any], Generic[Result]):
    """The results of a function, one for each chunk; a mistake of the user among them, which workers cannot raise."""

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


def _as_it_is(result: Any) -> Any:
    return result
