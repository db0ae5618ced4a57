"""What a study is: a base experiment, named variations of it and seeds, all at equal budget; read from YAML."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from dfcvae.config import DataConfig, Experiment
from dfcvae.errors import UserError, nearest
from dfcvae.fields import flat, merged, read_yaml
from dfcvae.losses.presets import PRESETS, check_name
from dfcvae.report.models import Model
from dfcvae.report.observers import JudgeFiles, Observers
from dfcvae.vgg import resolve_layers
from dfcvae.weights import NAMED

KEYS = ("base", "set", "seeds", "variations")
# the budget, and which images are seen: the same for all variants
BUDGET = ("training.epochs", "training.max_steps", "training.batch_size", "training.seed", "data.")
SEED = "training.seed"
NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*")  # of a variation: valid as a folder on any system, and not an option
FORM = "base: EXPERIMENT.yaml, seeds: N and variations: {NAME: {FIELD: VALUE, ...}, ...}"
IN_DOMAIN = "in-domain"
"""Weights of a feature network that the study trains itself, on the attributes of its faces."""


@dataclass(frozen=True)
class Study:
    """Experiments that differ only in what is studied, their folder, and what measures their models."""

    name: str
    variants: dict[str, Experiment]  # the first is what the others are compared with
    seeds: int  # trainings of each variant, with the seeds 0, 1, ...
    out: Path = Path("study")  # folder of everything
    judge: JudgeFiles = ()  # see `Observers.load`; without one an attribute network is trained, if faces have any
    fid: str | None = None
    lpips: bool = False

    @property
    def data(self) -> DataConfig:
        """The faces, which are the same for all variants."""
        return next(iter(self.variants.values())).data

    def runs(self) -> dict[str, Experiment]:
        """All trainings by name, ``VARIANT-SEED``: all variants of a seed before the next, so that a part compares.

        Those of one seed share initial weights (of equal networks), the order of the images, flips and noise.
        """
        return {
            f"{name}-{seed}": replace(experiment, training=replace(experiment.training, seed=seed))
            for seed in range(self.seeds)
            for name, experiment in self.variants.items()
        }

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.out / "runs" / name

    def model(self, name: str) -> Model:
        """A run's model after the last step, not that of the best epoch, which every loss would choose for itself."""
        return Model.load(self.run(name) / "checkpoints" / "last.ckpt")

    def observers(self) -> Observers:
        """What measures the models; a UserError if a network cannot be loaded."""
        return Observers.load(self.judge, self.fid, self.lpips)


def read_study(path: str | Path, overrides: Sequence[str] = (), seeds: int | None = None) -> Study:
    """A study from a YAML file.

    ``base`` is an experiment, relative to the folder of the file, and ``set`` what to change in it. A variation is a
    mapping of dotted fields to values, ``loss.features: null`` or ``loss.features.layers: [14]``; an empty one is the
    base itself. ``overrides`` are changes of the base, ``["data.source=celeba"]``; ``seeds`` replaces the file's. A
    UserError if the file is not a study, a field or value is wrong, or a variation changes the budget.
    """
    path = Path(path)
    plain = _read(path)
    changed = {override.partition("=")[0] for override in overrides}
    if SEED in changed | flat(plain["set"]).keys():
        raise UserError(f"{SEED}: a study uses the seeds 0, 1, ...; remove the field and set seeds: N instead.")
    if wrong := next((override for override in overrides if "=" not in override), None):
        raise UserError(f"--set: expected FIELD=VALUE, got {wrong!r}.")
    words = (override.partition("=") for override in overrides)
    try:
        changes = merged(plain["set"], {field: yaml.safe_load(value) for field, _, value in words})
    except yaml.YAMLError as error:
        raise UserError(f"--set: a value is not valid YAML ({' '.join(str(error).split())}).") from error
    variants = {}
    for name, fields in plain["variations"].items():
        if undone := changed & flat(fields or {}).keys():
            raise UserError(
                f"--set {min(undone)} would have no effect on variation {name!r}, which sets it too; edit {path}."
            )
        try:
            experiment = Experiment.load(path.parent / plain["base"], merged(changes, fields or {}))
            check_features(experiment)
        except UserError as error:
            raise UserError(f"Variation {name!r} of {path}: {error}") from error
        variants[str(name)] = replace(experiment, name=str(name))
    study = Study(path.stem, variants, seeds or int(plain["seeds"]))
    _check_budget(study)
    return study


