"""Commands that move faces through the latent space: between faces, along dimensions, along attributes."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dfcvae.commands.arguments import Animated, Each, Model, Prior, Source
from dfcvae.errors import UserError
from dfcvae.ranges import Positive, Range, Seed, TwoOrMore

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 100  # standard deviations, or steps along a vector: beyond, numbers overflow
Reach = Annotated[float, Range(-FARTHEST, FARTHEST, f"a number from -{FARTHEST} to {FARTHEST}")]
FRAMES = 16  # of an animation in one direction, at least
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
EDIT = re.compile(rf"(?P<name>[^=]+)=(?P<start>{NUMBER})(?::(?P<end>{NUMBER}))?")


def interpolate(
    model: Model,
    images: Sequence[Path] = (),
    *,
    source: Source = None,
    count: TwoOrMore = 2,
    random: bool = False,
    prior: Prior = "auto",
    seed: Seed = 0,
    steps: TwoOrMore = 8,
    spherical: bool = False,
    out: Animated = Path("interpolation.png"),
) -> None:
    """Interpolate from face to face, or in a grid between four.

    Args:
        images: two image files or more (default: faces of the test split).
        count: number of test faces; 4 make a grid.
        random: between draws from the prior instead of faces.
        seed: of the draws.
        steps: faces from one to the next, both included.
        spherical: along great circles instead of straight lines.
    """
    import torch

    from dfcvae import latent
    from dfcvae.commands.faces import draws, load_vae, start
    from dfcvae.images import grid, is_animation, save_animation, save_png

    if len(images) == 1:
        raise UserError("Interpolation needs at least 2 images, got 1.")
    vae, x = load_vae(model), None
    if random:
        z = draws(model, vae, count, prior=prior, seed=seed, source=source)
    else:
        x, z = start(model, vae, images, count, source, out)
    if len(z) < 2:
        raise UserError(f"Interpolation needs at least 2 faces, got {len(z)}.")
    between = latent.slerp if spherical else latent.interpolate
    if is_animation(out):  # and back to where it began
        frames = vae.decode_all(latent.path(torch.cat([z, z[:1]]), steps, between))
        print(save_animation(frames[:-1], out))
    elif len(z) == 4:
        faces = latent.face_grid(z, steps, steps, between).flatten(0, 1)
        print(save_png(grid(vae.decode_all(faces), steps), out))
    else:
        legs = [vae.decode_all(between(first, last, steps)) for first, last in pairwise(z)]
        if x is not None:  # the originals at the ends
            legs = [torch.cat([x[i : i + 1], leg, x[i + 1 : i + 2]]) for i, leg in enumerate(legs)]
        print(save_png(grid(torch.cat(legs), columns=len(legs[0])), out))


def traverse(
    model: Model,
    image: Path | None = None,
    *,
    source: Source = None,
    dimensions: Positive = 10,
    reach: Reach = 3.0,
    steps: Positive = 9,
    out: Animated = Path("traversal.png"),
) -> None:
    """Show what single latent dimensions do to a face, the most informative ones first.

    Args:
        image: an image file (default: the first face of the test split).
        dimensions: number of dimensions.
        reach: from minus to plus this number of standard deviations.
        steps: faces along a dimension.
    """
    import torch

    from dfcvae import latent, plots
    from dfcvae.commands.faces import load_vae, many_posteriors, start
    from dfcvae.images import grid, is_animation, save_animation, there_and_back

    vae = load_vae(model)
    _, mu = start(model, vae, [image] if image else [], 1, source, out)
    indices, nats = latent.by_kl(*many_posteriors(model, vae, source))
    count = min(dimensions, len(indices))
    values = torch.linspace(-reach, reach, steps)
    walks = torch.stack([vae.decode_all(latent.traverse(mu[0], int(d), values)) for d in indices[:count]])
    if is_animation(out):
        frames = torch.stack([grid(faces, columns=min(count, 5)) for faces in walks.transpose(0, 1)])
        print(save_animation(there_and_back(frames), out))
        return
    labels = [f"z[{d}]: {n:.2f} nats" for d, n in zip(indices[:count].tolist(), nats.tolist(), strict=False)]
    print(plots.save_figure(plots.labelled_grid(walks, labels, [f"{value:+.1f}" for value in values]), out))


def edit(
    model: Model,
    words: Sequence[str],
    *,
    keep: Sequence[str] = (),
    source: Source = None,
    count: Positive = 8,
    steps: Positive = 7,
    out: Animated = Path("edited.png"),
    each: Each = False,
) -> None:
    """Change attributes of faces, by one step or along a range.

    Args:
        words: image files (default: faces of the test split), and edits: Smiling=+1.5, or Smiling=-2:2 for a range.
        keep: attributes to leave unchanged.
        count: number of test faces.
        steps: faces along a range.
    """
    import torch

    from dfcvae import plots
    from dfcvae.commands.faces import load_vae, start, write
    from dfcvae.data import data_of
    from dfcvae.fitted import vectors_of
    from dfcvae.images import grid, is_animation, save_animation, there_and_back

    files, edits = parse_edits(words)
    vae = load_vae(model)
    vectors = vectors_of(model, vae, data_of(model, source, held_out=False, needed=False))
    x, mu = start(model, vae, files, count, source, out)

    def edited(t: float) -> "Tensor":
        strengths = {name: first + t * (last - first) for name, (first, last) in edits.items()}
        return vae.decode_all(vectors.edit(mu, strengths, keep))

    ranged = any(first != last for first, last in edits.values())
    if is_animation(out):
        if not ranged:  # from the face as it is
            edits = {name: (0.0, last) for name, (_, last) in edits.items()}
        moved = [edited(float(t)) for t in torch.linspace(0, 1, max(steps, FRAMES))]
        frames = torch.stack([grid(faces) if len(faces) > 1 else faces[0] for faces in moved])
        print(save_animation(there_and_back(frames), out))
    elif each:
        write(edited(1), None, out, each=True)
    elif ranged:
        places = [float(t) for t in torch.linspace(0, 1, steps)]
        faces = torch.stack([vae.decode_all(mu) if x is None else x, *(edited(t) for t in places)], dim=1)
        columns = [", ".join(f"{a + t * (b - a):+.1f}" for a, b in edits.values()) for t in places]
        print(", ".join(edits), "along each row")
        first_column = "draw" if x is None else "original"
        print(plots.save_figure(plots.labelled_grid(faces, [""] * len(mu), [first_column, *columns]), out))
    else:
        label = "\n".join(f"{name} {last:+g}" for name, (_, last) in edits.items())
        shown = {"draw": vae.decode_all(mu)} if x is None else {"original": x, "reconstruction": vae.reconstruct(x)}
        shown[label] = edited(1)
        print(plots.save_figure(plots.labelled_grid(torch.stack([*shown.values()]), [*shown]), out))


def parse_edits(words: Sequence[str]) -> tuple[list[Path], dict[str, tuple[float, float]]]:
    """Image files and edits, in any order: ``NAME=STRENGTH``, or ``NAME=FROM:TO``, as ``name: (from, to)``."""
    files, edits = [], {}
    for word in words:
        found = EDIT.fullmatch(word)
        if os.path.isfile(word) or "=" not in word:
            files.append(Path(word))
        elif found:
            start, end = float(found["start"]), float(found["end"] or found["start"])
            if max(abs(start), abs(end)) > FARTHEST:
                raise UserError(f"Expected a strength from -{FARTHEST} to {FARTHEST}, got {word[:80]!r}.")
            edits[found["name"]] = start, end
        else:
            raise UserError(f"Expected an edit such as Smiling=+1.5, or Smiling=-2:2 for a range, got {word!r}.")
    if not edits:
        raise UserError("Name an edit: Smiling=+1.5, or Smiling=-2:2 for a range; several may be given.")
    return files, edits
