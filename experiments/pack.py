"""Pack the faces of a data set, at the size of training, into files small enough to copy to another machine.

    python experiments/pack.py CELEBA OUT [--size 64] [--quality 95] [--at-most N]

Writes OUT in CelebA's official layout, as for `--data.source`: img_align_celeba.zip (JPEGs of SIZE x SIZE
pixels, cropped as in training, renumbered), list_attr_celeba.txt and list_eval_partition.txt. 18,000 faces of 64
pixels take 48 MB. With the default crop, `auto`, square images are not cropped again; train with `--data.size SIZE`,
and they are not resized either. The JPEGs are compressed a second time: the script prints how close they are (39 dB).
"""

import argparse
import io
import zipfile
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data import load_faces

SPLITS = ("train", "val", "test")
COMPARED = 50  # every N-th image is decoded again to measure the compression error


def jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """An image (H, W, 3) as a JPEG file."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality, optimize=True)
    return encoded.getvalue()


def psnr(pixels: NDArray[np.uint8], file: bytes) -> float:
    """Peak signal-to-noise ratio of a JPEG file, dB."""
    error = np.square(np.asarray(Image.open(io.BytesIO(file))).astype(float) - pixels).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def main() -> None:
    """Write the zip and the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", help="CelebA in any layout")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--at-most", type=int, metavar="N", help="the first N faces of each split (default: all)")
    arguments = parser.parse_args()
    splits = load_faces(DataConfig(arguments.celeba, size=arguments.size))
    arguments.out.mkdir(parents=True, exist_ok=True)
    names, attributes, partition, fidelity = splits["train"].names, [], [], []
    with zipfile.ZipFile(arguments.out / "img_align_celeba.zip", "w", zipfile.ZIP_STORED) as archive:
        for number, split in enumerate(SPLITS):
            images, rows = (
                tensor[: arguments.at_most].numpy() for tensor in (splits[split].images, splits[split].attributes)
            )
            for image, row in zip(tqdm(images, split), rows, strict=True):
                file, pixels = f"{len(partition) + 1:06d}.jpg", image.transpose(1, 2, 0)
                encoded = jpeg(pixels, arguments.quality)
                if len(partition) % COMPARED == 0:
                    fidelity.append(psnr(pixels, encoded))
                archive.writestr(f"img_align_celeba/{file}", encoded)
                attributes.append(f"{file} {' '.join('1' if value else '-1' for value in row)}")
                partition.append(f"{file} {number}")
    (arguments.out / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    if names:
        lines = [str(len(attributes)), " ".join(names), *attributes]
        (arguments.out / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    size = sum(file.stat().st_size for file in arguments.out.iterdir())
    print(f"{len(partition):,} faces, {size / 1e6:.1f} MB, mean PSNR {mean(fidelity):.1f} dB, in {arguments.out}")


if __name__ == "__main__":
    main()
