"""The variational autoencoder: encode, decode, reconstruct, sample, save, load. The loss is separate."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfcvae.checkpoint import digest as digest_of_tensors
from dfcvae.checkpoint import export_model, public_config, read_model
from dfcvae.errors import UserError
from dfcvae.gaussian import sample_posterior
from dfcvae.images import check_range
from dfcvae.networks import NETWORKS, SIZES
from dfcvae.registry import check_at_hand, check_network, find_network

DECODED_AT_ONCE = 256


class VAE(nn.Module):
    """Variational autoencoder with a standard normal prior and a diagonal Gaussian posterior.

    Args:
        network: name of the encoder and decoder: a key of ``dfcvae.networks.NETWORKS``, your own
            (`dfcvae.register_network`), or ``"package.module:function"``, which is imported.
        size: side of the square images in pixels: 32, 64, 128 or 256.
        channels: 3 (RGB) or 1 (grey).
        latent_dim: number D of latent dimensions.

    Raises:
        UserError: if an argument is not one of those values, or your own network does not fit them.
    """

    def __init__(self, network: str = "hou2016", size: int = 64, channels: int = 3, latent_dim: int = 100):
        super().__init__()
        _check_shape(network, size, channels, latent_dim)
        self.config: dict[str, Any] = {"network": network, "size": size, "channels": channels, "latent_dim": latent_dim}
        self.latent_dim = latent_dim
        self.image_shape = (channels, size, size)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if network in NETWORKS:
            self.encoder, self.decoder = NETWORKS[network](size, channels, latent_dim)
        else:
            self.encoder, self.decoder = _own_network(network, self.image_shape, latent_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior ``mu, logvar``, each (N, D), of images in [0, 1], (N, C, H, W)."""
        if x.shape[1:] != self.image_shape or not x.is_floating_point():
            expected, got = ("x".join(map(str, s)) for s in (self.image_shape, x.shape[1:]))
            raise UserError(
                f"Images: expected float in [0, 1] of {expected} (channels x height x width), got {x.dtype} of {got}; "
                "crop, resize or convert them first."
            )
        return self.encoder(self._like_weights(x))

    def decode(self, z: Tensor) -> Tensor:
        """Images in [0, 1], (N, C, H, W), of latents (N, D)."""
        return self.decoder(self._like_weights(z))

    def forward(self, x: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """``x_hat, mu, logvar`` for images (N, C, H, W) and standard normal noise eps (N, D), drawn if left out."""
        mu, logvar = self.encode(x)  # (N, D), (N, D)
        eps = torch.randn_like(mu) if eps is None else eps
        z = sample_posterior(mu, logvar, eps)  # (N, D)
        return self.decode(z), mu, logvar  # (N, C, H, W), ...

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the posterior mean of images (N, C, H, W): deterministic, each image independently.

        A UserError for images that are not in [0, 1].
        """
        check_range(x)
        with evaluating(self):
            return self.decode(self.encode(x)[0])

    @torch.no_grad()
    def sample(self, n: int = 1, *, generator: torch.Generator | int | None = None) -> Tensor:
        """Decode n draws from the prior N(0, I): images (n, C, H, W) in [0, 1], on the model's device.

        The noise is drawn on the generator's device (default, and for a seed: the CPU), so that one seed gives the
        same latents wherever the model lives.
        """
        if generator is not None and not isinstance(generator, torch.Generator):
            generator = torch.Generator().manual_seed(int(generator))
        device = generator.device if generator is not None else torch.device("cpu")
        return self.decode_all(torch.randn(n, self.latent_dim, generator=generator, device=device))

    @torch.no_grad()
    def decode_all(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W), on the model's device, of any number of latents (N, D), from any device.

        In batches, to bound the memory; each image is computed independently.
        """
        with evaluating(self):
            return torch.cat([self.decode(part) for part in z.split(DECODED_AT_ONCE)])

    def _like_weights(self, x: Tensor) -> Tensor:
        """A tensor with the dtype and on the device of the weights."""
        return x.to(next(self.parameters(), x))

    def __prepare_scriptable__(self) -> None:  # which torch.jit.script calls first
        raise UserError(
            "torch.jit.script, which PyTorch has deprecated, cannot compile this model; use torch.export.export(vae, "
            "(x, eps)), torch.compile(vae) or torch.jit.trace(vae, (x, eps))."
        )

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
            path: a run folder (its best checkpoint), a checkpoint, an exported folder, ``"hf:user/repo"`` (perhaps with
                ``@revision``; needs huggingface_hub), or the name of a model that ships with the package
                (`dfcvae.pretrained_models`). A path that exists is preferred to such a name.
            device: the device to load it to.

        Raises:
            UserError: if there is no model at ``path``, or its weights do not fit its description.
        """
        about, state = read_model(path)
        check_at_hand(str(about["vae"].get("network", "hou2016")))
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
    check_network(network, "A VAE's network")
    for what, value, choices in (("size", size, SIZES), ("channels", channels, (1, 3))):
        if value not in choices:
            raise UserError(f"A VAE's {what}: expected one of {', '.join(map(str, choices))}, got {value!r}.")
    if latent_dim < 1:
        raise UserError(f"A VAE's latent_dim: expected a positive integer, got {latent_dim!r}.")


def _own_network(name: str, shape: tuple[int, int, int], latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """A user's encoder and decoder, after trying them out on two images."""
    channels, size, _ = shape
    try:
        encoder, decoder = find_network(name)(size, channels, latent_dim)
        with torch.no_grad(), evaluating(encoder), evaluating(decoder):
            mu, logvar = encoder(torch.zeros(2, *shape))
            x_hat = decoder(torch.zeros(2, latent_dim))
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise UserError(
            f"The network {name} fails for size {size}, channels {channels}, latent_dim {latent_dim}: "
            f"{type(error).__name__}: {error}"
        ) from error
    found, expected = [tuple(t.shape) for t in (mu, logvar, x_hat)], [(2, latent_dim), (2, latent_dim), (2, *shape)]
    if found != expected or not 0 <= x_hat.min() <= x_hat.max() <= 1:
        raise UserError(
            f"The network {name}: expected mu, logvar and images of {expected}, the images in [0, 1] (a sigmoid), got "
            f"{found}, from {x_hat.min():.3g} to {x_hat.max():.3g}."
        )
    return encoder, decoder


def _first_mismatch(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    return (lines[0] if lines else str(error)).rstrip(".") + "."
