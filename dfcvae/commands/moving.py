"""Commands that move faces through the latent space: between faces, along dimensions, along attributes."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dfcvae.commands.arguments import Animated, Each, Model, Prior, Scale, Source
from dfcvae.errors import UserError
from dfcvae.fields import Positive, Range, Seed, TwoOrMore

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 100  # standard deviations, or steps along a vector: beyond, numbers overflow
Reach = Annotated[float, Range(-FARTHEST, FARTHEST, f"a number from -{FARTHEST} to {FARTHEST}")]
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
    out: Animated = None,
    scale: Scale = None,
) -> None:
    """Interpolate from face to face, or in a grid between four.

    Args:
        images: two image files or more (default: faces of the test split).
        count: number of test faces; 4 make a grid.
        random: between draws from the prior instead of faces.
        seed: of the draws.
        steps: faces from one to the next, both included.
        spherical: along great circles instead of straight lines.
        out: default: interpolation.png.
    """
    import torch

    from dfcvae import latent
    from dfcvae.commands import faces
    from dfcvae.images import is_animation
    from dfcvae.sheet import ONE_WAY, SECONDS, save, save_moving, sheet
    from dfcvae.trained import Trained

    if len(images) == 1:
        raise UserError(
            "Interpolation needs two faces or more, got 1: name a second image file, or none for test faces."
        )
    out, trained, found = faces.place(out, "interpolation", files=images, animated=True), Trained(model, source), []
    if random:
        z = faces.draws(trained, count, prior=prior, seed=seed)
    else:
        found = trained.starts(count, images)
        z = faces.latents(found)
    if len(z) < 2:
        raise UserError(f"Interpolation needs two faces or more, got {len(z)}: name image files, or use --random.")
    between = latent.slerp if spherical else latent.interpolate
    fractions = [f"{t:.2f}" for t in torch.linspace(0, 1, steps)]
    names = [face.name for face in found] or [f"draw {i}" for i in range(len(z))]
    if is_animation(out):  # and back to where it began
        way = trained.decode(latent.path(torch.cat([z, z[:1]]), max(steps, ONE_WAY), between))
        frames = [sheet(frame[None, None], scale=scale) for frame in way[:-1]]
        print(save_moving(frames, out, back=False, seconds=len(z) * SECONDS / 2))
    elif len(z) == 4:
        corners = trained.decode(latent.face_grid(z, steps, steps, between))
        print("Corners: {} and {} above, {} and {} below.".format(*names))
        print(save(sheet(corners, fractions, fractions, scale), out))
    else:
        legs = torch.stack([trained.decode(between(first, last, steps)) for first, last in pairwise(z)])
        if found and found[0].original is not None:  # the originals at the ends
            x = faces.originals(trained, found)["original"][:, None]
            legs = torch.cat([x[:-1], legs, x[1:]], dim=1)
            fractions = ["original", *fractions, "original"]
        print(save(sheet(legs, [f"{a}\nto {b}" for a, b in pairwise(names)], fractions, scale), out))


def traverse(
    model: Model,
    image: Path | None = None,
    *,
    source: Source = None,
    dimensions: Positive = 10,
    reach: Reach = 3.0,
    steps: Positive = 9,
    out: Animated = None,
    scale: Scale = None,
) -> None:
    """Show what single latent dimensions do to a face, the most informative ones first.

    Args:
        image: an image file (default: a face of the test split).
        dimensions: number of dimensions.
        reach: from minus to plus this number of standard deviations.
        steps: faces along a dimension.
        out: default: traversal.png.
    """
    import torch

    from dfcvae import latent
    from dfcvae.commands import faces
    from dfcvae.images import is_animation
    from dfcvae.sheet import ONE_WAY, lines, save, save_moving, sheet
    from dfcvae.trained import Trained

    files = [image] if image else []
    out, trained = faces.place(out, "traversal", files=files, animated=True), Trained(model, source)
    (face,) = trained.starts(1, files)
    indices, nats = (of[:dimensions].tolist() for of in trained.dimensions)
    moving = is_animation(out)
    values = torch.linspace(-reach, reach, max(steps, ONE_WAY) if moving else steps)
    walks = trained.decode(torch.stack([latent.traverse(face.z, d, values) for d in indices]))
    labels = [f"z[{d}]: {n:.2f} nats" for d, n in zip(indices, nats, strict=True)]
    if moving:
        columns = min(len(indices), 5)
        names = [" ".join(f"z[{d}]" for d in indices[i : i + columns]) for i in range(0, len(indices), columns)]
        frames = [sheet(lines(frame, columns), names, scale=scale) for frame in walks.transpose(0, 1)]
        print(save_moving(frames, out))
    else:
        print(save(sheet(walks, labels, [f"{value:+.2f}" for value in values], scale), out))


def edit(
    model: Model,
    words: Sequence[str],
    *,
    keep: Sequence[str] = (),
    source: Source = None,
    count: Positive = 8,
    steps: Positive = 7,
    out: Animated = None,
    each: Each = False,
    scale: Scale = None,
) -> None:
    """Change attributes of faces, by one step or along a range.

    Args:
        words: image files (default: faces of the test split), and edits: Smiling=+1.5, or Smiling=-2:2 for a range.
        keep: attributes to leave unchanged.
        count: number of test faces.
        steps: faces along a range.
        out: default: edited.png, or the folder edited.
    """
    import torch

    from dfcvae.commands import faces
    from dfcvae.images import is_animation
    from dfcvae.sheet import ONE_WAY, lines, save, save_moving, sheet
    from dfcvae.trained import Trained

    files, edits = parse_edits(words)
    out, trained = faces.place(out, "edited", each, files, animated=True), Trained(model, source)
    vectors = trained.vectors
    vectors.step({name: last for name, (_, last) in edits.items()}, keep)  # mistyped names before work
    found = trained.starts(count, files)
    z, names = faces.latents(found), [face.name for face in found]
    ranged = any(first != last for first, last in edits.values())

    def edited(t: float) -> "Tensor":
        strengths = {name: first + t * (last - first) for name, (first, last) in edits.items()}
        return trained.decode(vectors.edit(z, strengths, keep))

    if is_animation(out):
        if not ranged:  # from the face as it is
            edits = {name: (0.0, last) for name, (_, last) in edits.items()}
        columns = min(faces.COLUMNS, len(z))
        moved = [edited(float(t)) for t in torch.linspace(0, 1, max(steps, ONE_WAY))]
        print(save_moving([sheet(lines(frame, columns), scale=scale) for frame in moved], out))
    elif each:
        faces.save_single(edited(1), out, scale)
    elif ranged:
        places = [float(t) for t in torch.linspace(0, 1, steps)]
        ((first, start),) = faces.originals(trained, found).items()
        labels = [", ".join(f"{a + t * (b - a):+.2f}" for a, b in edits.values()) for t in places]
        walks = torch.stack([start, *map(edited, places)], dim=1)
        names = [f"{name}\n{', '.join(edits)}" for name in names]
        print(save(sheet(walks, names, [first, *labels], scale), out))
    else:
        rows = faces.originals(trained, found)
        if "original" in rows:
            rows["reconstruction"] = trained.decode(z)
        rows["\n".join(f"{name} {last:+g}" for name, (_, last) in edits.items())] = edited(1)
        faces.save_rows(rows, names, out, scale)


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
