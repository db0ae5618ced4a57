"""Commands that measure models: one with intervals and probes, several side by side, and those they train."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from dfcvae.commands.arguments import Data, Fid, Judges, Lpips, Model, Size, Source
from dfcvae.config import DataConfig
from dfcvae.errors import UserError, nearest
from dfcvae.fields import MANY, Positive, Range, Seed

Draws = Annotated[int, Range(2, MANY, "an integer of at least 2 (1 is the ELBO, which is measured anyway)")]
PATHS = ("data.source", "loss.features.weights")
WORDS = ("synthetic", "imagenet", "compact", "random", "in-domain", "download")  # no paths, even if such a file exists


def evaluate(
    model: Model,
    *,
    source: Source = None,
    judge: Judges = (),
    fid: Fid = None,
    lpips: Lpips = False,
    iwae: Draws | None = None,
    seed: Seed = 0,
    out: Path | None = None,
) -> None:
    """Measure a model on the test split, with intervals and the protocol of the measurement.

    Args:
        iwae: also the importance-weighted bound on ln p(x), with this number of decoded draws per image.
        seed: of samples, draws and resampled images.
        out: also write the measures as JSON.
    """
    from dfcvae.checkpoint import read_model
    from dfcvae.data import data_of, filled, load_faces, tell_other_data
    from dfcvae.evaluation.quality import lpips_skipped
    from dfcvae.evaluation.samples import FEWEST, compared
    from dfcvae.report import tables
    from dfcvae.report.models import Model as Trained
    from dfcvae.report.observers import Observers, as_text, evaluate_model, judge_warnings, this_machine

    if out:  # a bad path fails before the measuring
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise UserError(f"{out} is a folder; name a file with --out.")
    trained, observers, data = Trained.load(model), Observers.load(judge, fid, lpips), data_of(model, source)
    splits = load_faces(data)
    if source is None:
        tell_other_data(read_model(model)[0], splits["test"])
    for warning in judge_warnings(observers, {"this model": trained.experiment}, filled(splits, "test")):
        print(warning, file=sys.stderr)
    found = evaluate_model(trained, data, splits, observers, draws=iwae or 1, seed=seed)
    print(tables.listing(found.measured, seed).text())
    n, distances = compared(splits["val"], splits["test"]), tables.distances({"": [found.measured]})
    for table in distances:
        print(f"\nSets of {n:,} images against the test split\n{table.text()}")
    if observers.spaces() and not distances:
        print(f"\nSamples are not measured: {FEWEST} validation and test faces are needed, and there are {n}.")
    print(f"\nProtocol\n{as_text(found.card | this_machine())}".rstrip())
    if skipped := lpips_skipped(observers.lpips):
        print(f"\n{skipped}")
    if out:
        numbers = found.as_json(seed)
        numbers["protocol"] |= this_machine()
        out.write_text(json.dumps(numbers, indent=2) + "\n")


def probe(model: Model, *, source: Source = None, out: Path | None = None) -> None:
    """Measure what linear classifiers read of attributes in the latents, beside controls.

    Args:
        out: also write all scores as JSON.
    """
    from dfcvae.commands.faces import load_vae
    from dfcvae.data import data_of, load_faces, source_name
    from dfcvae.evaluation.probe import probe_model, probe_record, probe_table
    from dfcvae.vae import digest

    vae = load_vae(model)
    data = data_of(model, source, held_out=False)
    result = probe_model(vae, load_faces(data), progress=True)
    print(probe_table(result))
    if out:
        about = {"model": digest(vae), "source": source_name(data), "size": data.size, "crop": data.crop}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(about | probe_record(result), indent=2) + "\n")


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

    out.mkdir(parents=True, exist_ok=True)  # a bad path fails before the measuring
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
    from dfcvae.ablate import ablate as run_study
    from dfcvae.ablate import do_run, prepare, study_report
    from dfcvae.study import read_study, slurm_script, wandb_sweep

    pairs = [change.partition("=") for change in set]
    changes = [field + sign + (_absolute(value) if value and field in PATHS else value) for field, sign, value in pairs]
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
        written = (
            study_report(prepare(found, may_train=False), {}) if report else run_study(found, workers=workers, ray=ray)
        )
        sys.stdout.write(f"Report: {written}\n")


def _absolute(path: str) -> str:
    """A path that holds in any folder, where it names a file or a folder."""
    there = Path(path).expanduser()
    return str(there.resolve()) if path not in WORDS and there.exists() else path
