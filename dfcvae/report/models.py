"""Trained models and their run folders: settings, learning curves, costs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from dfcvae.checkpoint import find_model, model_folder, read_model
from dfcvae.config import DataConfig
from dfcvae.data import source_name
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.fields import flat
from dfcvae.files import HUB, on_hub
from dfcvae.fitted import saved_mixture
from dfcvae.latent import Prior
from dfcvae.metrics import history, read_cost
from dfcvae.report.blocks import Drawing
from dfcvae.table import Table
from dfcvae.vae import VAE

CURVES = {"pixel": "mean squared error of pixels", "kl": "KL divergence, nats", "active_units": "active units"}


@dataclass(frozen=True)
class Model:
    """A trained model."""

    vae: VAE  # in eval mode, on its device
    folder: Path  # its run folder, or where else it was loaded from
    experiment: dict[str, Any] | None  # as it was trained, plain; None if it was saved without
    mixture: Prior | None = None  # fitted to its latents and saved beside it
    fingerprint: str | None = None  # of the faces it was trained on, as they were then

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """From a run folder, a checkpoint or an exported folder."""
        folder, vae = model_folder(path), VAE.load(path, device=pick_device())
        about, _ = read_model(path)
        return cls(vae, folder, about["config"], saved_mixture(path, vae), about.get("fingerprint"))

    def steps(self) -> int | None:
        """Optimiser steps of the training; None if they are not recorded."""
        images = read_cost(self.folder).get("images")
        return int(images) // int(self.experiment["training"]["batch_size"]) if images and self.experiment else None


def load_models(paths: Sequence[str | Path]) -> dict[str, Model]:
    """Models by name, which is that of their folder, with the folder above where two have the same.

    A UserError if there are fewer than two, or they take images of different shapes.
    """
    if len(paths) < 2:
        raise UserError("A comparison needs at least two models: dfcvae compare RUN RUN ...")
    files = [find_model(path).resolve() for path in paths]
    if len(set(files)) < len(files):
        twice = next(path for path, file in zip(paths, files, strict=True) if files.count(file) > 1)
        raise UserError(f"{twice}: named twice; name every model once.")
    models: dict[str, Model] = {}
    for path in paths:
        model = Model.load(path)
        parts = model.folder.resolve().parts + ((Path(path).stem,) if Path(path).is_file() else ())
        if on_hub(path):
            parts = tuple(str(path).removeprefix(HUB).split("/"))
        fewest = 2 if Path(path).is_file() else 1
        name = next(name for n in range(fewest, len(parts) + 1) if (name := "/".join(parts[-n:])) not in models)
        models[name] = model
    shapes = {name: "x".join(map(str, model.vae.image_shape)) for name, model in models.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"Only models of images of the same shape can be compared, got {found}.")
    return models


def settings_table(models: Mapping[str, Model]) -> Table:
    """The fields of the experiments that are not the same in all."""
    fields = {name: flat(model.experiment) if model.experiment else {} for name, model in models.items()}
    rows = []
    for key in dict.fromkeys(key for values in fields.values() for key in values):
        shown = [_plain(values[key]) if key in values else "-" for values in fields.values()]
        nothing = set(shown) == {"-", "None"}  # absent in one, null in another
        if key != "name" and len(set(shown)) > 1 and not nothing:
            rows.append([key, *shown])
    return Table(["setting", *models], rows or [["none", *["" for _ in models]]])


TELLING = (  # settings that explain a difference between models by themselves
    "loss.alpha",
    "loss.beta",
    "loss.scale",
    "model.network",
    "model.latent_dim",
    "data.crop",
    "data.train_images",
)


RENDERED = ("size", "channels", "crop", "filter")  # fields of `DataConfig`


def notes(models: Mapping[str, Model], data: DataConfig, fingerprint: str = "") -> list[str]:
    """What explains differences besides the loss: test faces seen in training, weights, networks, length.

    ``fingerprint`` is that of the test faces, as they are now.
    """
    known = {name: model.experiment["data"] for name, model in models.items() if model.experiment}
    sources = {name: (source_name(DataConfig(own["source"])), own["split_seed"]) for name, own in known.items()}
    others = {name: own for name, own in sources.items() if own != (source_name(data), data.split_seed)}
    found = []
    if others:
        which = listed([f"{name} ({source}, split_seed {seed})" for name, (source, seed) in others.items()])
        found.append(
            "Trained on other data or another split than the test faces, some of which they may have seen in "
            f"training: {which}. Their differences from the others may be due to that."
        )
    # the fingerprint is that of the decoded images: comparable where they are rendered alike
    alike = [name for name, own in known.items() if all(own[field] == getattr(data, field) for field in RENDERED)]
    before = {name: models[name].fingerprint for name in alike if name not in others}
    if changed := [name for name, mark in before.items() if mark and fingerprint and mark != fingerprint]:
        found.append(
            "The images, labels or splits of the data set have changed since the training of "
            f"{listed(changed)}, which may have seen some of these test faces in training: train again."
        )
    for key, *shown in settings_table(models).cells():
        if key in TELLING:
            values = ", ".join(f"{name} {value}" for name, value in zip(models, shown, strict=True))
            found.append(f"`{key}` differs ({values}), which alone can explain differences.")
    steps = {name: own for name, model in models.items() if (own := model.steps())}
    if steps and max(steps.values()) > 1.1 * min(steps.values()):
        lengths = ", ".join(f"{name} {own:,} steps" for name, own in steps.items())
        found.append(f"Trained for different lengths ({lengths}), which may explain part of every difference.")
    return found


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _plain(value: Any) -> str:
    """A setting as text, without the place of a file on this machine."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)


