"""The command that runs studies."""

from pathlib import Path
from typing import Any

from dfcvae.errors import UserError, nearest
from dfcvae.studies.ablate import ablate as run_study
from dfcvae.studies.ablate import do_one, report
from dfcvae.studies.cluster import slurm_script, wandb_sweep
from dfcvae.studies.one_run import Place
from dfcvae.studies.pools import default_workers
from dfcvae.studies.study import read_study

PATHS = ("data.source", "loss.features.weights")
WORDS = ("synthetic", "imagenet", "compact", "random", "in-domain", "download")  # which name no path there


def ablate(arguments: Any) -> None:
    """Do a study, a single run of it, or write the files with which a cluster does it."""
    changes = [_from_anywhere(change) for change in arguments.set]
    study = read_study(arguments.study, changes, arguments.seeds)
    out = (arguments.out or Path("studies") / study.name).resolve()  # workers may start elsewhere
    judges = tuple(file.resolve() for file in arguments.judge)
    place = Place(out, judges or None, _whole(arguments.fid) if arguments.fid else None, arguments.lpips)
    command = ["ablate", str(arguments.study.resolve()), "--out", str(out), "--seeds", str(study.seeds)]
    command += ["--set", *changes] if changes else []
    command += [word for file in judges for word in ("--judge", str(file))]
    command += ["--fid", place.fid] if place.fid else []
    command += ["--lpips"] if place.lpips else []
    runs = list(study.runs())
    if arguments.print:
        print({"slurm": slurm_script, "sweep": wandb_sweep}[arguments.print](command, runs), end="")
    elif arguments.only:
        if arguments.only not in runs:
            raise UserError(f"There is no run {arguments.only!r}{nearest(arguments.only, runs)} in {study.name}.")
        do_one(study, place, arguments.only)
    elif arguments.report:
        print(f"Report: {report(study, place)}")
    else:
        workers = arguments.workers or default_workers()
        print(f"Report: {run_study(study, place, command, workers=workers, ray=arguments.ray)}")


def _from_anywhere(change: str) -> str:
    """``FIELD=VALUE`` with the whole path of a file or folder that is named from here."""
    field, _, value = change.partition("=")
    return f"{field}={_whole(value)}" if field in PATHS else change


def _whole(path: str) -> str:
    """The whole path of what exists; anything else as it is."""
    there = Path(path).expanduser()
    return str(there.resolve()) if path not in WORDS and there.exists() else path
