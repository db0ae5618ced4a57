"""What the benchmark is asked to measure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dfcvae.errors import UserError
from dfcvae.networks import SIZES
from dfcvae.vgg import Layer, layer_names, resolve_layers

ARCH = "vgg19_bn"  # what the popular implementations use
LATENT_DIM = 128


@dataclass(frozen=True)
class BenchSettings:
    """One benchmark.

    Args:
        size: side of the images in pixels: 32, 64, 128 or 256.
        batch_size: images in a step, at least 2.
        rounds: how often every row has its turn.
        steps: timed steps in a turn; None for 1 on a CPU and 100 on a GPU, whose steps are short.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        layers: what is compared, by torchvision's index or by name.
        quick: measure only the popular step and the package's own, uncompiled.

    Raises:
        UserError: for a size without a VAE, an unknown layer, a batch too small, or a GPU that is not there.
    """

    size: int = 64
    batch_size: int = 64
    rounds: int = 3
    steps: int | None = None
    accelerator: str = "auto"
    layers: Sequence[Layer] = (14, 24, 34, 43)
    quick: bool = False

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise UserError(f"A VAE's size is one of {', '.join(map(str, SIZES))}; {self.size} came.")
        if self.batch_size < 2:
            raise UserError(f"A batch needs at least 2 images for batch norm; {self.batch_size} came.")
        if min(self.rounds, self.steps or 1) < 1:
            raise UserError(f"Expected at least 1 round of 1 step, but {self.rounds} of {self.steps} came.")
        from dfcvae.device import check_accelerator  # it brings Lightning, which most rows do not need

        check_accelerator(self.accelerator)
        resolve_layers(ARCH, self.layers)

    @property
    def device(self) -> torch.device:
        """Where the steps run."""
        return torch.device("cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu")

    @property
    def timed_steps(self) -> int:
        """Timed steps in a turn."""
        return self.steps or (100 if self.device.type == "cuda" else 1)

    @property
    def warm_up_steps(self) -> int:
        """Steps before the clock starts: meanwhile a GPU clocked down, and freed memory was given back."""
        return max(1, self.timed_steps // 10)

    @property
    def indices(self) -> list[int]:
        """The layers by torchvision's index, from shallow to deep."""
        names = layer_names(ARCH)
        return sorted(names.index(name) for name in resolve_layers(ARCH, self.layers))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        return asdict(self) | {
            "layers": self.indices,
            "steps": self.timed_steps,
            "device": self.device.type,
        }
