"""Commands that use a trained model: draw, reconstruct, export, explore."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from dfcvae.errors import UserError
from dfcvae.ranges import Positive, Range, Seed

Prior = Literal["auto", "normal", "gaussian", "gmm"]
Temperature = Annotated[float, Range(0, 10, "a number from 0 to 10")]
FIRST = "celeba-64"  # the shipped model that the explorer shows unless another one is named


def sample(
    model: str,
    *,
    count: Positive = 64,
    seed: Seed = 0,
    prior: Prior = "auto",
    temperature: Temperature = 1.0,
    source: str | None = None,
    out: Path = Path("samples.png"),
    each: bool = False,
) -> None:
    """Draw faces from a prior.

    Args:
        model: a run folder, a checkpoint, an exported folder, or a model that ships with the package (celeba-64).
        count: number of faces.
        seed: of the draws.
        prior: auto: the mixture of Gaussians kept with the model, or N(0, I) if there is none; normal: N(0, I);
            gaussian or gmm (the mixture): fitted to the latents of the training faces unless it is kept already.
        temperature: factor of the prior's standard deviation.
        source: where the training faces are (default: as in training).
        out: a PNG, or a folder with --each.
        each: one PNG per face instead of a grid.
    """
    from dfcvae.commands.faces import draws, load_vae, write

    vae = load_vae(model)
    z = draws(model, vae, count, prior=prior, seed=seed, temperature=temperature, source=source)
    write(vae.decode_all(z), None, out, each)


def reconstruct(
    model: str,
    images: Sequence[Path] = (),
    *,
    source: str | None = None,
    count: Positive = 8,
    out: Path = Path("reconstructions.png"),
    each: bool = False,
) -> None:
    """Show originals above their reconstructions.

    Args:
        model: a run folder, a checkpoint, an exported folder, or a model that ships with the package (celeba-64).
        images: image files (default: faces of the test split).
        source: where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training).
        count: number of test faces.
        out: a PNG, or a folder with --each.
        each: one PNG per reconstruction instead of a grid.
    """
    from dfcvae.commands.faces import faces_of, load_vae, write
    from dfcvae.data import data_of

    vae = load_vae(model)
    x = faces_of(images, count, data_of(model, source, needed=not images), out)
    write(vae.reconstruct(x), x, out, each)


def export(model: str, *, out: Path, dtype: Literal["float32", "float16", "bfloat16"] = "float32") -> None:
    """Write a model as safetensors, JSON and a model card, with its fitted priors and attribute vectors.

    Args:
        model: a run folder, a checkpoint, an exported folder, or a model that ships with the package (celeba-64).
        out: the folder to write.
        dtype: of the weights in the file; float16 and bfloat16 halve it, and load as float32.
    """
    from dfcvae.exporting import export_model

    print(export_model(model, out, dtype))


def explore(
    model: str | None = None,
    *,
    source: str | None = None,
    host: str = "127.0.0.1",
    port: Positive = 8080,
    open: bool = False,
) -> None:
    """Explore a model in the browser.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model (default: celeba-64).
        source: where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training).
        host: address to listen on; 0.0.0.0 lets others in.
        port: if it is in use, the next free one is taken.
        open: open the page in the browser.
    """
    from dfcvae.explore.serve import serve
    from dfcvae.paths import pretrained_models

    model = model or (FIRST if FIRST in pretrained_models() else None)
    if model is None:
        raise UserError("Name a model to explore: a run folder, a checkpoint, or an exported folder.")
    serve(model, source, host=host, port=port, show=open)
