"""The frozen numbers of every published loss on seeded random networks, and the script that writes them.

python -m tests.losses.golden
"""

import json
from pathlib import Path

from dfcvae.losses import NAMES, perceptual
from tests.losses import naive

GOLDEN = Path(__file__).with_name("golden.json")
ARCHS = {name: entry[0] for name, entry in naive.PUBLISHED.items()} | {"lpips": "vgg16"}


def frozen(name):
    """Every term and the total of two pairs of images, as plain numbers."""
    loss = perceptual(name, "random" if name in ARCHS else None)
    size = 176 if name == "ms-ssim" else 32
    x_hat, x = naive.waves(2, size, 0.4), naive.waves(2, size)
    values = loss.terms(x_hat, x) | {"total": loss(x_hat, x)}
    return {term: [float(f"{number:.8g}") for number in value.tolist()] for term, value in values.items()}


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(frozen(name))}" for name in NAMES]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
