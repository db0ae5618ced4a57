"""Figures with matplotlib: labelled grids of faces, correlation matrices, scatter plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from dfcvae.images import grid, to_image

SMALL = 100  # pixels; smaller faces are enlarged
LETTER = 7.2  # pixels, width of a label's letter


def labelled_grid(faces: Tensor, rows: Sequence[str], columns: Sequence[str] = ()) -> Figure:
    """Faces in a grid, pixel by pixel, with a label before each row and, if given, above each column.

    Args:
        faces: (R, S, C, H, W) in [0, 1]; small ones are enlarged to 100 pixels or more.
        rows: R labels.
        columns: S labels, or none.
    """
    times = -(-SMALL // faces.shape[-1])
    picture = to_image(grid(faces.flatten(0, 1), columns=faces.shape[1]), times)
    lines = "\n".join(rows).split("\n")
    left, above = max(map(len, lines)) * LETTER + 12, 22 if columns else 2
    width, height = picture.width + left, picture.height + above
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axis = figure.add_axes((left / width, 0, picture.width / width, picture.height / height))
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    step = (faces.shape[-1] + 2) * times  # a face and the gap beside it
    axis.set_yticks([step * (i + 0.5) for i in range(len(rows))], rows)
    axis.set_xticks([step * (i + 0.5) for i in range(len(columns))], columns)
    axis.tick_params(length=0, labelsize=9, labeltop=True, labelbottom=False, pad=4)
    axis.spines[:].set_visible(False)
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


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, creating its folder; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return path
