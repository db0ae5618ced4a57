"""Several processes of one run: when one ends, the others do too, and say why."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributed import DistError

from dfcvae.errors import UserError

WATCHED_EVERY = 2  # seconds
OF_THE_CONNECTION = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe")


@contextmanager
def ending_together(count: int, rank: int) -> Iterator[None]:
    """Let a process of a run end in words when another one is gone.

    The connection to it breaks, which is an error of the next exchange of gradients; on GPUs, where that may wait for
    minutes, Lightning ends the first process when one of those it started ends, and those watch the first one here.

    Args:
        count: processes of the run.
        rank: which of them this is, as `process_rank` says.

    Raises:
        UserError: if the connection to another process breaks.
    """
    if count == 1:
        yield
        return
    if rank > 0:
        threading.Thread(target=_watch, args=(os.getppid(), rank), daemon=True).start()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, DistError) and not any(words in str(error) for words in OF_THE_CONNECTION):
            raise
        raise UserError(
            f"Process {rank} of the {count} of this run lost the connection to another one, which has ended: what it "
            "says itself, or who killed it, tells why. The last checkpoint is whole; go on from it with --resume auto."
        ) from error


def _watch(parent: int, rank: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCHED_EVERY)
    print(f"dfcvae: the process that started process {rank} of this run has ended, so it ends too.", file=sys.stderr)
    os._exit(1)  # the main thread may be waiting in an exchange that never ends
