"""Whether a run goes on, and from which checkpoint."""

from pathlib import Path
from typing import Any, Literal

from dfcvae.config import Experiment, flat
from dfcvae.errors import UserError
from dfcvae.files import remove_leftovers
from dfcvae.training.environment import process_rank
from dfcvae.vae import load_checkpoint

Resume = bool | Literal["auto"]


def last_file(out: Path) -> Path:
    """The checkpoint from which the run in a folder is resumed."""
    return out / "checkpoints" / "last.ckpt"


def checkpoint_to_resume(experiment: Experiment, out: Path, resume: Resume) -> dict[str, Any] | None:
    """The checkpoint that a run goes on from, or None if it begins.

    Files that a killed process left half written are removed from the run folder.

    Args:
        experiment: what to train.
        out: the run folder.
        resume: true needs a checkpoint, false must not find one, and "auto" takes what there is.

    Raises:
        UserError: if there is a run that should not be resumed, or none that can.
    """
    last = last_file(out)
    if process_rank() == 0:
        for folder in (out, last.parent):
            remove_leftovers(folder)
    if resume is True or (resume == "auto" and last.is_file()):
        return _load(experiment, last, out)
    there = sorted(last.parent.glob("*.ckpt"))
    if resume == "auto":
        _set_aside(there)
    elif there:
        raise UserError(f"{out} already holds a run; continue it with --resume, or choose another folder with --out.")
    return None


def _set_aside(checkpoints: list[Path]) -> None:
    """Keep a best checkpoint whose last one is missing: of a run killed between the two, perhaps."""
    if process_rank() == 0:
        for file in checkpoints:
            file.replace(file.with_suffix(".ckpt.before"))


def _load(experiment: Experiment, file: Path, out: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(f"There is nothing to resume in {out}: expected {file}. Start the run without --resume.")
    checkpoint = load_checkpoint(file)
    if not checkpoint.keys() >= {"optimizer_states", "global_step"}:
        raise UserError(f"{file} holds a model, but not the state of a training to resume. Start a new run (--out).")
    saved = Experiment.from_dict(checkpoint["hyper_parameters"]["config"])  # with what was added since, by default
    before, now = flat(saved.as_dict()), flat(experiment.as_dict())
    free = {"training.logger", "training.picture_epochs", "training.skip_nonfinite", "name"}
    if experiment.training.schedule != "cosine":  # its learning rates depend on the length of the run
        free |= {"training.epochs", "training.max_steps"}
    changed = [
        name for name in sorted(before | now) if name not in free and before.get(name, "-") != now.get(name, "-")
    ]
    if changed:
        told = ", ".join(f"{name} was {before.get(name, '-')!r} and is now {now.get(name, '-')!r}" for name in changed)
        raise UserError(f"The run in {out} cannot be resumed with another experiment: {told}. Start a new one (--out).")
    return checkpoint
