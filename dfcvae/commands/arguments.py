"""Types of arguments shared by several commands, with their help texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from dfcvae.fields import Positive, Range

Model = Annotated[
    str, "a run folder, a checkpoint, an exported folder, hf:user/repo[@revision], or a shipped model such as celeba-64"
]
Data = Annotated[str, "a folder of images, CelebA in any layout (folder, zip, parquet files), or 'synthetic'"]
Source = Annotated[
    str | None,
    "where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training)",
]
Size = Annotated[Positive, "side of the square images in pixels: 32, 64, 128 or 256"]
Prior = Annotated[
    Literal["auto", "normal", "gaussian", "gmm"],
    "auto: the mixture of Gaussians saved with the model, or N(0, I) if there is none; normal: N(0, I); gaussian or "
    "gmm (the mixture): fitted to the latents of the training faces unless already saved",
]
Judges = Annotated[
    Sequence[Path],
    "a network that judges: an attribute network of `dfcvae features train`, or a YAML file that describes any other "
    "one (docs/evaluation.md); may be repeated",
]
Fid = Annotated[
    str | None,
    "also FID and KID of samples, which need torch-fidelity and Inception's weights: FILE, or downloaded once",
]
Lpips = Annotated[bool, "download the weights of LPIPS where they are missing; it is left out otherwise"]
Picture = Annotated[Path | None, "a PNG"]
Animated = Annotated[Path | None, "a PNG, or a GIF or MP4 for an animation"]
Each = Annotated[bool, "write one PNG per face into a folder instead of a picture of all"]
Scale = Annotated[
    Positive | None,
    "enlarge faces by this factor; 1: native pixels (default: to 128 pixels or more; files of --each are native)",
]
Temperature = Annotated[float, Range(0, 10, "a number from 0 to 10"), "factor of the prior's standard deviation"]
