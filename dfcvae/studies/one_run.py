"""One training of a study, from nothing or from where it was; safe to start twice."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dfcvae.config import Experiment
from dfcvae.data import Splits, load_faces
from dfcvae.errors import UserError
from dfcvae.files import write_whole
from dfcvae.reports.comparison import Model
from dfcvae.reports.evaluated import Evaluated, evaluate_model
from dfcvae.reports.observers import JudgeFiles, Observers
from dfcvae.run import read_cost
from dfcvae.training import train


@dataclass(frozen=True)
class Place:
    """Where a study lies, and who looks at its models.

    Args:
        out: its folder.
        judge: files of judges; None lets the study train an attribute network, if the faces have attributes.
        fid: weights of Inception for FID and KID: a file, or ``"download"``; None leaves them out.
        lpips: download what LPIPS needs, where it is missing.
    """

    out: Path
    judge: JudgeFiles = None
    fid: str | None = None
    lpips: bool = False

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return run_folder(self.out, name)

    def observers(self) -> Observers:
        """Those who look.

        Raises:
            UserError: if one cannot be loaded.
        """
        return Observers.load(self.judge, self.fid, self.lpips)


def run_folder(out: Path, name: str) -> Path:
    """Where a run of a study lies."""
    return out / "runs" / name


def last_model(folder: Path) -> Model:
    """The model of a run after its last step.

    Not that of its best epoch, which every loss chooses by itself, so that runs would be stopped at different times.
    """
    return Model.load(folder / "checkpoints" / "last.ckpt")


def train_once(experiment: Experiment, folder: Path, *, splits: Splits | None = None, progress: bool = False) -> Path:
    """Train into a folder, or go on there; a finished run is left as it is.

    A lock, which ends with the process that holds it, keeps a second process waiting: that of a study that was killed
    and started again while its trainings live on.

    Raises:
        UserError: if the folder holds a run with other settings, or the experiment cannot be trained.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        train(experiment, folder, resume="auto", splits=splits, mixture=False, progress=progress)
    training, images = experiment.training, read_cost(folder).get("images")
    if splits and images:
        budget = training.total_steps(len(splits["train"]) // training.batch_size) * training.batch_size
        if images > budget:  # a resumed run may be made longer, but has no earlier state
            raise UserError(
                f"{folder} was trained on {images:,} images, but the budget is {budget:,}. Use the number of epochs it "
                "was begun with, or another folder."
            )
    return folder


def measure_once(experiment: Experiment, place: Place, name: str, observers: Observers, splits: Splits) -> Evaluated:
    """The measures of a finished run on the test split, kept in ``measured/NAME.safetensors``."""
    vae, file = last_model(place.run(name)).vae, place.out / "measured" / f"{name}.safetensors"
    return evaluate_model(vae, experiment.data, splits, observers, kept=file, progress=False)


def do_run(experiment: Experiment, place: Place, name: str) -> float:
    """Train and measure one run of a study, as a process of its own does it, and note in ``done/`` that it is finished.

    Returns:
        The seconds it took.

    Raises:
        UserError: if it cannot be trained, or an observer cannot be loaded.
    """
    begun = time.perf_counter()
    observers = place.observers()  # before the training, which a mistaken file would make worthless
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, place.run(name), splits=splits)
    measure_once(experiment, place, name, observers, splits)
    (place.out / "done").mkdir(exist_ok=True)
    write_whole(place.out / "done" / f"{name}.json", json.dumps(experiment.as_dict(), indent=2) + "\n")
    return time.perf_counter() - begun


def is_done(experiment: Experiment, place: Place, name: str) -> bool:
    """Whether a run was finished, with these settings, and measured."""
    file = place.out / "done" / f"{name}.json"
    return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and place.run(name).is_dir()
