"""The Inception network that FID and KID are defined by, through torch-fidelity."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.images import to_rgb, to_uint8
from dfcvae.weights import download

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
NAMES = (Path(URL).name, "pt_inception-2015-12-05-6726825d.pth")  # torch-fidelity's, pytorch-fid's: the same bytes
LAYER = "2048"  # the pooled features, by their number
AT_ONCE = 25  # images of 299 pixels, whose largest layer takes 140 MB

Embedding = Callable[[Tensor], Tensor]  # images (N, C, H, W) in [0, 1] to features (N, F)


def inception_network(weights: str | Path = "download", device: torch.device | str = "cpu") -> Embedding:
    """The pooled features (N, 2048) of images (N, C, H, W) in [0, 1], as FID and KID take them.

    Szegedy et al. 2015 (arXiv 1512.00567), in the weights of Heusel et al. 2017 (arXiv 1706.08500). Images are
    quantised to uint8 first and resized to 299 as the original does it, with the bilinear filter of TensorFlow 1; grey
    ones are repeated over three channels.

    Args:
        weights: a file, or ``"download"`` for the copy in torch's folder, fetched where it is missing (96 MB).
        device: of the network and the images.

    Raises:
        UserError: if torch-fidelity is not installed, or the weights cannot be had or are others.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError('FID and KID need torch-fidelity: pip install -e ".[fid]".') from error
    file = _checked(_kept() if weights == "download" else Path(weights).expanduser())  # before it is unpickled
    extractor = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=str(file)).to(device)

    def embed(images: Tensor) -> Tensor:
        return torch.cat([extractor(to_rgb(part))[0] for part in to_uint8(images).split(AT_ONCE)])

    return embed


def inception_card() -> dict[str, str]:
    """What the protocol says of FID and KID beside the size of the sets."""
    return {
        "inception": f"torch-fidelity, {LAYER} pooled features; images as uint8, resized to 299 as in TensorFlow 1",
        "inception_sha256": SHA256,
        "kid": "over the whole sets",
    }


def _kept() -> Path:
    places = [Path(torch.hub.get_dir()) / "checkpoints" / name for name in NAMES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        download(URL, places[0], "Inception weights of FID", "or name the file on the command line (`--fid FILE`)")
    return found or places[0]


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"No Inception weights at {file}; expected {NAMES[0]} from {URL}.")
    came = hashlib.sha256(file.read_bytes()).hexdigest()
    if came != SHA256:
        raise UserError(
            f"{file} is damaged, or holds another network than the one that FID and KID are defined by: its SHA-256 "
            f"begins with {came[:8]}, not {SHA256[:8]}; replace it by {URL}."
        )
    return file
