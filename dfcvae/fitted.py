"""Priors and attribute vectors, fitted to a trained model and saved beside it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from dfcvae import files
from dfcvae.checkpoint import find_model
from dfcvae.config import DataConfig
from dfcvae.data import Faces, Splits, check_at_hand, data_of, filled, load_faces, source_name
from dfcvae.errors import UserError, nearest
from dfcvae.latent import AttributeVectors, Prior, encode_images, fit_gaussian, fit_mixture
from dfcvae.latent.attributes import Method
from dfcvae.latent.stored import OtherFitError
from dfcvae.vae import VAE, digest

PRIORS = ("normal", "gaussian", "gmm")
AT_MOST = 50_000  # training faces: more hardly change the result and take minutes
AFTER_TRAINING = 20_000  # training faces that the mixture at the end of a training is fitted to
VECTORS = "attributes.safetensors"
Fitted = TypeVar("Fitted", Prior, AttributeVectors)


def latent_folder(model: str | Path) -> Path:
    """The folder ``latent`` of a run, or beside an exported model or a single checkpoint."""
    folder = find_model(model).parent
    return (folder.parent if folder.name == "checkpoints" else folder) / "latent"


def prior_file(model: str | Path, kind: str) -> Path:
    """The file of the fitted prior of a kind, whether it exists or not."""
    return latent_folder(model) / f"prior-{kind}.safetensors"


def ships(model: str | Path) -> bool:
    """Whether a model ships with the package; nothing is written beside such models."""
    return files.PRETRAINED in find_model(model).parents


def posteriors(vae: VAE, faces: Faces, at_most: int = AT_MOST) -> tuple[Tensor, Tensor]:
    """``mu, logvar``, each (N, D), of the first faces of a split, at most 50,000."""
    return encode_images(vae.encode, faces.images[:at_most], next(vae.parameters()).device)


def load_prior(model: str | Path, kind: str = "auto", *, vae: VAE | None = None, source: str | None = None) -> Prior:
    """The distribution of latents to sample from; ``str(prior)`` describes it.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        kind: ``"auto"``, the mixture saved with the model, or N(0, I) if there is none; ``"normal"``, N(0, I);
            ``"gaussian"`` or ``"gmm"`` (the mixture), fitted to the training faces and saved if it is missing.
        vae: the model, if the caller has loaded it.
        source: where the training faces are (default: as in training).

    Raises:
        UserError: if there is no such model or kind, the prior's file is corrupted, or there are no faces to fit to.
    """
    if kind not in ("auto", *PRIORS):
        raise UserError(f"prior: expected one of auto, {', '.join(PRIORS)}, got {kind!r}{nearest(kind, PRIORS)}.")
    vae = vae or VAE.load(model)
    if kind in ("gaussian", "gmm"):
        return prior_of(model, vae, kind, data_of(model, source, held_out=False, needed=False))
    mixture = saved_mixture(model, vae) if kind == "auto" else None
    return mixture or Prior.standard(vae.latent_dim)


def saved_mixture(model: str | Path, vae: VAE) -> Prior | None:
    """The mixture saved beside a model, fitted to any faces; None if there is none for these weights."""
    file = prior_file(model, "gmm")
    try:
        return Prior.load(file, digest(vae)) if file.is_file() else None
    except OtherFitError as error:
        print(error, file=sys.stderr)
        return None


def prior_of(model: str | Path, vae: VAE, kind: str, data: DataConfig) -> Prior:
    """The prior ``"gaussian"`` or ``"gmm"`` saved beside a model; fitted to its training faces first if missing."""

    def load(file: Path, model_digest: str) -> Prior:
        return Prior.load(file, model_digest, source_name(data))

    file, what = prior_file(model, kind), f"the prior {kind!r}"
    return _load_or_fit(file, model, vae, data, what, load, lambda splits: fit_prior(vae, kind, splits))


def load_vectors(model: str | Path) -> AttributeVectors:
    """The attribute vectors saved with a model; fitted to its training faces first if missing.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.

    Raises:
        UserError: if there is no such model, the file is corrupted, or there are no faces with attributes to fit to.
    """
    return vectors_of(model, VAE.load(model), data_of(model, held_out=False, needed=False))


def vectors_of(model: str | Path, vae: VAE, data: DataConfig) -> AttributeVectors:
    """The attribute vectors saved beside a model; fitted to its training faces first if missing."""

    def fit(splits: Splits) -> AttributeVectors:
        return fit_vectors(vae, filled(splits, "train"))

    file = latent_folder(model) / VECTORS
    vectors = _load_or_fit(file, model, vae, data, "attribute vectors", AttributeVectors.load, fit)
    print(f"Attribute vectors: {vectors.how}.")
    return vectors


def _load_or_fit(
    file: Path,
    model: str | Path,
    vae: VAE,
    data: DataConfig,
    what: str,
    load: Callable[[Path, str], Fitted],
    fit: Callable[[Splits], Fitted],
) -> Fitted:
    """Load a file beside a model; if it is missing or for other weights, fit and save first."""
    if file.is_file():
        try:
            return load(file, digest(vae))
        except OtherFitError as error:
            print(error)
    check_at_hand(model, data)
    once = "" if ships(model) else f" (once; the result is saved in {file})"
    print(f"Fitting {what} to the training faces{once}.", flush=True)
    fitted = fit(load_faces(data))
    save_if_possible(model, lambda: fitted.save(file, digest(vae), source_name(data)))
    return fitted


def save_if_possible(model: str | Path, save: Callable[[], Path]) -> bool:
    """Save a fit, or report why not: a model's folder may be read-only, or part of the package."""
    if ships(model):
        print(f"Not saved: {model} ships with the package. Export it to a folder of yours to save there.")
        return False
    try:
        save()
    except OSError as error:
        print(f"Could not save ({error}); will refit next time.")
        return False
    return True


