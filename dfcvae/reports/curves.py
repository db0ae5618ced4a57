"""Learning curves of several runs, read from their run folders."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from dfcvae.reports.blocks import Drawing

SHOWN = {
    "pixel": "mean squared error of pixels",
    "kl": "KL divergence, nats",
    "active_units": "active units",
}


def learning_curves(runs: Mapping[str, Path]) -> Drawing | None:
    """Validation metrics over the images seen, for the runs that kept any; None if none did.

    Pixel errors are taken back to mean squared errors of images in [0, 1], so that runs with different scales can be
    compared; a run whose pixel term is a likelihood has none.
    """
    curves = {name: curve for name, folder in runs.items() if (curve := read_curve(folder))}
    if not curves:
        return None
    figure = Figure(figsize=(10.5, 3.2), dpi=110, layout="constrained")
    rows: list[tuple[str, str, int, float]] = []
    for axis, (metric, label) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        for name, curve in curves.items():
            points = curve.get(metric, [])
            axis.plot(*zip(*points, strict=True), marker=".", label=name) if points else None
            rows += [(name, metric, images, value) for images, value in points]
        axis.set_title(label, fontsize=9)
        axis.set_xlabel("training images seen", fontsize=8)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k
        axis.tick_params(labelsize=8)
    lines, labels = figure.axes[1].get_legend_handles_labels()  # of the KL divergence, which all have
    figure.legend(lines, labels, fontsize=8, loc="outside right upper")
    columns = dict(zip(("model", "metric", "images", "value"), zip(*rows, strict=True), strict=True))
    return Drawing("learning-curves", figure, "Validation split, after every epoch.", columns)


def read_curve(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Images seen and value of every shown validation metric of a run; empty for a folder that is no run."""
    files = [folder / name for name in ("metrics.csv", "config.yaml", "accounting.json")]
    if not all(file.is_file() for file in files):
        return {}
    config = yaml.safe_load(files[1].read_text())
    scale = json.loads(files[2].read_text())["scales"].get("pixel", 1.0)
    factors = {"pixel": None if config["loss"]["scale"] == "likelihood" else scale}
    with files[0].open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/total"]]
    if not rows:  # stopped before its first epoch ended
        return {}
    batch = config["training"]["batch_size"]
    return {
        metric: [((int(row["step"]) + 1) * batch, float(row[f"val/{metric}"]) * factor) for row in rows]
        for metric in SHOWN
        if (factor := factors.get(metric, 1.0)) is not None
    }