def _read(path: Path) -> dict[str, Any]:
    plain = read_yaml(path, "a study")
    if not isinstance(plain, dict) or not isinstance(plain.get("variations"), dict) or "base" not in plain:
        raise UserError(f"{path} is not a study; expected {FORM}.")
    if unknown := [str(key) for key in plain if key not in KEYS]:
        raise UserError(f"{path}: unknown field {unknown[0]!r}{nearest(unknown[0], KEYS)}; expected {FORM}.")
    names, fields = [str(name) for name in plain["variations"]], plain["variations"].values()
    seeds, changes = plain.setdefault("seeds", 3), plain.setdefault("set", {})
    wrong = next((name for name in names if not NAME.fullmatch(name)), None)
    mistakes = {
        f"each variation: expected a mapping of fields to values; the form is {FORM}": not all(
            of is None or isinstance(of, dict) for of in fields
        ),
        "base: expected the name of a file": not isinstance(plain["base"], str),
        "set: expected a mapping of fields to values": not isinstance(changes, dict),
        f"names of variations are folders: expected letters, digits and . _ + = -, got {wrong!r}": wrong is not None,
        "names of variations must differ in more than case": len({name.lower() for name in names}) < len(names),
        f"seeds: expected a positive integer, got {seeds!r}": not isinstance(seeds, int) or seeds < 1,
        f"a study needs at least two variations, got {len(names)}": len(names) < 2,
    }
    if mistake := next((message for message, found in mistakes.items() if found), None):
        raise UserError(f"{path}: {mistake}.")
    return plain


def check_features(experiment: Experiment) -> None:
    """What would otherwise fail only when the run starts, perhaps hours later."""
    features = experiment.loss.features
    if features is None:
        return
    check_name(features.preset)
    if features.preset in PRESETS:
        preset = PRESETS[features.preset]
        resolve_layers(features.arch or preset.arch, features.layers or preset.layers)
    file = features.weights
    if file not in (IN_DOMAIN, *NAMED) and not Path(file).expanduser().is_file():
        raise UserError(f"loss.features.weights: there is no file {file}; name one, {', '.join(NAMED)} or {IN_DOMAIN}.")


def _check_budget(study: Study) -> None:
    base_name, base = next(iter(study.variants.items()))
    wanted = flat(base.as_dict())
    for name, experiment in study.variants.items():
        if experiment.training.devices > 1:
            raise UserError("training.devices: the runs of a study use one device each; raise --workers instead.")
        for field, value in flat(experiment.as_dict()).items():
            if field.startswith(BUDGET) and value != wanted[field]:
                raise UserError(
                    f"All variants of a study see the same images: {field} is {wanted[field]!r} in {base_name!r} and "
                    f"{value!r} in {name!r}. Change it for all with --set {field}=VALUE."
                )


def slurm_script(command: Sequence[str], runs: Sequence[str]) -> str:
    """A SLURM job array with one task for each run of ``dfcvae ablate STUDY ...``."""
    call = shlex.join(["dfcvae", *command])
    return f"""#!/bin/bash
# Submit with: sbatch THIS_FILE. The report, at the end or of what is finished: {call} --report
#SBATCH --job-name=dfcvae-ablate
#SBATCH --array=0-{len(runs) - 1}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
runs=({shlex.join(runs)})
srun {call} --only "${{runs[$SLURM_ARRAY_TASK_ID]}}"
"""


def wandb_sweep(command: Sequence[str], runs: Sequence[str]) -> str:
    """A sweep over the runs, as YAML for ``wandb sweep``; the command with ``--report`` then writes the report."""
    sweep = {
        "name": "dfcvae-ablate",
        "method": "grid",
        "parameters": {"only": {"values": list(runs)}},
        "command": ["dfcvae", *command, "${args}"],
    }
    return yaml.safe_dump(sweep, sort_keys=False)
