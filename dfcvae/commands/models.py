"""Commands that use a trained model: draw, reconstruct, export, explore."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dfcvae.commands.arguments import Each, Model, Picture, Prior, Scale, Source, Temperature
from dfcvae.errors import UsageError, UserError
from dfcvae.fields import Positive, Seed

FIRST = "celeba-64"  # the shipped model that the explorer shows unless another one is named


def sample(
    model: Model,
    *,
    count: Positive = 64,
    seed: Seed = 0,
    prior: Prior = "auto",
    temperature: Temperature = 1.0,
    source: Source = None,
    out: Picture = None,
    each: Each = False,
    scale: Scale = None,
) -> None:
    """Draw faces from a prior.

    Args:
        count: number of faces.
        seed: of the draws.
        out: default: samples.png, or the folder samples.
    """
    from dfcvae.commands import faces
    from dfcvae.sheet import numbered, save
    from dfcvae.trained import Trained

    out, trained = faces.place(out, "samples", each), Trained(model, source)
    images = trained.decode(faces.draws(trained, count, prior=prior, seed=seed, temperature=temperature))
    if each:
        faces.save_single(images, out, scale)
    else:
        print(save(numbered(images, scale=scale), out))


def reconstruct(
    model: Model,
    images: Sequence[Path] = (),
    *,
    source: Source = None,
    count: Positive = 8,
    out: Picture = None,
    each: Each = False,
    scale: Scale = None,
) -> None:
    """Show originals above their reconstructions.

    Args:
        images: image files (default: faces of the test split).
        count: number of test faces.
        out: default: reconstructions.png, or the folder reconstructions.
    """
    from dfcvae.commands import faces
    from dfcvae.data import data_of
    from dfcvae.trained import Trained

    out, trained = faces.place(out, "reconstructions", each, images), Trained(model, source)
    data_of(model, source, needed=not images)  # or say which faces are missing
    found = trained.read(count, images)
    again = trained.decode(faces.latents(found))
    if each:
        faces.save_single(again, out, scale)
    else:
        rows = faces.originals(trained, found) | {"reconstruction": again}
        faces.save_rows(rows, [face.name for face in found], out, scale)


def export(
    model: Model,
    *,
    out: Path | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    onnx: Path | None = None,
    html: Path | None = None,
    push: str | None = None,
) -> None:
    """Write a model as a folder (safetensors, JSON, model card, fitted priors, attribute vectors), ONNX or a page.

    Args:
        out: the folder to write.
        dtype: of the weights in the file; float16 and bfloat16 halve it, and load as float32.
        onnx: a folder for encoder.onnx and decoder.onnx, for programs without PyTorch; checked by onnxruntime.
        html: a file for a page that runs the decoder in any browser, without a server or a network.
        push: a repository of the Hugging Face Hub, user/repo, to upload the folder to; created if it is missing.
    """
    from tempfile import TemporaryDirectory

    from dfcvae import hub
    from dfcvae.exporting import export_model
    from dfcvae.onnxfiles import check_libraries, export_onnx
    from dfcvae.webpage import export_page

    if not (out or onnx or html or push):
        raise UsageError("export: say what to write: --out FOLDER, --onnx FOLDER, --html FILE or --push USER/REPO.")
    if onnx or html:
        check_libraries()
    if push:
        hub.library()
    if out:
        print(export_model(model, out, dtype))
    if onnx:
        differences = ", ".join(f"{name} {value:.2g}" for name, value in export_onnx(model, onnx).items())
        print(f"{onnx}: encoder.onnx, decoder.onnx. Largest differences from PyTorch: {differences}.")
    if html:
        difference = export_page(model, html)
        size = html.stat().st_size / 1e6
        print(f"{html}: {size:.1f} MB. Largest difference from PyTorch: {255 * difference:.2g} of 255 levels.")
    if push:
        with TemporaryDirectory() as folder:  # its card names the repository
            print(hub.push(export_model(model, folder, dtype, f"hf:{push}"), push))


def explore(
    model: Model | None = None,
    *,
    source: Source = None,
    host: str = "127.0.0.1",
    port: Positive = 8080,
    open: bool = False,
) -> None:
    """Explore a model in the browser.

    Args:
        model: default: celeba-64.
        host: address to listen on; 0.0.0.0 lets others in.
        port: to listen on.
        open: open the page in the browser.
    """
    from dfcvae.explore.serve import serve
    from dfcvae.files import pretrained_models

    model = model or (FIRST if FIRST in pretrained_models() else None)
    if model is None:
        raise UserError("Name a model to explore: a run folder, a checkpoint, or an exported folder.")
    serve(model, source, host=host, port=port, show=open)
