"""Figures with matplotlib: labelled grids of faces, correlation matrices, scatter plots."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from dfcvae.sheet import sheet


def labelled_grid(faces: Tensor, rows: Sequence[str], columns: Sequence[str] = ()) -> Figure:
    """A `sheet` of faces (R, S, C, H, W) in [0, 1], with a label before each row and, if given, above each column."""
    picture = sheet(faces, rows, columns)
    figure = Figure(figsize=(picture.width / 100, picture.height / 100), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    axis.set_axis_off()
    return figure


def heatmaps(matrices: Mapping[str, Tensor], names: Sequence[str]) -> Figure:
    """Correlation matrices (A, A) side by side, on a scale from -1 (blue) to 1 (red), by title."""
    side = max(3.5, 0.17 * len(names) + 1.5)
    figure = Figure(figsize=(side * len(matrices) + 0.8, side), dpi=100, layout="constrained")
    for axis, (title, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        image = axis.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6.5)
        axis.set_yticks(range(len(names)), names, fontsize=6.5)
        axis.set_title(title, fontsize=9)
    figure.colorbar(image, ax=figure.axes, shrink=0.7)
    return figure


def scatters(points: Tensor, labels: Mapping[str, Tensor], title: str) -> Figure:
    """The same points (N, 2) in a panel per attribute (bool (N,)): orange with it, grey without."""
    columns = min(3, max(1, len(labels)))
    lines = -(-max(1, len(labels)) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.5 * lines + 0.3), dpi=100, layout="constrained")
    figure.suptitle(f"{title}; orange: with the attribute" if labels else title, fontsize=10)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    if not labels:
        axes[0].scatter(*points.T, s=4, color="0.4", linewidths=0)
    for axis, (name, has) in zip(axes, labels.items(), strict=False):
        axis.scatter(*points[~has].T, s=4, color="0.75", linewidths=0)
        axis.scatter(*points[has].T, s=4, color="tab:orange", linewidths=0)
        axis.set_title(f"{name} ({int(has.sum())} of {len(has)})", fontsize=9)
    return figure
