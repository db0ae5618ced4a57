"""One training of a study, from nothing or from where it was; safe to start twice."""

import json
import time
from pathlib import Path

from filelock import FileLock

from dfcvae.config import Experiment
from dfcvae.data import Splits, load_faces
from dfcvae.errors import UserError
from dfcvae.files import write_whole
from dfcvae.reports.comparison import Model
from dfcvae.reports.evaluated import Evaluated, Judge, evaluate_model
from dfcvae.training import train
from dfcvae.training.cost import read_cost
from dfcvae.training.environment import pick_device


def run_folder(out: Path, name: str) -> Path:
    """Where a run of a study lies."""
    return out / "runs" / name


def train_once(experiment: Experiment, folder: Path, *, splits: Splits | None = None, progress: bool = False) -> Path:
    """Train into a folder, or go on there; a finished run is left as it is.

    A lock, which ends with the process that holds it, keeps a second process waiting: that of a study that was killed
    and started again while its trainings live on.

    Raises:
        UserError: if the folder holds a run with other settings, or the experiment cannot be trained.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        train(experiment, folder, resume="auto", splits=splits, progress=progress)
    training, images = experiment.training, read_cost(folder).get("images")
    if splits and images:
        budget = training.total_steps(len(splits["train"]) // training.batch_size) * training.batch_size
        if images > budget:  # a resumed run may be made longer, but has no earlier state
            raise UserError(
                f"{folder} was trained on {images:,} images, but the budget is {budget:,}. Use the number of epochs it "
                "was begun with, or another folder."
            )
    return folder


def measure_once(
    experiment: Experiment, out: Path, name: str, judge: Judge | None, *, splits: Splits, progress: bool = False
) -> Evaluated:
    """The measures of a finished run on the test split, kept in ``measured/NAME.safetensors``."""
    model = Model.load(run_folder(out, name))
    file = out / "measured" / f"{name}.safetensors"
    return evaluate_model(model.vae, experiment.data, splits, judge=judge, kept=file, progress=progress)


def do_run(experiment: Experiment, out: Path, name: str, judge: Path | None) -> float:
    """Train and measure one run of a study, as a process of its own does it, and note in ``done/`` that it is finished.

    Returns:
        The seconds it took.

    Raises:
        UserError: as `train_once`.
    """
    begun = time.perf_counter()
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, run_folder(out, name), splits=splits)
    measure_once(experiment, out, name, Judge.load(judge, pick_device()) if judge else None, splits=splits)
    (out / "done").mkdir(exist_ok=True)
    write_whole(out / "done" / f"{name}.json", json.dumps(experiment.as_dict(), indent=2) + "\n")
    return time.perf_counter() - begun
