"""A process of its own for every row: its settings of memory and its peak are nobody else's."""

import multiprocessing
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any

import torch

from dfcvae.errors import UserError

PATIENCE = 600  # seconds that one request may take
GRACE = 5  # seconds that a process has to end by itself
SENTENCE = 160  # characters of an error message that are shown


class RowError(UserError):
    """A row that could not be measured; the text is a sentence that says why."""


class Child:
    """A process that waits asleep until it is asked.

    Args:
        build: makes what is asked, in the child, out of ``arguments``; a function at the top level of a module.

    The process ends when the pipe to it is closed, however that comes about.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any):
        context = multiprocessing.get_context("spawn")  # a fork would inherit threads, memory and CUDA
        self.connection, end = context.Pipe()
        # not a daemon: these may have no children, and a data loader has some
        self.process = context.Process(target=_serve, args=(end, build, arguments))
        self.process.start()
        end.close()

    def ask(self, request: str, *arguments: Any) -> Any:
        """The answer to one request.

        Raises:
            RowError: the child failed, ended, or gave no answer in time.
        """
        self.send(request, *arguments)
        return self.receive()

    def send(self, request: str, *arguments: Any) -> None:
        """Ask without waiting for the answer."""
        try:
            self.connection.send((request, arguments))
        except OSError:
            raise RowError(self._ended()) from None

    def receive(self) -> Any:
        """Wait for the answer to what was sent."""
        try:
            if not self.connection.poll(PATIENCE):
                raise RowError(f"No answer within {PATIENCE} seconds.")
            error, answer = self.connection.recv()
        except (EOFError, OSError):
            raise RowError(self._ended()) from None
        if error:
            raise RowError(error)
        return answer

    def hang_up(self) -> None:
        """Tell the process to end, without waiting for it."""
        self.connection.close()

    def close(self) -> None:
        """End the process."""
        self.hang_up()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _ended(self) -> str:
        self.process.join(GRACE)
        return f"Its process ended (exit code {self.process.exitcode}); the machine may be out of memory."


def close_all(children: Iterable[Child]) -> None:
    """End several processes at the same time."""
    children = list(children)
    for child in children:
        child.hang_up()
    for child in children:
        child.close()


def _serve(connection: Connection, build: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    served = None
    try:
        while True:
            request, values = connection.recv()
            try:
                served = build(*arguments) if served is None else served
                error, answer = None, getattr(served, request)(*values)
            except Exception as fault:
                error, answer = sentence(fault), None
            connection.send((error, answer))
    except (EOFError, OSError, KeyboardInterrupt):  # nobody asks any more
        return


def sentence(error: Exception) -> str:
    """An error as one sentence."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "Out of memory; take a smaller batch."
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:SENTENCE].rstrip('.')}."
