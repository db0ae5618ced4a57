"""The command that runs studies."""

from pathlib import Path
from typing import Any

from dfcvae.ablate import ablate as run_study
from dfcvae.ablate import do_one, report_finished
from dfcvae.errors import UserError, nearest
from dfcvae.executor import Place, slurm_script, wandb_sweep
from dfcvae.study import read_study

PATHS = ("data.source", "loss.features.weights")
WORDS = ("synthetic", "imagenet", "compact", "random", "in-domain", "download")  # which are not paths there


def ablate(arguments: Any) -> None:
    """Do a study, a single run of it, or write the files with which a cluster does it."""
    changes = [_from_anywhere(change) for change in arguments.set]
    study = read_study(arguments.study, changes, arguments.seeds)
    out = (arguments.out or Path("studies") / study.name).resolve()  # jobs may start elsewhere
    judges = tuple(file.resolve() for file in arguments.judge)
    place = Place(out, judges or None, _whole(arguments.fid) if arguments.fid else None, arguments.lpips)
    runs = list(study.runs())
    if arguments.print:
        command = ["ablate", str(arguments.study.resolve()), "--out", str(out), "--seeds", str(study.seeds)]
        command += ["--set", *changes] if changes else []
        command += [word for file in judges for word in ("--judge", str(file))]
        command += ["--fid", place.fid] if place.fid else []
        command += ["--lpips"] if place.lpips else []
        print({"slurm": slurm_script, "sweep": wandb_sweep}[arguments.print](command, runs), end="")
    elif arguments.only:
        if arguments.only not in runs:
            raise UserError(f"There is no run {arguments.only!r}{nearest(arguments.only, runs)} in {study.name}.")
        do_one(study, place, arguments.only)
    elif arguments.report:
        print(f"Report: {report_finished(study, place)}")
    else:
        print(f"Report: {run_study(study, place, workers=arguments.workers, ray=arguments.ray)}")


def _from_anywhere(change: str) -> str:
    """``FIELD=VALUE`` with the absolute path of a file or folder that is named relative to here."""
    field, _, value = change.partition("=")
    return f"{field}={_whole(value)}" if field in PATHS else change


def _whole(path: str) -> str:
    """The absolute path of what exists; anything else as it is."""
    there = Path(path).expanduser()
    return str(there.resolve()) if path not in WORDS and there.exists() else path
