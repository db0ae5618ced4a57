"""dfcvae: the Deep Feature Consistent VAE and its plain baseline. The public names, imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "VAE": "dfcvae.vae",
    "VGGFeatures": "dfcvae.features",
    "Objective": "dfcvae.losses",
    "PerceptualLoss": "dfcvae.losses",
    "kl_divergence": "dfcvae.gaussian",
    "active_units": "dfcvae.gaussian",
    "interpolate": "dfcvae.latent",
    "load_prior": "dfcvae.fitted",
    "load_vectors": "dfcvae.fitted",
    "pretrained_models": "dfcvae.files",
    "Experiment": "dfcvae.config",
    "faces": "dfcvae.data",
    "load_faces": "dfcvae.data",
    "register_network": "dfcvae.registry",
    "train": "dfcvae.training",
    "Run": "dfcvae.run",
    "train_features": "dfcvae.attribute_network",
    "evaluate": "dfcvae.evaluation",
    "UserError": "dfcvae.errors",
}
__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from dfcvae.attribute_network import train_features as train_features
    from dfcvae.config import Experiment as Experiment
    from dfcvae.data import faces as faces
    from dfcvae.data import load_faces as load_faces
    from dfcvae.errors import UserError as UserError
    from dfcvae.evaluation import evaluate as evaluate
    from dfcvae.features import VGGFeatures as VGGFeatures
    from dfcvae.files import pretrained_models as pretrained_models
    from dfcvae.fitted import load_prior as load_prior
    from dfcvae.fitted import load_vectors as load_vectors
    from dfcvae.gaussian import active_units as active_units
    from dfcvae.gaussian import kl_divergence as kl_divergence
    from dfcvae.latent import interpolate as interpolate
    from dfcvae.losses import Objective as Objective
    from dfcvae.losses import PerceptualLoss as PerceptualLoss
    from dfcvae.registry import register_network as register_network
    from dfcvae.run import Run as Run
    from dfcvae.training import train as train
    from dfcvae.vae import VAE as VAE


def __getattr__(name: str) -> object:
    # imported on demand: torch alone takes seconds, and `dfcvae --help` must not wait for it
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dfcvae' has no attribute {name!r}")
