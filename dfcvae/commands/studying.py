"""The command that runs studies."""

from pathlib import Path
from typing import Any

from dfcvae.errors import UserError, nearest
from dfcvae.studies.ablate import Place, do_one
from dfcvae.studies.ablate import ablate as run_study
from dfcvae.studies.cluster import slurm_script, wandb_sweep
from dfcvae.studies.pools import default_workers
from dfcvae.studies.study import read_study


def ablate(arguments: Any) -> None:
    """Do a study, a single run of it, or write the files with which a cluster does it."""
    study = read_study(arguments.study, arguments.set, arguments.seeds)
    out = (arguments.out or Path("studies") / study.name).resolve()  # workers may start elsewhere
    place = Place(out, arguments.judge.resolve() if arguments.judge else None)
    command = ["ablate", str(arguments.study.resolve()), "--out", str(out), "--seeds", str(study.seeds)]
    command += ["--set", *arguments.set] if arguments.set else []
    command += ["--judge", str(place.judge)] if place.judge else []
    runs = list(study.runs())
    if arguments.print:
        print({"slurm": slurm_script, "sweep": wandb_sweep}[arguments.print](command, runs), end="")
    elif arguments.only:
        if arguments.only not in runs:
            raise UserError(f"There is no run {arguments.only!r}{nearest(arguments.only, runs)} in {study.name}.")
        do_one(study, place, arguments.only)
    else:
        workers = arguments.workers or default_workers()
        print(f"Report: {run_study(study, place, command, workers=workers, ray=arguments.ray)}")
