"""Add the model of a run to the package, under a name that every command accepts.

    python experiments/ship.py runs/dfc-vae celeba-64 [--source CELEBA] [--dtype float16]

Fits the mixture and the attribute vectors to the training faces of the run if they are not saved with it, exports the
model in half precision to dfcvae/pretrained/NAME, and prints the size of the folder. For measures in the model card,
first run `dfcvae evaluate RUN --out RUN/test.json`.
"""

import argparse
import sys
from pathlib import Path

from dfcvae.errors import UserError
from dfcvae.exporting import DTYPES, export_model
from dfcvae.files import PRETRAINED
from dfcvae.fitted import load_prior, load_vectors, saved_mixture
from dfcvae.vae import VAE

LARGEST = 5 * 2**20  # bytes of a shipped model


def main() -> None:
    """Fit, export, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("name", help="name of the model for commands, such as celeba-64")
    parser.add_argument("--source", help="where the training faces are (default: as in training)")
    parser.add_argument("--dtype", choices=[*DTYPES], default="float16")
    parser.add_argument("--into", type=Path, default=PRETRAINED, help="default: dfcvae/pretrained")
    args = parser.parse_args()
    try:
        vae = VAE.load(args.run)
        prior = saved_mixture(args.run, vae) or load_prior(args.run, "gmm", vae=vae, data=args.source)
        vectors = load_vectors(args.run, args.source, vae=vae)
        folder = export_model(args.run, args.into / args.name, args.dtype)
    except UserError as error:
        sys.exit(str(error))
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(
        f"{args.name}: {len(files)} files, {size / 1e6:.2f} MB, {prior}, {len(vectors.names)} attributes, in {folder}"
    )
    if size >= LARGEST:
        sys.exit(f"A shipped model should be below {LARGEST / 2**20:g} MiB.")


if __name__ == "__main__":
    main()
