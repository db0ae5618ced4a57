"""Commands that train or compare several models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dfcvae.commands.arguments import Data, Fid, Judges, Lpips, Size, Source
from dfcvae.config import DataConfig
from dfcvae.errors import UserError, nearest
from dfcvae.ranges import Positive, Seed

PATHS = ("data.source", "loss.features.weights")
WORDS = ("synthetic", "imagenet", "compact", "random", "in-domain", "download")  # no paths, even if such a file exists


def compare(
    models: Sequence[str],
    *,
    source: Source = None,
    judge: Judges = (),
    fid: Fid = None,
    lpips: Lpips = False,
    seed: Seed = 0,
    out: Path = Path("comparison"),
) -> None:
    """Write a report on several models side by side.

    Args:
        models: run folders, checkpoints, exported folders or shipped models; the others are compared with the first.
        seed: of samples, draws and resampled images.
        out: folder of report.html, report.md, metrics.json and the figures.
    """
    from dfcvae.report.comparison import compare as compare_models

    out.mkdir(parents=True, exist_ok=True)  # a bad path shows before hours of work
    report = compare_models(models, out, source=source, judge=judge, fid=fid, lpips=lpips, seed=seed)
    print(f"Report: {report}")


def paper(
    source: Data,
    *,
    size: Size = 64,
    epochs: Positive = 5,
    seeds: Positive = 3,
    train_images: Positive | None = None,
    features: str = "imagenet",
    full: str | None = None,
    judge: Judges = (),
    fid: Fid = None,
    lpips: Lpips = False,
    out: Path = Path("paper"),
) -> None:
    """Train the models of the paper and write its results section.

    Args:
        epochs: of every training.
        seeds: trainings of every model.
        train_images: use the first N training images.
        features: weights of the feature network: imagenet, compact, in-domain (trained here on attributes), or a file.
        full: train a second VAE-123 with these weights of VGG-19, imagenet or a file: what does a small network lose?
        judge: default: an attribute network is trained here.
        out: folder of everything; resumes where it was.
    """
    from dfcvae.ablate import ablate
    from dfcvae.paper import paper_report, paper_study

    study = paper_study(DataConfig(source, size, train_images=train_images), epochs, seeds, features, full)
    study = replace(study, out=out, judge=judge, fid=fid, lpips=lpips)
    print(f"Report: {ablate(study, report=paper_report)}")


def ablate(
    study: Path,
    *,
    out: Path | None = None,
    set: Sequence[str] = (),
    seeds: Positive | None = None,
    judge: Judges = (),
    fid: Fid = None,
    lpips: Lpips = False,
    workers: Positive | None = None,
    ray: str | None = None,
    only: str | None = None,
    report: bool = False,
    print: Literal["slurm", "sweep"] | None = None,
) -> None:
    """Train variations of an experiment at equal budget, and compare them.

    Args:
        study: a study: experiments/ablation_layers.yaml, or one of your own.
        out: folder of everything; resumes where it was (default: studies/NAME).
        set: change the base for all variations: data.source=celeba training.epochs=5.
        seeds: trainings of every variation (default: as the study says).
        judge: default: an attribute network is trained here.
        workers: runs at a time on this machine (default: one for each GPU, or for two processors).
        ray: do the runs on a Ray cluster: auto, or HOST:PORT.
        only: do this run alone (VARIATION-SEED), and no report.
        report: train nothing: report on what is finished.
        print: print a SLURM job array, or a sweep of Weights & Biases, that does the runs.
    """
    import sys

    from dfcvae.ablate import ablate as run_study
    from dfcvae.ablate import do_run, prepare, study_report
    from dfcvae.study import read_study, slurm_script, wandb_sweep

    changes = [_from_anywhere(change) for change in set]
    found = read_study(study, changes, seeds)
    out = (out or Path("studies") / found.name).resolve()  # workers may start elsewhere
    judges, fid = [file.resolve() for file in judge], _absolute(fid) if fid else None
    found, runs = replace(found, out=out, judge=judges, fid=fid, lpips=lpips), list(found.runs())
    if print:
        command = ["ablate", str(study.resolve()), "--out", str(out), "--seeds", str(found.seeds)]
        command += ["--set", *changes] if changes else []
        command += [word for file in judges for word in ("--judge", str(file))]
        command += [*(["--fid", fid] if fid else []), *["--lpips"] * lpips]
        sys.stdout.write({"slurm": slurm_script, "sweep": wandb_sweep}[print](command, runs))
    elif only:
        if only not in runs:
            raise UserError(f"There is no run {only!r}{nearest(only, runs)} in {found.name}.")
        do_run(prepare(found, progress=False), only)
        sys.stdout.write(f"Run: {found.run(only)}\n")
    else:
        written = study_report(prepare(found), {}) if report else run_study(found, workers=workers, ray=ray)
        sys.stdout.write(f"Report: {written}\n")


def _from_anywhere(change: str) -> str:
    """``FIELD=VALUE`` with an absolute path where VALUE names a file or folder."""
    field, _, value = change.partition("=")
    return f"{field}={_absolute(value)}" if field in PATHS else change


def _absolute(path: str) -> str:
    there = Path(path).expanduser()
    return str(there.resolve()) if path not in WORDS and there.exists() else path
