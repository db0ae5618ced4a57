"""What is said of the same argument in several commands."""

from typing import Literal

Prior = Literal["auto", "normal", "gaussian", "gmm"]

MODEL = "a run folder, a checkpoint, an exported folder, or a model that ships with the package, such as celeba-64"
PRIOR = (
    "auto: the mixture of Gaussians kept with the model, or N(0, I) if there is none; normal: N(0, I); gaussian or gmm "
    "(the mixture): fitted to the latents of the training faces unless it is kept already"
)
SOURCE_PATH = "a folder of images, CelebA in any layout (folder, zip, parquet files), or 'synthetic'"
SOURCE = "where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training)"
FITTED = "where the training faces are (default: as in training)"
MOVES = "a PNG, or a GIF or MP4 that moves"
OUT = "a PNG, or a folder with --each"
