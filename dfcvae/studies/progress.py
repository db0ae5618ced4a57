"""How far a whole study is, read from what its runs log, wherever they run."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from dfcvae.studies.one_run import run_folder
from dfcvae.studies.pools import Done
from dfcvae.training.run import METRICS

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
        self.begun, self.before = time.monotonic(), self.done()

    def of(self, name: str) -> int:
        """Steps of a run."""
        return min(self.steps, steps_done(run_folder(self.out, name)))

    def done(self) -> int:
        """Steps of all runs; those that have ended, well or not, count whole."""
        return self.steps * (self.runs - len(self.left)) + sum(map(self.of, self.left))

    def said(self) -> str:
        """The time left, and how far the runs are that are being done: ``12 min to go (all-1 40 %, none-1 80 %)``."""
        done, seconds = self.done(), time.monotonic() - self.begun
        made = done - self.before
        left = f"{seconds / made * (self.steps * self.runs - done) / 60:.0f} min to go" if made > 0 else "begun"
        running = [f"{name} {100 * part // self.steps} %" for name in self.left if (part := self.of(name))]
        return f"{left} ({', '.join(running)})" if running else left


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
                study.left.remove(done.name)
                if done.error:
                    failed[done.name] = done.error
                said = f"FAILED: {done.error}" if done.error else f"{done.seconds / 60:.1f} min"
                number = study.runs - len(study.left)
                if shown:
                    bar.write(f"[{number} of {study.runs}] {done.name}: {said}; {study.said()}")
            bar.n = study.done()
            bar.set_description_str(study.said())
    return failed
