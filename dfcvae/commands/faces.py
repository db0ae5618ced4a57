"""What the commands that draw faces share: the model, where they write, and rows of faces under each other."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dfcvae.device import pick_device
from dfcvae.errors import UsageError, UserError
from dfcvae.images import save_png, to_rgb
from dfcvae.sheet import enlarge, lines, save, sheet
from dfcvae.trained import Face, Trained
from dfcvae.vae import VAE

COLUMNS = 8  # faces in a line
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".mp4")


def load_vae(model: str) -> VAE:
    """A model on the GPU, if there is one."""
    return VAE.load(model, device=pick_device())


def place(out: Path | None, name: str, each: bool = False, files: Sequence[Path] = (), animated: bool = False) -> Path:
    """The picture to write, NAME.png unless one is named, or the folder NAME for single files.

    Raises:
        UsageError: if a folder is needed and the name is a picture's, or the picture is not PNG (nor an animation,
            where the command can be ``animated``).
        UserError: if ``files``, which will be read, would be overwritten.
    """
    out = out or Path(name if each else f"{name}.png")
    if each and out.suffix.lower() in PICTURES:
        raise UsageError(f"out: --each writes one file per face into a folder; expected its name, got {str(out)!r}.")
    if not each and out.suffix.lower() in (PICTURES[1:-2] if animated else PICTURES[1:]):
        raise UsageError(f"out: pictures are written as PNG; expected a name that ends in .png, got {str(out)!r}.")
    for file in files:
        if out.resolve() in (file.resolve(), file.resolve().parent):
            raise UserError(f"{out} would overwrite {file}, which is one of the images to read; choose another --out.")
    return out


def draws(trained: Trained, count: int, *, prior: str, seed: int, temperature: float = 1.0) -> Tensor:
    """Latents (count, D) from a prior, which stderr names."""
    found = trained.prior(prior)
    none_kept = prior == "auto" and str(found) == "N(0, I)"
    print(f"Prior: {found}{'; no mixture is saved with this model' if none_kept else ''}.", file=sys.stderr)
    return trained.draws(count, prior, seed=seed, temperature=temperature)


def latents(faces: Sequence[Face]) -> Tensor:
    """Their latents, (N, D)."""
    return torch.stack([face.z for face in faces])


def originals(trained: Trained, faces: Sequence[Face]) -> dict[str, Tensor]:
    """The images that faces start from, by their label: (N, C, H, W)."""
    if faces[0].original is None:
        return {"draw": trained.decode(latents(faces))}
    return {"original": torch.stack([face.original for face in faces if face.original is not None])}


def save_rows(rows: Mapping[str, Tensor], names: Sequence[str], out: Path, scale: int | None) -> None:
    """Write rows of N faces each, (N, C, H, W) by label, as a picture in lines of eight, and print its path."""
    columns = min(COLUMNS, len(names))
    split = torch.stack([lines(to_rgb(row).cpu(), columns) for row in rows.values()], dim=1)  # (lines, rows, columns)
    blocks = [names[i : i + columns] for i in range(0, len(names), columns)]
    if len(blocks) == 1:
        print(save(sheet(split[0], list(rows), names, scale), out))
        return
    print(save(sheet(split.flatten(0, 1), [*rows] * len(blocks), scale=scale), out))


def save_single(images: Tensor, folder: Path, scale: int | None) -> None:
    """Write one PNG per image (N, C, H, W), of its own size unless a scale is named, and print how many."""
    for i, image in enumerate(enlarge(images, scale or 1)):
        save_png(image, folder / f"{i:06d}.png")
    print(f"{len(images)} files in {folder}")
    if others := len([*folder.glob("*.png")]) - len(images):
        print(f"{others} other PNG files were in {folder} before.", file=sys.stderr)
