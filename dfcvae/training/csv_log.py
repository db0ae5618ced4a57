"""Metrics as a CSV file that survives a resumed run. (Lightning's own logger deletes what was logged before.)"""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from dfcvae.training.environment import process_rank


class CSVLog(Logger):
    """One row per logged step: ``step``, ``epoch`` and a column per metric, empty where nothing was logged.

    Args:
        path: the CSV file. Rows up to ``resumed_at`` are kept, but neither later ones, of a run that died after its
            last checkpoint, nor the one that Lightning writes where a run stops.
        columns: names of the metrics.
        every: steps between two rows of training metrics.
        resumed_at: the step a run continues from; 0 starts the file anew.
    """

    def __init__(self, path: Path, columns: list[str], every: int, resumed_at: int = 0):
        super().__init__()
        self.path = path
        self.columns = ["step", "epoch", *columns]
        if process_rank():
            return  # another process writes
        kept = []
        if resumed_at and path.is_file():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) < resumed_at]
            kept = [row for row in rows if (int(row["step"]) + 1) % every == 0 or not row["train/total"]]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> int:
        return 0

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, **{name: metrics[name] for name in self.columns if name in metrics}}
        if len(row) > 1:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow(row)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder holds its configuration."""


def last_validation(path: Path) -> dict[str, float]:
    """The ``val/...`` metrics of the last validation in a CSV file of `CSVLog`."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/total"]]
    return {name: float(value) for name, value in rows[-1].items() if name.startswith("val/")}
