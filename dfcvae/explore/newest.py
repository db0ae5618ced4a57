"""Work that is asked for faster than it can be done."""

from collections.abc import Awaitable, Callable


class Newest:
    """Runs an asynchronous function for the newest request, and for no older one that is still waiting.

    A slider sends values faster than pictures can be drawn. Requests that come during a run are answered by one run
    after it, so that no backlog builds up and the last value is always drawn.

    Args:
        work: reads what it needs itself when it starts.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]):
        self.work = work
        self.asked = self.running = False

    async def __call__(self) -> None:
        """Ask for a run."""
        self.asked = True
        if self.running:
            return
        self.running = True
        try:
            while self.asked:
                self.asked = False
                await self.work()
        finally:
            self.running = False
