"""Priors and attribute vectors, fitted to a trained model and saved beside it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dfcvae import files
from dfcvae.checkpoint import find_model, model_folder
from dfcvae.config import DataConfig
from dfcvae.data import SYNTHETIC, Faces, Splits, check_at_hand, data_of, filled, load_faces, source_name
from dfcvae.data.batches import SPLITS
from dfcvae.device import pick_device
from dfcvae.errors import UserError, nearest
from dfcvae.files import on_hub
from dfcvae.latent import AttributeVectors, Prior, encode_images, fit_gaussian, fit_mixture
from dfcvae.latent.attributes import Method
from dfcvae.latent.stored import OtherFacesError, OtherFitError
from dfcvae.vae import VAE, digest

PRIORS = ("normal", "gaussian", "gmm")
AT_MOST = 50_000  # training faces: more hardly change the result and take minutes
AFTER_TRAINING = 20_000  # training faces that the mixture at the end of a training is fitted to
VECTORS = "attributes.safetensors"
Model = VAE | str | Path
"""A VAE, or a run folder, a checkpoint, an exported folder, or the name of a shipped model."""
Fitted = TypeVar("Fitted", Prior, AttributeVectors)


def model_of(model: Model) -> VAE:
    """A VAE as it is, or the one at a path, on the GPU if there is one."""
    return model if isinstance(model, VAE) else VAE.load(model, device=pick_device())


def splits_of(model: Model, data: Any = None, *, held_out: bool = False) -> Splits:
    """The splits ``train``, ``val`` and ``test`` of a user's own faces, or of those a model was trained on.

    Args:
        model: what the faces are for; a UserError if there are none, as for a VAE in memory without data.
        data: None, the training data of the model at a path; a path as in `dfcvae data info`, or ``"synthetic"``; or
            faces in memory, as `dfcvae.data.own.as_splits` takes them.
        held_out: ``train`` will not be used, so that no synthetic training faces need be drawn.
    """
    own = _in_memory(data)
    of_faces = own and isinstance(data, Mapping) and all(isinstance(faces, Faces) for faces in data.values())
    if of_faces and {"train"} < {*data} <= {*SPLITS}:  # held-out faces are there; none need be drawn
        return {name: data.get(name, data["train"].rows(slice(0))) for name in SPLITS}
    if not isinstance(model, VAE):
        source = SYNTHETIC if own else None if data is None else str(data)
        config = data_of(model, source, held_out=held_out and not own, needed=not own)
    elif data is None:
        raise UserError("data: a VAE in memory does not say which faces to take; give them, or the path of the model.")
    else:
        channels, size, _ = model.image_shape
        config = DataConfig(SYNTHETIC if own else str(data), size, channels)
        config = replace(config, train_images=1) if held_out and config.source == SYNTHETIC else config
    if not own:
        return load_faces(config)
    from dfcvae.data.own import as_splits

    return as_splits(data, replace(config, train_images=None))  # all that are given


def faces_of(model: Model, data: Any = None) -> Faces:
    """Faces to measure a model on: all that are given in memory, or the test split of what else `splits_of` takes."""
    if isinstance(data, Faces):
        return data
    if isinstance(data, Mapping) and "test" in data:
        return faces_of(model, data["test"])
    if _in_memory(data) and not isinstance(data, Mapping):
        # as both, so that no validation split is drawn from them
        return splits_of(model, {"train": data, "val": data})["train"]
    return first_filled(splits_of(model, data, held_out=True), "test", "val")


def first_filled(splits: Splits, *names: str) -> Faces:
    """The first of these splits that is not empty, named on stderr where it is another; a UserError if all are."""
    found = next((name for name in names if len(splits[name])), names[0])
    if found != names[0]:
        print(f"The {names[0]} split of these faces is empty; the {found} split is used instead.", file=sys.stderr)
    return filled(splits, found)


def latent_folder(model: str | Path) -> Path:
    """The folder ``latent`` of a run, or beside an exported model or a single checkpoint."""
    return model_folder(model) / "latent"


def prior_file(model: str | Path, kind: str) -> Path:
    """The file of the fitted prior of a kind, whether it exists or not."""
    return latent_folder(model) / f"prior-{kind}.safetensors"


def ships(model: str | Path) -> bool:
    """Whether a model ships with the package or is on the Hub; nothing is written beside such models."""
    return on_hub(model) or files.PRETRAINED in find_model(model).parents


def posteriors(model: Model, data: Any = None, at_most: int = AT_MOST) -> tuple[Tensor, Tensor]:
    """``mu, logvar``, each (N, D) on the CPU, of the first images: what maps, vectors and priors are made of.

    ``data`` is a tensor (N, C, H, W; uint8, or float in [0, 1]), or faces as `faces_of` takes them.
    """
    vae = model_of(model)
    images = data if isinstance(data, Tensor) else faces_of(model, data).images
    return encode_images(vae.encode, images[:at_most], next(vae.parameters()).device)


def load_prior(model: str | Path, kind: str = "auto", *, vae: VAE | None = None, data: Any = None) -> Prior:
    """The distribution of latents to sample from; ``str(prior)`` describes it.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        kind: ``"auto"``, the mixture saved with the model, or N(0, I) if there is none; ``"normal"``, N(0, I);
            ``"gaussian"`` or ``"gmm"`` (the mixture), fitted to the training faces and saved if it is missing.
        vae: the model, if the caller has loaded it.
        data: the training faces (default: as in training), see `splits_of`; a fit to faces in memory is not saved.

    Raises:
        UserError: if there is no such model or kind, the prior's file is corrupted, or there are no faces to fit to.
    """
    if kind not in ("auto", *PRIORS):
        raise UserError(f"prior: expected one of auto, {', '.join(PRIORS)}, got {kind!r}{nearest(kind, PRIORS)}.")
    vae = vae or model_of(model)
    if kind in ("auto", "normal"):
        return (kind == "auto" and saved_mixture(model, vae)) or Prior.standard(vae.latent_dim)
    if _in_memory(data):
        return fit_prior(vae, kind, splits_of(model, data))
    file, fit = prior_file(model, kind), lambda splits: fit_prior(vae, kind, splits)
    return _load_or_fit(model, vae, data, file, f"the prior {kind!r}", Prior.load, fit)


def saved_mixture(model: str | Path, vae: VAE) -> Prior | None:
    """The mixture saved beside a model, fitted to any faces; None if there is none for these weights."""
    file = prior_file(model, "gmm")
    try:
        return Prior.load(file, digest(vae)) if file.is_file() else None
    except OtherFitError as error:
        print(error, file=sys.stderr)
        return None


def load_vectors(model: str | Path, data: Any = None, *, vae: VAE | None = None) -> AttributeVectors:
    """The attribute vectors saved with a model; fitted first if missing. Arguments are those of `load_prior`.

    A UserError if there is no such model, the file is corrupted, or there are no faces with attributes to fit to.
    """
    vae = vae or model_of(model)
    if _in_memory(data):
        return fit_vectors(vae, data if isinstance(data, Faces) else splits_of(model, data))
    file, fit = latent_folder(model) / VECTORS, lambda splits: fit_vectors(vae, splits)
    load = lambda file, fitted_to, _: AttributeVectors.load(file, fitted_to)  # noqa: E731 - whatever the faces
    vectors = _load_or_fit(model, vae, data, file, "attribute vectors", load, fit)
    print(f"Attribute vectors: {vectors.how}.")
    return vectors


def _in_memory(data: Any) -> bool:
    return not (data is None or isinstance(data, (str, Path)))


def _load_or_fit(
    model: str | Path,
    vae: VAE,
    source: Any,
    file: Path,
    what: str,
    load: Callable[[Path, str, str], Fitted],
    fit: Callable[[Splits], Fitted],
) -> Fitted:
    """Load a file beside a model; if it is missing or for other weights, fit and save first.

    A file for other faces stays: commands that name no faces use it.
    """
    data = data_of(model, source, held_out=False, needed=False)
    of, stays = (digest(vae), source_name(data)), False
    if file.is_file():
        try:
            return load(file, *of)
        except OtherFitError as error:
            print(error)
            stays = isinstance(error, OtherFacesError)
    check_at_hand(model, data)
    once = "" if ships(model) or stays else f" (once; the result is saved in {file})"
    print(f"Fitting {what} to the training faces{once}.", flush=True)
    fitted = fit(load_faces(data))
    if not stays:
        save_if_possible(model, lambda: fitted.save(file, *of))
    return fitted


def save_if_possible(model: str | Path, save: Callable[[], Path]) -> bool:
    """Save a fit, or report why not: a model's folder may be read-only, or part of the package."""
    if ships(model):
        origin = "is in the Hub's cache" if on_hub(model) else "ships with the package"
        print(f"Not saved: {model} {origin}. Export it to a folder of yours to save there.")
        return False
    try:
        save()
    except OSError as error:
        print(f"Could not save ({error}); will refit next time.")
        return False
    return True


