"""Distances between sets of images in the features of any network: Frechet, kernel, precision and recall."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dfcvae.data import Faces
from dfcvae.device import keep_freed_memory
from dfcvae.errors import UserError
from dfcvae.images import to_float, to_rgb, to_uint8
from dfcvae.latent import Prior
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE
from dfcvae.weights import download

Embedding = Callable[[Tensor], Tensor]  # images (N, C, H, W) in [0, 1] to features (N, F)

COMPARED = 10_000  # images of each set at most: the time of all but the Frechet distance grows with the square
NEIGHBOUR = 3  # Kynkaanniemi et al. 2019, section 3
FEWEST = NEIGHBOUR + 2  # images of a set
ROWS_AT_ONCE = 500  # of a matrix of distances: 40 MB
EMBEDDED_AT_ONCE = 100

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
# the names of torch-fidelity and of pytorch-fid for the same bytes
INCEPTION_FILES = (Path(INCEPTION_URL).name, "pt_inception-2015-12-05-6726825d.pth")
INCEPTION_LAYER = "2048"  # the pooled features, by their number
INCEPTION_AT_ONCE = 25  # images of 299 pixels, whose largest layer takes 140 MB


@torch.no_grad()
def measure_samples(
    vae: VAE,
    val: Faces,
    test: Faces,
    network: Embedding,
    *,
    mixture: Prior | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """How far sets of images are from the faces of the test split, all of one size, in the features of a network.

    The network maps images to features on the device of the model, better another one than that of the training loss;
    the mixture is a prior fitted to the model's latents, the seed that of the samples.

    Returns:
        ``samples`` from N(0, I), with a ``mixture`` also ``samples_gmm``, ``reconstructions`` of validation faces, and
        ``floor``: the validation faces themselves, which no model can be expected to surpass. Each with ``frechet``,
        ``kernel``, ``precision`` and ``recall``, of the first faces of both splits, as many of one as of the other, at
        most 10,000.

    Raises:
        UserError: if a split has too few faces for a neighbourhood.
    """
    n, device = compared(val, test), next(vae.parameters()).device
    if n < FEWEST:
        raise UserError(
            f"Samples are measured with at least {FEWEST} faces in the validation and in the test split, got "
            f"{len(val)} and {len(test)}; use more faces."
        )
    keep_freed_memory()
    priors = {"samples": Prior.standard(vae.latent_dim)} | ({"samples_gmm": mixture} if mixture is not None else {})
    latents = {k: prior.sample(n, generator=seeded_generator(seed, Stream.SAMPLES)) for k, prior in priors.items()}

    def features(images: Tensor, through: Embedding | None = None) -> Tensor:
        return embed(lambda x: network(through(x) if through else x), images, device, progress=progress)

    real = features(test.images[:n])
    sets = {name: features(z, vae.decode_all) for name, z in latents.items()}
    sets |= {"reconstructions": features(val.images[:n], vae.reconstruct), "floor": features(val.images[:n])}
    measures = {}
    for name, fake in sets.items():
        precision, recall = precision_recall(real, fake)
        distances = {"frechet": frechet_distance(real, fake), "kernel": kernel_distance(real, fake)}
        measures[name] = distances | {"precision": precision, "recall": recall}
    return measures


def compared(val: Faces, test: Faces) -> int:
    """Images in each set that `measure_samples` compares."""
    return min(len(val), len(test), COMPARED)


@torch.no_grad()
def embed(network: Embedding, images: Tensor, device: torch.device | str = "cpu", *, progress: bool = False) -> Tensor:
    """Features (N, F) on the CPU of many images (N, C, H, W): uint8, or float in [0, 1].

    Other inputs of a network are passed on as they are: latents, for one that decodes them first.
    """
    features = None
    for start in tqdm(range(0, len(images), EMBEDDED_AT_ONCE), "embedding", disable=not progress or None):
        x = images[start : start + EMBEDDED_AT_ONCE].to(device)
        features = put_rows(network(to_float(x) if x.dtype == torch.uint8 else x), features, start, len(images))
    assert features is not None, "no images"
    return features


def put_rows(value: Tensor, rows: Tensor | None, start: int, images: int) -> Tensor:
    """Values of all images (N, ...) on the CPU, with those of a batch (B, ...) written to their rows.

    ``rows`` is the result for the batch before, None for the first one. One block of memory from the first batch on:
    small tensors of every batch would fragment the memory (10 MB for every 100 images of 64 pixels).
    """
    if rows is None:
        rows = torch.empty(images, *value.shape[1:], dtype=value.dtype)
    rows[start : start + len(value)] = value
    return rows


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """``|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))`` of the means m and covariances S of two sets of features.

    Of features (N, F) and (M, F): Heusel et al. 2017 (arXiv 1706.08500), computed by torchmetrics. It is the FID only
    in the features of Inception; in those of another network it has another scale, and must be named after that
    network. It falls with the number of images: compare sets of equal size.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


