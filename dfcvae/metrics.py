"""The metrics and the cost of a run: a CSV file that survives resuming, Weights & Biases or TensorBoard, progress."""

import csv
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from math import ceil, isfinite, isnan, nan
from netrc import NetrcParseError, netrc
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dfcvae.config import Experiment
from dfcvae.device import peak_memory
from dfcvae.errors import UserError
from dfcvae.files import atomic_file, write_atomically
from dfcvae.images import to_uint8

METRICS, COST = "metrics.csv", "cost.json"
LOG_EVERY = 10  # steps between two rows of training metrics
WANDB_ID = "wandb-id"  # file in the run folder
CONNECT_SECONDS = 20
COLLAPSED_NATS, PATIENCE_STEPS = 1.0, 300  # earlier, an untrained encoder looks the same
LINE_SECONDS = 60  # between two lines in a log file

Row = dict[str, str]


class MetricsLog:
    """One CSV row per logged step: ``step`` (from 0), ``epoch`` and a column per metric, empty where not logged.

    Of a run that is resumed after some steps, later rows are dropped, and so are rows of the step and the validation
    where a run that is extended now ended within an epoch. ``validated`` are the numbers of steps after which it was
    validated.
    """

    def __init__(
        self,
        out: Path,
        experiment: Experiment,
        terms: Iterable[str],
        steps_per_epoch: int,
        resumed_at: int = 0,
    ):
        columns = [f"{stage}/{term}" for stage in ("train", "val") for term in (*terms, "total")]
        columns += ["val/active_units", "lr"] + ["alpha"] * bool(experiment.loss.kl_warmup_steps)
        self.file, self.columns = out / METRICS, ["step", "epoch", *columns]
        self.steps_per_epoch = steps_per_epoch
        last = experiment.training.total_steps(steps_per_epoch)
        rows: list[Row] = []
        for row in read_rows(self.file) if resumed_at and self.file.is_file() else ():
            steps, between = int(row["step"]) + 1, LOG_EVERY if row["train/total"] else steps_per_epoch
            if steps <= resumed_at and (steps % between == 0 or steps == last):
                rows.append(row)
        with atomic_file(self.file) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        self.validated = {int(row["step"]) + 1 for row in rows if row["val/total"]}
        self.wandb = _wandb_run(experiment, out, resumed_at > 0) if experiment.training.logger == "wandb" else None
        self.tensorboard: Any = None
        if experiment.training.logger == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard = SummaryWriter(str(out / "tensorboard"), purge_step=resumed_at or None)

    def write(self, steps: int, metrics: Mapping[str, float]) -> None:
        """Add a row of metrics after this many steps."""
        step = steps - 1
        row = {"step": step, "epoch": step // self.steps_per_epoch, **metrics}
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        if "val/total" in metrics:
            self.validated.add(steps)
        if self.wandb is not None:
            self.wandb.log(dict(metrics), step=step)
        if self.tensorboard is not None:
            for name, value in metrics.items():
                self.tensorboard.add_scalar(name, value, step)

    def draw(self, steps: int, pictures: Mapping[str, Tensor]) -> None:
        """Log pictures (3, H, W) in [0, 1] to Weights & Biases."""
        if self.wandb is not None:
            import wandb

            arrays = {name: to_uint8(picture).permute(1, 2, 0).numpy() for name, picture in pictures.items()}
            images = {f"pictures/{name}": wandb.Image(array) for name, array in arrays.items()}
            self.wandb.log(images, step=steps - 1)

    def close(self) -> None:
        """End the further logger; otherwise the next run of this process would be logged into it."""
        if self.wandb is not None:
            self.wandb.finish()
        if self.tensorboard is not None:
            self.tensorboard.close()


class Progress:
    """The progress of a run on stderr, from step ``start`` to ``last``, if it is shown.

    A line per epoch, which stays, and a bar below it; in a log file, a line a minute.
    """

    def __init__(self, experiment: Experiment, start: int, last: int, steps_per_epoch: int, shown: bool):
        self.images, self.last, self.shown = experiment.training.batch_size, last, shown
        self.steps_per_epoch = steps_per_epoch
        self.start, self.done, self.train = start, start, nan
        self.begun = self.written = perf_counter()
        self.bar = tqdm(
            total=last * self.images,
            initial=start * self.images,
            unit=" images",
            unit_scale=True,
            ncols=80,
            mininterval=0.5,
            leave=False,
            disable=not (shown and sys.stderr.isatty()),
        )
        self.headed = False

    def step(self, train: float | None) -> None:
        """Count a step; ``train`` is the mean total of its images, where it is known."""
        self.done += 1
        self.bar.update(self.images)
        if train is not None:
            self.train = train
            self.bar.set_postfix_str(f"total {train:.3g}", refresh=False)
        if self.bar.disable and self.shown and perf_counter() - self.written > LINE_SECONDS:
            self.written = perf_counter()
            self._write(f"step {self.done:,} of {self.last:,}, total {self.train:.4g}, {self._speed()}")

    def validated(self, metrics: Mapping[str, float]) -> None:
        """Write the line of an epoch: the terms are those of the validation."""
        terms = [name for name in metrics if name not in ("val/total", "val/active_units")]
        if not self.headed:
            names = [name.removeprefix("val/").removeprefix("features/") for name in terms]
            self._write(f"{'epoch':<8}{'step':>9}{'train':>9}{'val':>9}" + "".join(f"{name:>9}" for name in names))
            self.headed = True
        epochs = f"{ceil(self.done / self.steps_per_epoch)}/{ceil(self.last / self.steps_per_epoch)}"
        values = [self.train, metrics["val/total"], *(metrics[name] for name in terms)]
        self._write(
            f"{epochs:<8}{self.done:>9,}"
            + "".join(f"{'-' if isnan(value) else format(value, '.4g'):>9}" for value in values)
            + (f"  {self._speed()}" if self.bar.disable else "")  # which the bar shows
        )

    def _speed(self) -> str:
        """Images per second, and the time left, since this process started or resumed the run."""
        seconds = (perf_counter() - self.begun) / max(1, self.done - self.start)
        left = f", {timedelta(seconds=round(seconds * (self.last - self.done)))} left" if self.done < self.last else ""
        return f"{self.images / seconds:.3g} images/s{left}"

    def _write(self, line: str) -> None:
        if self.shown:
            self.bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


class Cost:
    """The cost of a run, written to ``cost.json`` with every checkpoint; a resumed run adds to it.

    ``images`` seen in training, ``training_seconds`` of these steps alone, ``images_per_second`` of both,
    ``total_seconds`` including data, preparation, validation and pictures, and ``peak_memory_mib`` of the process (of
    the GPU, if used; null where unknown). Steps that a killed process lost are counted once, when repeated.
    """

    def __init__(self, out: Path, images_per_step: int, device: torch.device, resumed: bool):
        self.file, self.images_per_step, self.device = out / COST, images_per_step, device
        self.begun = perf_counter()
        before = read_cost(out) if resumed else {}
        self.spent = {key: before.get(key) or 0 for key in ("training_seconds", "total_seconds", "peak_memory_mib")}

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count the time of this block as training."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.spent["training_seconds"] += perf_counter() - begun

    def save(self, step: int) -> None:
        """Write the cost of the first ``step`` steps."""
        images, seconds, peak = step * self.images_per_step, self.spent["training_seconds"], peak_memory(self.device)
        written = {
            "images": images,
            "training_seconds": round(seconds, 2),
            "total_seconds": round(self.spent["total_seconds"] + perf_counter() - self.begun, 2),
            "images_per_second": round(images / seconds, 2) if seconds else None,
            "peak_memory_mib": None if peak is None else max(round(peak / 2**20), self.spent["peak_memory_mib"]),
        }
        write_atomically(self.file, json.dumps(written, indent=2) + "\n")


def read_cost(out: Path) -> dict[str, Any]:
    """What a run has cost so far; empty for a run folder without the file, a UserError if it is corrupted."""
    file = out / COST
    try:
        cost = json.loads(file.read_text()) if file.is_file() else {}
        if not isinstance(cost, dict) or not all(isinstance(value, int | float | None) for value in cost.values()):
            raise ValueError("expected numbers by name")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is corrupted ({error}); move it elsewhere to restart the cost count.") from error
    return cost


def history(out: Path) -> list[dict[str, float]]:
    """The rows of metrics of a run, each with the cells that are not empty; ``step`` and ``epoch`` are integers.

    Raises:
        UserError: if the file of metrics is missing or corrupted, as the next functions do.
    """
    rows = [{name: float(cell) for name, cell in row.items() if cell} for row in read_rows(out / METRICS)]
    return [row | {"step": int(row["step"]), "epoch": int(row["epoch"])} for row in rows]


def last_validation(out: Path) -> dict[str, float]:
    """The ``val/...`` metrics of the last validation of a run; a UserError if there was none."""
    rows = [row for row in read_rows(out / METRICS) if row["val/total"]]
    if not rows:
        raise UserError(f"{out / METRICS} holds no validation; the run ended before the first one.")
    return {name: float(value) for name, value in rows[-1].items() if name.startswith("val/")}


def read_rows(file: Path) -> list[Row]:
    """All complete rows: the last one of a killed process or a full disk may be cut."""
    try:
        with file.open(newline="") as lines:
            rows = list(csv.DictReader((line for line in lines if line.endswith("\n")), strict=True))
        for row in rows:
            _ = int(row["step"]), row["train/total"], row["val/total"]
            _ = [float(cell) for cell in row.values() if cell != ""]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise UserError(f"{file} is missing or corrupted ({error!r}); repair it, or move it elsewhere.") from error
    return rows


def check_validation(metrics: dict[str, float], step: int) -> None:
    """Raise a UserError for a validation that is not finite, and warn of a collapsed posterior."""
    wrong = [name for name, value in metrics.items() if not isfinite(value)]
    if wrong:
        raise UserError(
            f"Training diverged before step {step:,}: {', '.join(wrong)} not finite. The checkpoint of the previous "
            "epoch is intact. Start a new run with a lower training.learning_rate, or with training.clip_norm."
        )
    if step >= PATIENCE_STEPS and (metrics["val/kl"] < COLLAPSED_NATS or not metrics["val/active_units"]):
        warnings.warn(
            f"The posterior has collapsed: KL {metrics['val/kl']:.3g} nats, {metrics['val/active_units']:.0f} active "
            "units. The decoder ignores z, and every reconstruction is the mean face. Lower loss.alpha, or raise "
            "loss.beta; the table printed at the start says what they mean (beta_eff of 1 is the ELBO of unit noise).",
            stacklevel=1,
        )


def check_logger(logger: str | None) -> None:
    """Raise a UserError if the package of a logger is not installed."""
    if logger and find_spec(logger) is None:
        raise UserError(f"training.logger: {logger} is not installed; run `pip install {logger}`, or set it to null.")


def _wandb_run(experiment: Experiment, out: Path, resumed: bool) -> Any:
    """A run of Weights & Biases in ``out/wandb``, named after the folder, grouped by the experiment.

    Respects ``WANDB_MODE``; without an account, or when the server does not answer, it logs offline. A resumed run
    continues under the id saved in the run folder.
    """
    import wandb

    file = out / WANDB_ID
    if not (resumed and file.is_file()):
        write_atomically(file, token_hex(4) + "\n")
    wanted: Any = os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
    for mode in (wanted, "offline"):
        try:
            return wandb.init(
                project="dfcvae",
                group=experiment.name,
                name=out.name,
                dir=out,
                id=file.read_text().strip(),
                resume="allow" if mode == "online" else None,  # offline, `wandb sync` joins the parts of a run
                mode=mode,
                config=experiment.as_dict(),
                settings=wandb.Settings(init_timeout=CONNECT_SECONDS, login_timeout=CONNECT_SECONDS),
            )
        except (wandb.errors.Error, OSError) as error:
            print(f"wandb does not answer ({error}); logging offline into {out}/wandb. Upload it later: wandb sync.")
    raise AssertionError("offline logging starts without a server")


def _has_account() -> bool:
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
