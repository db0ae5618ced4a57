"""Quality of single images: PSNR, sharpness, LPIPS, and the mesh artefact of losses on deep features."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dfcvae.errors import UserError
from dfcvae.images import to_rgb
from dfcvae.losses import mean_squared_error, perceptual
from dfcvae.weights import imagenet_file, torchvision_file, verified_imagenet_file

Distance = Callable[[Tensor, Tensor], Tensor]  # of images (N, C, H, W) in [0, 1], (N,)

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
YCBCR = (LUMA, (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))

LPIPS_NETWORKS = {"alex": "alexnet", "vgg": "vgg16"}  # torchvision's names

PERIOD = 8  # pixels: three poolings, as before conv4; multiples of its frequency are the periods 4 and 2
NEIGHBOURS = (-2, 0, 2)  # frequencies around a peak: the window spreads it over the nearest ones
BESIDE_AXIS = (-4, -3, 3, 4)  # frequencies, for the same reason
FAINT = 1e-3  # power of a colour difference relative to the luma; real photographs have 0.03 and more


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio ``-10 log10 MSE`` in dB of images in [0, 1], (N,)."""
    return -10 * mean_squared_error(x_hat, x).log10()


def laplacian_variance(images: Tensor) -> Tensor:
    """Variance over the pixels of the discrete Laplacian of the luma, (N,): a common measure of sharpness.

    Of images (N, C, H, W) in [0, 1], at least 4 pixels wide and high: Pech-Pacheco et al. 2000, "Diatom autofocusing in
    brightfield microscopy". Absolute values depend on the images; read it relative to that of the originals.
    """
    luma = (to_rgb(images) * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return conv2d(luma, images.new_tensor(LAPLACIAN).view(1, 1, 3, 3)).flatten(1).var(dim=1)


def lpips_distances(device: torch.device | str = "cpu", *, download: bool = False) -> dict[str, Distance]:
    """LPIPS, version 0.1, by the authors' name of its network: ``alex``, ``vgg``.

    Zhang et al. 2018 (arXiv 1801.03924). ``vgg`` is this project's own loss; ``alex`` is torchmetrics'. A network whose
    ImageNet weights are missing is skipped, unless ``download`` is set. A UserError if weights are corrupted, or cannot
    be downloaded.
    """
    found: dict[str, Distance] = {}
    for name, arch in LPIPS_NETWORKS.items():
        if download or imagenet_file(arch).is_file() or torchvision_file(arch).is_file():
            found[name] = _lpips_alex(device) if name == "alex" else perceptual("lpips").to(device)
    return found


def lpips_skipped(distances: Mapping[str, Distance]) -> str:
    """A sentence on the networks that `lpips_distances` had no weights for, or nothing."""
    missing = [arch for name, arch in LPIPS_NETWORKS.items() if name not in distances]
    if not missing:
        return ""
    files = " and ".join(str(torchvision_file(arch)) for arch in missing)
    return (
        f"LPIPS on {' and '.join(missing)} was skipped: its ImageNet weights are not on this machine. --lpips "
        f"downloads them, or put torchvision's files at {files}."
    )


def _lpips_alex(device: torch.device | str) -> Distance:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    verified_imagenet_file("alexnet")  # torchmetrics loads it without a check of its hash
    network = LearnedPerceptualImagePatchSimilarity("alex").net.to(device)
    return lambda x_hat, x: network(to_rgb(x_hat), to_rgb(x), normalize=True).flatten()


def power_spectrum(images: Tensor) -> Tensor:
    """Power by frequency (N, C, H, W) of images (N, C, H, W): of the luma and, for RGB, of two colour differences.

    Under a Hann window. In YCbCr, since faces have little fine detail in colour and a mesh may have much. A UserError
    if the images are not square with sides that are a multiple of 8 and at least 32 pixels.
    """
    height, width = images.shape[-2:]
    if height != width or width % PERIOD or width < 4 * PERIOD:
        raise UserError(
            f"A mesh of period {PERIOD} is measured in square images with a side that is a multiple of {PERIOD} and at "
            f"least {4 * PERIOD} pixels, got {height}x{width}."
        )
    channels = images.float()
    if images.shape[1] == 3:
        channels = torch.einsum("dc,nchw->ndhw", channels.new_tensor(YCBCR), channels)
    window = torch.hann_window(width, device=images.device)
    centred = channels - channels.mean(dim=(2, 3), keepdim=True)
    return torch.fft.fft2(centred * window[:, None] * window).abs().square()


def _in_colour(power: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the colour differences that the originals do not have: grey images stored as RGB."""
    strength = original.mean(dim=(1, 2))
    has = strength >= FAINT * strength[0]
    return power[has], original[has]


def mesh_energy(power: Tensor, original: Tensor) -> float:
    """Energy of a grid in a set of images, relative to what the originals hold at the same frequencies.

    The mean over channels (colours only if the originals have any) and over the grid's frequencies f (multiples of 1/8
    cycles per pixel in both directions, without the constant) of ``(P(f) - S(f)) / P_0(f)``: P the power spectrum, S
    the geometric mean of P at the eight frequencies two steps around f, P_0 the originals' power. 0 means no mesh,
    whatever the sharpness; 1 is a mesh with as much energy as all detail of the originals there. Both arguments are
    mean `power_spectrum`, (C, H, H).
    """
    power, original = _in_colour(power, original)
    offsets = [(a, b) for a in NEIGHBOURS for b in NEIGHBOURS if a or b]
    around = torch.stack([power.roll(offset, (1, 2)) for offset in offsets]).log().mean(dim=0).exp()
    step = power.shape[-1] // PERIOD
    excess = ((power - around) / original)[:, ::step, ::step]
    return float(excess.flatten(1)[:, 1:].mean())  # the first is the constant


def plaid_energy(power: Tensor, original: Tensor) -> float:
    """Energy of horizontal and vertical lines across a set of images, relative to the originals' there.

    The mean over channels and over the frequencies f on both axes of the spectrum, from 1/8 to 1/2 cycles per pixel, of
    ``(P(f) - S(f)) / P_0(f)``: P and P_0 as in `mesh_energy`, S the geometric mean of P at the frequencies beside the
    axis. Lines of changing strength spread along an axis, away from the multiples of 1/8. Originals themselves have
    about 0.5: faces have horizontal and vertical edges. Arguments are those of `mesh_energy`.
    """
    power, original = _in_colour(power, original)
    size = power.shape[-1]
    along = torch.arange(size // PERIOD, size // 2 + 1)
    excess = []
    for spectrum, natural in ((power, original), (power.mT, original.mT)):  # the horizontal axis, then the vertical
        beside = torch.stack([spectrum[:, aside, along] for aside in BESIDE_AXIS]).log().mean(dim=0).exp()
        excess.append((spectrum[:, 0, along] - beside) / natural[:, 0, along])
    return float(torch.stack(excess).mean())
