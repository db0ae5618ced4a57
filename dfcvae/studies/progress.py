"""How far a whole study is, read from what its runs log, wherever they run."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from dfcvae.metrics import METRICS
from dfcvae.studies.one_run import run_folder
from dfcvae.studies.pools import Done

LAST_ROWS = 8192  # bytes of a log that hold its last row for certain


def steps_done(folder: Path) -> int:
    """Training steps that a run has logged; 0 for one that has not begun."""
    file = folder / METRICS
    if not file.is_file():
        return 0
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - LAST_ROWS))
        rows = opened.read().split(b"\n")[:-1]  # what follows the last end of a line may be cut
    step = rows[-1].split(b",")[0] if rows else b""
    return int(step) + 1 if step.isdigit() else 0  # not of the heading


class StudyProgress:
    """The steps of a study, and the time that is left if they go on at their pace since it was started.

    Args:
        out: folder of the study.
        runs: how many it has.
        left: names of those that are not finished.
        steps: of each.
    """

    def __init__(self, out: Path, runs: int, left: Sequence[str], steps: int):
        self.out, self.runs, self.left, self.steps = out, runs, list(left), steps
        self.begun, self.made = time.monotonic(), 0  # steps since then of runs that have ended
        self.before = {name: self.of(name) for name in left}

    def of(self, name: str) -> int:
        """Steps of a run."""
        return min(self.steps, steps_done(run_folder(self.out, name)))

    def since(self, name: str) -> int:
        """Steps of a run since the study was started; one that is resumed loses those after its last checkpoint."""
        done = self.of(name)
        self.before[name] = min(self.before[name], done)
        return done - self.before[name]

    def ended(self, name: str) -> None:
        """Take a run, finished or failed, from those that are left."""
        self.made += self.since(name)
        self.left.remove(name)

    def done(self) -> int:
        """Steps of all runs; those that have ended, well or not, count whole."""
        return self.steps * (self.runs - len(self.left)) + sum(map(self.of, self.left))

    def said(self) -> str:
        """The time left, and how far the runs are that are being done: ``12 min to go (all-1 40 %, none-1 80 %)``."""
        running = {name: made for name in self.left if (made := self.since(name))}
        made, missing = self.made + sum(running.values()), self.steps * self.runs - self.done()
        pace = (time.monotonic() - self.begun) / made if made else None
        left = f"{pace * missing / 60:.0f} min to go" if pace is not None else "begun"
        parts = [f"{name} {100 * self.of(name) // self.steps} %" for name in running]
        return f"{left} ({', '.join(parts)})" if parts else left


def followed(ended: Iterable[Done | None], study: StudyProgress, *, shown: bool) -> dict[str, str]:
    """Wait for all runs, and show how far they are: a bar on a terminal, and a line for each run that ends.

    Args:
        ended: the runs as they end, with None now and then while there are none.
        study: those that are not finished.
        shown: say anything.

    Returns:
        The errors of those that failed, by name.
    """
    failed = {}
    layout = "{percentage:3.0f}%|{bar:20}| {elapsed}, {desc}"
    with tqdm(total=study.steps * study.runs, bar_format=layout, disable=None if shown else True) as bar:
        for done in ended:
            if done is not None:
                study.ended(done.name)
                if done.error:
                    failed[done.name] = done.error
                said = f"FAILED: {done.error}" if done.error else f"{done.seconds / 60:.1f} min"
                number = study.runs - len(study.left)
                if shown:
                    bar.write(f"[{number} of {study.runs}] {done.name}: {said}; {study.said()}")
            bar.n = study.done()
            bar.set_description_str(study.said())
    return failed