def fit_prior(model: Model, kind: str, data: Any = None, at_most: int = AT_MOST, *, progress: bool = True) -> Prior:
    """The prior ``"gaussian"`` or ``"gmm"`` fitted to a training split, see `splits_of`; held-out faces select it."""
    splits, vae = splits_of(model, data), model_of(model)
    posterior = posteriors(vae, filled(splits, "train"), at_most)
    if kind == "gaussian":
        return fit_gaussian(*posterior)
    prior, likelihood = fit_mixture(posterior, posteriors(vae, first_filled(splits, "val", "test"), at_most))
    if progress:
        values = ", ".join(f"{kind} {value:.2f}" for kind, value in likelihood.items())
        best = max(likelihood, key=likelihood.__getitem__)
        print(f"Mixtures by components and covariance, held-out ln p(z) in nats:\n  {values}; selected: {best}")
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
                print(f"Prior for samples: {prior}, saved in {file}.")
    except (UserError, OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        print(f"Could not fit a mixture to the latents, so samples come from N(0, I): {reason}.", file=sys.stderr)


def fit_vectors(
    model: Model, data: Any = None, method: Method = "means", balance: Sequence[str] = ()
) -> AttributeVectors:
    """The attribute vectors of a VAE, fitted to `Faces` or to the training split of what else `splits_of` takes."""
    faces = data if isinstance(data, Faces) else filled(splits_of(model, data), "train")
    if not faces.names:
        raise UserError(
            "These faces have no attributes to fit vectors to. Give a data set with attributes as --source (in Python: "
            "data=): CelebA, a folder with a CSV of attributes, or 'synthetic'."
        )
    mu, _ = posteriors(model, faces)
    return AttributeVectors.fit(mu, faces.attributes[: len(mu)], faces.names, method=method, balance=balance)
