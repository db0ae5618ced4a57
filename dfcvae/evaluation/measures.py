"""Measures of a trained VAE on held-out faces, none of which needs the loss it was trained on."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from tqdm import tqdm

from dfcvae.data import Batches, Faces
from dfcvae.errors import UserError
from dfcvae.evaluation.mesh import mesh_energy, plaid_energy, power_spectrum
from dfcvae.evaluation.sharpness import laplacian_variance
from dfcvae.features import VGGFeatures
from dfcvae.gaussian import active_units, kl_divergence
from dfcvae.images import to_float
from dfcvae.losses import PerceptualLoss, mean_squared_error, measure_scales
from dfcvae.vae import VAE, evaluating

JUDGE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")  # the layers of a judging network to compare, in any VGG


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio ``-10 log10 MSE`` in dB of images in [0, 1], (N,)."""
    return -10 * mean_squared_error(x_hat, x).log10()


@torch.no_grad()
def evaluate(
    vae: VAE,
    faces: Faces,
    *,
    features: VGGFeatures | None = None,
    judge: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 100,
    progress: bool = False,
) -> dict[str, float]:
    """Mean measures of reconstructions from the posterior mean.

    Args:
        vae: the model.
        faces: held-out faces.
        features: a feature network; better another one than that of the training loss.
        judge: maps images in [0, 1] to attribute logits (N, A); better another network than that of the loss.
        batch_size: images at a time; the result does not depend on it.
        progress: show a bar.

    Returns:
        ``mse``, ``psnr`` (dB), ``ssim``; ``sharpness``, the Laplacian variance of all reconstructions relative to that
        of the originals (1: as sharp); ``mesh`` and ``plaid``, the energy of a grid and of lines across them (see
        `dfcvae.evaluation.mesh`); ``kl`` (nats) and ``active_units``; with ``features``, ``features/<layer>``, the
        fraction of the layer's variance left unexplained (0: perfect, 1: no better than the mean face); with ``judge``,
        ``attribute_agreement``, the share of attributes on which it gives original and reconstruction the same verdict.

    Raises:
        UserError: if there are fewer than two faces.
    """
    if len(faces) < 2:
        raise UserError(f"Measures need at least 2 faces, but {len(faces)} came.")
    device = next(vae.parameters()).device
    loss = PerceptualLoss(features) if features is not None else None
    scales = measure_scales(lambda: _images(faces, batch_size, device), loss) if loss is not None else {}
    per_image: dict[str, list[Tensor]] = {}
    means, spectra = [], []
    count = len(Batches(faces, batch_size))
    for x in tqdm(_images(faces, batch_size, device), "measuring", count, disable=not progress):
        with evaluating(vae):
            mu, logvar = vae.encode(x)
            x_hat = vae.decode(mu)
        values = {
            "mse": mean_squared_error(x_hat, x),
            "psnr": psnr(x_hat, x),
            "ssim": _ssim(x_hat, x),
            "sharpness": laplacian_variance(x_hat),
            "original_sharpness": laplacian_variance(x),
            "kl": kl_divergence(mu, logvar),
        }
        if loss is not None:
            values |= {f"features/{name}": value for name, value in loss.terms(x_hat, x).items()}
        if judge is not None:
            values["attribute_agreement"] = ((judge(x) > 0) == (judge(x_hat) > 0)).float().mean(dim=1)
        for name, value in values.items():
            per_image.setdefault(name, []).append(value.cpu())
        means.append(mu.cpu())
        spectra.append(torch.stack([power_spectrum(images).sum(dim=0).cpu() for images in (x_hat, x)]))
    result = {name: float(torch.cat(values).mean()) for name, values in per_image.items()}
    result["sharpness"] /= result.pop("original_sharpness")
    output, original = torch.stack(spectra).sum(dim=0) / len(faces)
    result |= {"mesh": mesh_energy(output, original), "plaid": plaid_energy(output, original)}
    result |= {name: value / scales[name] for name, value in result.items() if name in scales}
    return result | {"active_units": float(active_units(torch.cat(means)))}


def _images(faces: Faces, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    return (to_float(batch.images.to(device)) for batch in Batches(faces, batch_size))


def _ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) per image, (N,)."""
    value = structural_similarity_index_measure(x_hat, x, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value
