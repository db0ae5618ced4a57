"""What is fitted to a model after its training and kept beside it: priors, and the vectors of attributes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import Faces, Splits, filled, load_faces, source_name
from dfcvae.errors import UserError
from dfcvae.latent import AttributeVectors, Prior, encode_images, fit_gaussian, fit_mixture
from dfcvae.latent.attributes import Method
from dfcvae.latent.stored import OtherFitError
from dfcvae.vae import VAE, digest, find_model

PRIORS = ("normal", "gaussian", "gmm")
AT_MOST = 50_000  # training faces: more change the result by little and take minutes
VECTORS = "attributes.safetensors"


def latent_folder(model: str | Path) -> Path:
    """The folder ``latent`` of a run, or beside an exported model or a single checkpoint."""
    folder = find_model(model).parent
    return (folder.parent if folder.name == "checkpoints" else folder) / "latent"


def posteriors(vae: VAE, faces: Faces) -> tuple[Tensor, Tensor]:
    """``mu, logvar``, each (N, D), of the first faces of a split, at most 50,000."""
    device = next(vae.parameters()).device
    return encode_images(vae.encode, faces.images[:AT_MOST], device)


def prior_of(model: str | Path, vae: VAE, kind: str, data: DataConfig) -> Prior:
    """The prior of a kind that is kept beside a model; fitted to its training faces first if there is none.

    Args:
        model: where the VAE was loaded from.
        vae: the VAE itself.
        kind: ``"gaussian"`` or ``"gmm"``; the standard normal needs no fit.
        data: the faces to fit to.
    """
    file, model_digest, source = latent_folder(model) / f"prior-{kind}.safetensors", digest(vae), source_name(data)
    if file.is_file():
        try:
            return Prior.load(file, model_digest, source)
        except OtherFitError as error:
            print(error)
    print(f"Fitting the prior {kind!r} to the training faces (once: it is kept in {file}).", flush=True)
    prior = fit_prior(vae, kind, load_faces(data))
    keep(lambda: prior.save(file, model_digest, source))
    return prior


def keep(save: Callable[[], Path]) -> None:
    """Save what was fitted, or say why not: a model's folder may be somebody else's."""
    try:
        save()
    except OSError as error:
        print(f"It could not be kept ({error}), and is fitted anew next time.")


def fit_prior(vae: VAE, kind: str, splits: Splits) -> Prior:
    """A Gaussian or a mixture fitted to the training split; held-out faces choose the number of components."""
    posterior = posteriors(vae, filled(splits, "train"))
    if kind == "gaussian":
        return fit_gaussian(*posterior)
    held_out = splits["val"] if len(splits["val"]) else filled(splits, "test")
    prior, likelihood = fit_mixture(posterior, posteriors(vae, held_out))
    print("Held-out ln p(z) by components and covariance, nats:", end=" ")
    print(", ".join(f"{kind} {value:.2f}" for kind, value in likelihood.items()), end=". ")
    print(f"Kept: {max(likelihood, key=likelihood.__getitem__)}.")
    return prior


def vectors_of(model: str | Path, vae: VAE, data: DataConfig) -> AttributeVectors:
    """The attribute vectors kept beside a model; fitted to its training faces first if there are none."""
    file, model_digest = latent_folder(model) / VECTORS, digest(vae)
    if file.is_file():
        try:
            vectors = AttributeVectors.load(file, model_digest)
            print(f"Attribute vectors: {vectors.how}.")
            return vectors
        except OtherFitError as error:
            print(error)
    print(f"Fitting attribute vectors to the training faces (once: they are kept in {file}).", flush=True)
    vectors = fit_vectors(vae, filled(load_faces(data), "train"))
    keep(lambda: vectors.save(file, model_digest, source_name(data)))
    return vectors


def fit_vectors(vae: VAE, faces: Faces, method: Method = "means", balance: Sequence[str] = ()) -> AttributeVectors:
    """The attribute vectors of a VAE.

    Raises:
        UserError: if the faces have no attributes.
    """
    if not faces.names:
        raise UserError(
            "These faces have no attributes to fit vectors to. Name a data set that has them with --source: CelebA, a "
            "folder with a csv of attributes, or 'synthetic'."
        )
    mu, _ = posteriors(vae, faces)
    return AttributeVectors.fit(mu, faces.attributes[: len(mu)], faces.names, method=method, balance=balance)