def fit_prior(vae: VAE, kind: str, splits: Splits, at_most: int = AT_MOST, *, progress: bool = True) -> Prior:
    """The prior ``"gaussian"`` or ``"gmm"`` fitted to the training split; held-out faces select the mixture."""
    posterior = posteriors(vae, filled(splits, "train"), at_most)
    if kind == "gaussian":
        return fit_gaussian(*posterior)
    held_out = splits["val"] if len(splits["val"]) else filled(splits, "test")
    prior, likelihood = fit_mixture(posterior, posteriors(vae, held_out, at_most))
    if progress:
        values = ", ".join(f"{kind} {value:.2f}" for kind, value in likelihood.items())
        best = max(likelihood, key=likelihood.__getitem__)
        print(f"Held-out ln p(z) by components and covariance, nats: {values}. Selected: {best}.")
    return prior


def fit_after_training(run: str | Path, splits: Splits, device: torch.device, *, progress: bool = True) -> None:
    """Fit the mixture to the model of a finished run and save it in the run folder, unless it exists already.

    Training has succeeded by then: a failed fit is only reported on stderr.
    """
    try:
        vae = VAE.load(run, device=device)
        if saved_mixture(run, vae) is None:
            prior = fit_prior(vae, "gmm", splits, AFTER_TRAINING, progress=progress)
            source = source_name(data_of(run, held_out=False, needed=False))
            file = prior.save(prior_file(run, "gmm"), digest(vae), source)
            if progress:
                print(f"Prior for samples: {prior}, fitted to the latents of the training images; saved in {file}.")
    except (UserError, OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        print(f"Could not fit a mixture to the latents, so samples come from N(0, I): {reason}.", file=sys.stderr)


def fit_vectors(vae: VAE, faces: Faces, method: Method = "means", balance: Sequence[str] = ()) -> AttributeVectors:
    """The attribute vectors of a VAE.

    Raises:
        UserError: if the faces have no attributes.
    """
    if not faces.names:
        raise UserError(
            "These faces have no attributes to fit vectors to. Give a data set with attributes as --source: CelebA, a "
            "folder with a CSV of attributes, or 'synthetic'."
        )
    mu, _ = posteriors(vae, faces)
    return AttributeVectors.fit(mu, faces.attributes[: len(mu)], faces.names, method=method, balance=balance)