class _Given(nn.Identity):
    """A feature network for torchmetrics where the features are given."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features (N, F) and (M, F), kernel ``(a.b / F + 1)^3``.

    ``mean_{i != j} k(r_i, r_j) + mean_{i != j} k(f_i, f_j) - 2 mean_{i, j} k(r_i, f_j)``: Gretton et al. 2012, "A
    Kernel Two-Sample Test", lemma 6, with the kernel of Binkowski et al. 2018 (arXiv 1801.01401), over the full sets
    instead of the mean over subsets. It is the KID only in the features of Inception. Its expectation is 0 for sets
    from the same source, whatever their size; single values may be below.
    """
    real, fake = real.double(), fake.double()

    # in blocks: torchmetrics' poly_mmd holds three N x N matrices (2.4 GB of 10,000 images), and needs N = M
    def total(a: Tensor, b: Tensor) -> float:
        return sum(float(_kernel(part @ b.T, a.shape[1]).sum()) for part in a.split(ROWS_AT_ONCE))

    def within(a: Tensor) -> float:
        diagonal = float(_kernel(a.square().sum(dim=1), a.shape[1]).sum())
        return (total(a, a) - diagonal) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2 * total(real, fake) / (len(real) * len(fake))


def _kernel(product: Tensor, numbers: int) -> Tensor:
    return (product / numbers + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """The share of fakes near a real image, and the share of real images near a fake, of features (N, F) and (M, F).

    Near is no farther than that image's third nearest neighbour in its own set: Kynkaanniemi et al. 2019, "Improved
    Precision and Recall Metric for Assessing Generative Models" (arXiv 1904.06991), equations 1 and 2. Both depend on
    the number of images: compare sets of equal size.
    """
    real, fake = real.double(), fake.double()
    return _covered(fake, real), _covered(real, fake)


def _covered(points: Tensor, manifold: Tensor) -> float:
    """The share of points (N, F) that lie within the ball of any of the manifold's (M, F)."""
    parts = manifold.split(ROWS_AT_ONCE)
    # the nearest of all is the point itself
    radii = torch.cat([torch.cdist(part, manifold).kthvalue(NEIGHBOUR + 1, dim=1).values for part in parts])
    inside = [(torch.cdist(part, manifold) <= radii).any(dim=1) for part in points.split(ROWS_AT_ONCE)]
    return float(torch.cat(inside).double().mean())


def inception_network(weights: str | Path = "download", device: torch.device | str = "cpu") -> Embedding:
    """The pooled features (N, 2048) of images (N, C, H, W) in [0, 1], in which FID and KID are defined.

    Szegedy et al. 2015 (arXiv 1512.00567), in the weights of Heusel et al. 2017 (arXiv 1706.08500), by torch-fidelity.
    Images are quantised to uint8 and resized to 299 as in the original, with the bilinear filter of TensorFlow 1; grey
    ones are repeated over three channels.

    The weights are a file, or ``"download"`` for the copy in torch's folder, fetched where it is missing (96 MB). A
    UserError if they are missing or corrupted, or torch-fidelity is not installed.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError('FID and KID need torch-fidelity: pip install -e ".[fid]".') from error
    file = _inception_file(weights)
    name = "inception"
    extractor = FeatureExtractorInceptionV3(name, [INCEPTION_LAYER], feature_extractor_weights_path=str(file))
    extractor.to(device)
    return lambda images: torch.cat([extractor(to_rgb(part))[0] for part in to_uint8(images).split(INCEPTION_AT_ONCE)])


def inception_card() -> dict[str, str]:
    """The entries of the protocol for FID and KID."""
    layer = f"{INCEPTION_LAYER} pooled features; images as uint8, resized to 299 as in TensorFlow 1"
    return {"inception": f"torch-fidelity, {layer}", "inception_sha256": INCEPTION_SHA256, "kid": "over the whole sets"}


def _inception_file(weights: str | Path) -> Path:
    """The weights, checked before anything unpickles them."""
    file = Path(weights).expanduser()
    if weights == "download":
        places = [Path(torch.hub.get_dir()) / "checkpoints" / name for name in INCEPTION_FILES]
        file = next((place for place in places if place.is_file()), places[0])
        if not file.is_file():
            otherwise = "or name the file on the command line (`--fid FILE`)"
            download(INCEPTION_URL, file, "Inception weights of FID", otherwise)
    if not file.is_file():
        raise UserError(f"No Inception weights at {file}; expected {INCEPTION_FILES[0]} from {INCEPTION_URL}.")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    if sha256 != INCEPTION_SHA256:
        raise UserError(
            f"{file} is corrupted, or is not the network that defines FID and KID: its SHA-256 begins with "
            f"{sha256[:8]}, expected {INCEPTION_SHA256[:8]}; replace it by {INCEPTION_URL}."
        )
    return file