def cost_table(models: Mapping[str, Model]) -> Table:
    """The cost of each training, where the run folder has it."""
    rows = []
    for name, model in models.items():
        cost = read_cost(model.folder)
        parameters = sum(parameter.numel() for parameter in model.vae.parameters())
        if not cost:
            rows.append([name, f"{parameters:,}", *["not recorded"] * 5])
            continue
        minutes = [f"{cost[key] / 60:.1f}" for key in ("training_seconds", "total_seconds")]
        memory = "-" if cost["peak_memory_mib"] is None else f"{cost['peak_memory_mib']:,}"
        per_second = f"{cost['images_per_second']:.4g}"
        rows.append([name, f"{parameters:,}", f"{cost['images']:,}", per_second, *minutes, memory])
    header = ["", "parameters", "images seen", "images/s", "minutes of steps", "minutes in all", "peak memory, MiB"]
    return Table(header, rows)


def learning_curves(models: Mapping[str, Model]) -> Drawing | None:
    """Validation metrics over the images seen, for the models whose run folders have any; None if none has.

    Pixel errors are converted to mean squared errors of images in [0, 1], so that runs with different scales can be
    compared; a run whose pixel term is a likelihood has none.
    """
    curves = {name: curve for name, model in models.items() if (curve := read_curve(model))}
    if not curves:
        return None
    figure = Figure(figsize=(10.5, 3.2), dpi=110, layout="constrained")
    rows: list[tuple[str, str, int, float]] = []
    for axis, (metric, label) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name, curve in curves.items():
            points = curve.get(metric, [])
            if points:
                axis.plot(*zip(*points, strict=True), marker=".", label=name)
            rows += [(name, metric, images, value) for images, value in points]
        if metric == "active_units":
            axis.set_ylim(bottom=0)  # often constant
        axis.set_title(label, fontsize=9)
        axis.set_xlabel("training images seen", fontsize=8)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k
        axis.tick_params(labelsize=8)
    lines, labels = figure.axes[1].get_legend_handles_labels()  # of the KL divergence, which all have
    figure.legend(lines, labels, fontsize=8, loc="outside right upper")
    columns = dict(zip(("model", "metric", "images", "value"), zip(*rows, strict=True), strict=True))
    return Drawing("learning-curves", figure, "Validation split, after every epoch.", columns)


def read_curve(model: Model) -> dict[str, list[tuple[int, float]]]:
    """Images seen and value of every shown validation metric of a run; empty for a folder that is not a run."""
    accounting = model.folder / "accounting.json"
    if model.experiment is None or not accounting.is_file():
        return {}
    rows = [row for row in history(model.folder) if "val/total" in row]
    scale = json.loads(accounting.read_text())["scales"].get("pixel", 1.0)
    batch, likelihood = model.experiment["training"]["batch_size"], model.experiment["loss"]["scale"] == "likelihood"
    return {
        metric: [
            (int(row["step"] + 1) * batch, row[f"val/{metric}"] * (scale if metric == "pixel" else 1)) for row in rows
        ]
        for metric in CURVES
        if rows and not (metric == "pixel" and likelihood)
    }
