"""What is said of the same argument in several commands."""

MODEL = "a run folder, a checkpoint, or an exported folder"
SOURCE_PATH = "a folder of images, CelebA in any layout (folder, zip, parquet files), or 'synthetic'"
SOURCE = "where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training)"
FITTED = "where the training faces are (default: as in training)"
MOVES = "a PNG, or a GIF or MP4 that moves"
OUT = "a PNG, or a folder with --each"
