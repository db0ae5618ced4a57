"""One HTML file that shows a model in any browser, offline: its decoder runs in the page.

The folder ``web`` holds the page's HTML, CSS and JavaScript, and in ``ort`` the WebAssembly build of ONNX Runtime,
unchanged but for its compression (version, checksums and licence beside it).
"""

import gzip
import html
import json
import re
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.files import write_atomically
from dfcvae.fitted import VECTORS, latent_folder
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.latent.attributes import grouped
from dfcvae.latent.stored import OtherFitError
from dfcvae.onnxfiles import check_libraries, compare, half_weights, latents, metadata, to_onnx
from dfcvae.trained import Trained
from dfcvae.vae import VAE, digest

WEB = Path(__file__).parent / "web"
RUNTIME = {"runtime-script": "ort.wasm.bundle.min.mjs.gz", "runtime-wasm": "ort-wasm-simd-threaded.wasm.gz"}
DIMENSIONS = 12
DRAWS = 16  # whose pixels decide whether float16 weights will do
HALF_A_LEVEL = 0.5 / 255
PLACE = re.compile(r"\{\{([\w-]+)\}\}")


def export_page(model: str | Path, out: str | Path) -> float:
    """Write a page that holds a model's decoder, prior, attribute vectors and most informative dimensions.

    The decoder's weights are float16 where that moves no pixel by half a level of 255, else float32.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        out: the file, which is replaced if it exists.

    Returns:
        The largest difference of a pixel in [0, 1] from PyTorch's, computed by onnxruntime.

    Raises:
        UserError: if a library or the model is missing, or its network cannot be exported.
    """
    check_libraries()
    if Path(out).is_dir():
        raise UserError(f"{out} is a folder; name a file, such as {Path(out) / 'page.html'}.")
    vae = VAE.load(model)
    decoder, difference = small_decoder(vae, metadata(model))
    about = describe(model, vae)
    parts = {
        "name": html.escape(about["name"]),
        "about": f"{html.escape(vae.config['network'])}, {about['size']} x {about['size']} pixels, "
        f"{'grey' if about['channels'] == 1 else 'RGB'}, {about['latent_dim']} latent dimensions",
        "model": packed(json.dumps(about).encode()),
        "decoder": packed(decoder),
    }
    parts |= {name: _base64((WEB / "ort" / file).read_bytes()) for name, file in RUNTIME.items()}
    parts |= {kind: (WEB / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    page = (WEB / "page.html").read_text(encoding="utf-8")
    write_atomically(Path(out), PLACE.sub(lambda match: parts[match[1]], page))
    return difference


def small_decoder(vae: VAE, about: dict[str, str]) -> tuple[bytes, float]:
    """The decoder as an ONNX file, with float16 weights if they will do, and its largest difference from PyTorch."""
    z = latents(vae, DRAWS)
    model = to_onnx(vae.decoder, "z", z, ["images"], about)
    half = half_weights(model)
    try:
        return half.SerializeToString(), compare(half, vae.decoder, z, tolerance=HALF_A_LEVEL)["images"]
    except UserError:  # too large a difference, or a weight beyond float16
        pass
    return model.SerializeToString(), compare(model, vae.decoder, z)["images"]


def describe(model: str | Path, vae: VAE) -> dict[str, Any]:
    """All that the page knows of a model besides its decoder, as plain values."""
    trained, shape = Trained(model), vae.config
    indices, nats = trained.dimensions
    faces = "held-out faces" if trained.has_faces else "drawn faces"
    prior, standard = trained.prior("auto"), Prior.standard(vae.latent_dim)
    vectors = _vectors(model, vae)
    return {
        "name": trained.name,
        **{key: shape[key] for key in ("size", "channels", "latent_dim")},
        "priors": [_prior(prior)] * (str(prior) != str(standard)) + [{"text": str(standard), "weights": [1]}],
        "vectors": {name: _numbers(row) for name, row in zip(vectors.names, vectors.vectors, strict=True)},
        "groups": grouped(vectors.names) if vectors.names else {},
        "dimensions": [
            {"index": int(index), "label": f"z[{index}], {kl:.2f} nats"}
            for index, kl in zip(indices[:DIMENSIONS].tolist(), nats.tolist(), strict=False)
        ],
        "about_dimensions": f"The most informative latent dimensions, by their mean KL over {faces}; "
        f"{float(nats.sum()):.1f} nats in total.",
    }


def _vectors(model: str | Path, vae: VAE) -> AttributeVectors:
    """Those saved with the model, or none."""
    file = latent_folder(model) / VECTORS
    if file.is_file():
        try:
            return AttributeVectors.load(file, digest(vae))
        except OtherFitError as error:
            print(f"Not in the page: {error}", file=sys.stderr)
    else:
        print(
            f"The page has no attributes to edit; `dfcvae attributes {model}` fits vectors first.",
            file=sys.stderr,
        )
    return AttributeVectors((), latents(vae, 0))


def _prior(prior: Prior) -> dict[str, Any]:
    factors = prior.factors[:1] if prior.shared else prior.factors
    rows = [[_numbers(row[: i + 1]) for i, row in enumerate(factor)] for factor in factors]
    means = [_numbers(mean) for mean in prior.means]
    return {"text": str(prior), "weights": _numbers(prior.weights), "means": means, "factors": rows}


def _numbers(values: Tensor) -> list[float]:
    """Six digits of each, which shortens the page."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def packed(content: bytes) -> str:
    """As the page unpacks it: gzip, in base64."""
    return _base64(gzip.compress(content, mtime=0))


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
