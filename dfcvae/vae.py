"""The variational autoencoder: encode, decode, reconstruct, sample, save, load. The loss is separate."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfcvae.checkpoint import export_model, public_config, read_model
from dfcvae.errors import UserError
from dfcvae.gaussian import sample_posterior
from dfcvae.networks import NETWORKS, SIZES
from dfcvae.tensorfiles import digest as digest_of_tensors

DECODED_AT_ONCE = 256


class VAE(nn.Module):
    """Variational autoencoder with a standard normal prior and a diagonal Gaussian posterior.

    Args:
        network: name of the encoder and decoder, a key of ``dfcvae.networks.NETWORKS``.
        size: side of the square images in pixels: 32, 64, 128 or 256.
        channels: 3 (RGB) or 1 (grey).
        latent_dim: number D of latent dimensions.

    Raises:
        UserError: if an argument is not one of those values.
    """

    def __init__(self, network: str = "hou2016", size: int = 64, channels: int = 3, latent_dim: int = 100):
        super().__init__()
        _check_shape(network, size, channels, latent_dim)
        self.config: dict[str, Any] = {"network": network, "size": size, "channels": channels, "latent_dim": latent_dim}
        self.latent_dim = latent_dim
        self.image_shape = (channels, size, size)
        self.encoder, self.decoder = NETWORKS[network](size, channels, latent_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior ``mu, logvar``, each (N, D), of images in [0, 1], (N, C, H, W)."""
        if x.shape[1:] != self.image_shape or not x.is_floating_point():
            expected, got = ("x".join(map(str, s)) for s in (self.image_shape, x.shape[1:]))
            raise UserError(
                f"Images: expected float in [0, 1] of {expected} (channels x height x width), got {x.dtype} of {got}; "
                "crop, resize or convert them first."
            )
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Images in [0, 1], (N, C, H, W), of latents (N, D)."""
        return self.decoder(z)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``x_hat, mu, logvar`` for images (N, C, H, W) and standard normal noise eps (N, D)."""
        mu, logvar = self.encode(x)  # (N, D), (N, D)
        z = sample_posterior(mu, logvar, eps)  # (N, D)
        return self.decode(z), mu, logvar  # (N, C, H, W), ...

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior mean of images (N, C, H, W): deterministic, each image independently."""
        with evaluating(self):
            return self.decode(self.encode(x)[0])

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Decode n draws from the prior N(0, I): images (n, C, H, W) in [0, 1], on the model's device.

        The noise is drawn on the generator's device (default: the CPU), so that one seed gives the same latents
        wherever the model lives.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        return self.decode_all(torch.randn(n, self.latent_dim, generator=generator, device=device))

    @torch.no_grad()
    def decode_all(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W), on the model's device, of any number of latents (N, D), from any device.

        In batches, to bound the memory; each image is computed independently.
        """
        device = next(self.parameters()).device
        with evaluating(self):
            return torch.cat([self.decode(part.to(device)) for part in z.split(DECODED_AT_ONCE)])

    def save(
        self,
        folder: str | Path,
        config: dict[str, Any] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        training: dict[str, Any] | None = None,
    ) -> Path:
        """Write ``model.safetensors`` and ``model.json`` (constructor arguments, SHA-256 of the file).

        An existing model stays intact if that fails.

        Args:
            folder: created if it is missing.
            config: the resolved experiment that trained the model, stored in the JSON with names instead of paths.
            dtype: of the weight matrices and filters: float32, float16 or bfloat16. Biases and batch norm statistics,
                which are small, stay in float32. `load` always returns float32 parameters.
            training: further facts about the training, plain values, stored in the JSON.

        Raises:
            UserError: if a weight is too large for ``dtype``.
        """
        about = {"vae": self.config, "training": training or {}, "config": public_config(config or {})}
        return export_model(Path(folder), about, self.state_dict(), dtype)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> "VAE":
        """The trained VAE, in eval mode, its parameters in float32.

        Args:
            path: a run folder (its best checkpoint), a checkpoint, an exported folder, or the name of a model that
                ships with the package (`dfcvae.pretrained_models`). A path that exists is preferred to such a name.
            device: the device to load it to.

        Raises:
            UserError: if there is no model at ``path``, or its weights do not fit its description.
        """
        about, state = read_model(path)
        try:
            vae = cls(**about["vae"])
            vae.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise UserError(
                f"The weights in {path} do not fit the VAE they describe ({about['vae']}): {_first_mismatch(error)} "
                "The file is corrupted or was written by another version; train or export it again."
            ) from error
        return vae.to(device).eval()


def digest(vae: VAE) -> str:
    """SHA-256 of a VAE's weights: equal for a run, its checkpoint and its export in float32.

    An export in half precision has rounded weights and therefore another digest: that of the weights that `VAE.load`
    returns.
    """
    return digest_of_tensors(vae.state_dict())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Temporarily switch to eval mode: in training mode batch norm would mix the images of a batch."""
    mode = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(mode)


def _check_shape(network: str, size: int, channels: int, latent_dim: int) -> None:
    valid = {"network": (network, tuple(NETWORKS)), "size": (size, SIZES), "channels": (channels, (1, 3))}
    for what, (value, choices) in valid.items():
        if value not in choices:
            raise UserError(f"A VAE's {what}: expected one of {', '.join(map(str, choices))}, got {value!r}.")
    if latent_dim < 1:
        raise UserError(f"A VAE's latent_dim: expected a positive integer, got {latent_dim!r}.")


def _first_mismatch(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    return (lines[0] if lines else str(error)).rstrip(".") + "."
