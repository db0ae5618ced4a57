"""Metrics as a CSV file that survives a resumed run. (Lightning's own logger deletes what was logged before.)"""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from dfcvae.errors import UserError
from dfcvae.files import whole
from dfcvae.training.environment import process_rank


class CSVLog(Logger):
    """One row per logged step: ``step``, ``epoch`` and a column per metric, empty where nothing was logged.

    Args:
        path: the CSV file. Rows up to ``resumed_at`` are kept, but neither later ones, of a run that died after its
            last checkpoint, nor those of the step and the validation where a run stopped within an epoch.
        columns: names of the metrics.
        every: steps between two rows of training metrics.
        epoch: steps between two rows of validation metrics.
        last: steps of the whole run; both kinds have a row there.
        resumed_at: the step a run continues from; 0 starts the file anew.
    """

    def __init__(self, path: Path, columns: list[str], every: int, epoch: int, last: int, resumed_at: int = 0):
        super().__init__()
        self.path = path
        self.columns = ["step", "epoch", *columns]
        if process_rank():
            return  # another process writes
        kept = []
        if resumed_at and path.is_file():
            for row in _rows(path):
                steps, between = int(row["step"]) + 1, every if row["train/total"] else epoch
                if steps <= resumed_at and (steps % between == 0 or steps == last):
                    kept.append(row)
        with whole(path) as temporary, temporary.open("w", newline="") as file:
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
    """The ``val/...`` metrics of the last validation in a CSV file of `CSVLog`.

    Raises:
        UserError: if the file is damaged, or holds none.
    """
    rows = [row for row in _rows(path) if row["val/total"]]
    if not rows:
        raise UserError(f"{path} holds no validation; it is damaged, or of a run that has not come so far.")
    return {name: float(value) for name, value in rows[-1].items() if name.startswith("val/")}


def _rows(path: Path) -> list[dict[str, str]]:
    """All whole rows: the last one of a process that was killed, or whose disk was full, may be cut."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader((line for line in file if line.endswith("\n")), strict=True))
        for row in rows:
            _ = int(row["step"]), row["train/total"], row["val/total"]
            _ = [float(cell) for cell in row.values() if cell != ""]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({error!r}); correct it, or move it elsewhere.") from error
    return rows
