"""All measurements of one model, cached in a file, so that no report repeats them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dfcvae.config import DataConfig
from dfcvae.data import Splits, source_name
from dfcvae.device import environment
from dfcvae.errors import UserError
from dfcvae.evaluation import Measurements, compared, inception_card, measure, measure_samples, protocol
from dfcvae.evaluation.samples import FEWEST
from dfcvae.latent.stored import read_stored, write_stored
from dfcvae.report.models import Model
from dfcvae.report.observers import Observers
from dfcvae.report.tables import distance_keys

KIND = "measurements"


@dataclass(frozen=True)
class Evaluated:
    """What was measured of a model."""

    measured: Measurements  # on the test split; as a whole also distances of sets of images, samples/frechet_judge
    card: dict[str, Any]  # the protocol

    def as_json(self, seed: int = 0) -> dict[str, Any]:
        """All numbers but those of single images."""
        measured = self.measured
        more = {"intervals": measured.intervals(seed), "protocol": self.card}
        return measured.values() | {"kl_per_dimension": measured.kl_per_dimension.tolist()} | more

    def save(self, file: Path, source: str) -> Path:
        """Save it, with the values of every image."""
        measured = self.measured
        tensors = {f"image/{name}": values for name, values in measured.per_image.items()}
        about = {"scales": measured.scales, "whole": measured.whole, "card": self.card}
        tensors["kl_per_dimension"] = measured.kl_per_dimension
        return write_stored(file, tensors, KIND, str(self.card["model"]), source, about)

    @classmethod
    def load(cls, file: Path, model: str, source: str) -> "Evaluated | None":
        """The saved measurements of this model on these faces; None if there are none, or the file is corrupted."""
        try:
            tensors, about = read_stored(file, KIND, model, source)
        except UserError:
            return None
        kl = tensors.pop("kl_per_dimension")
        per_image = {name.removeprefix("image/"): tensors[name] for name in tensors}
        return cls(Measurements(per_image, about["scales"], about["whole"], kl), about["card"])


def evaluate_model(
    model: Model,
    data: DataConfig,
    splits: Splits,
    observers: Observers,
    *,
    draws: int = 1,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> Evaluated:
    """Measure a model on the test split and, if both held-out splits have enough faces, its samples against it.

    Args:
        model: the model, with the mixture that is sampled from too.
        data: where the faces ``splits`` come from.
        splits: the faces.
        observers: who looks.
        draws: latents drawn from each posterior.
        seed: of samples, draws and resampled images.
        cache: a file that is loaded if it has the result of an equal evaluation, and else written.
        progress: show bars.
    """
    vae, mixture = model.vae, model.mixture
    judge, val, test = observers.judge, splits["val"], splits["test"]
    spaces = observers.spaces() if compared(val, test) >= FEWEST else {}
    card = protocol(  # equal to that of an earlier evaluation only where the numbers would be equal too
        vae,
        data,
        images=len(test),
        judge=judge.file if judge else None,
        judges=observers.judges,
        samples=compared(val, test) if spaces else 0,
        mixture=mixture,
        draws=draws,
        seed=seed,
    )
    card |= {"faces": test.fingerprint, "validation_images": len(val)}
    card |= inception_card() if "inception" in spaces else {}
    card |= {"lpips": ", ".join(observers.lpips)} if observers.lpips else {}
    if cache and (found := Evaluated.load(cache, card["model"], source_name(data))) and found.card == card:
        return found
    measured = measure(
        vae,
        test,
        features=judge.features if judge else None,
        judge=judge.network if judge else None,
        lpips=observers.lpips,
        judges=observers.judges,
        draws=draws,
        seed=seed,
        progress=progress,
    )
    for space, embed in spaces.items():
        rows = measure_samples(vae, val, test, embed, mixture=mixture, seed=seed, progress=progress)
        for kind, row in rows.items():
            keys = (f"{kind}/{key}" for key in distance_keys(space))
            measured.whole.update(zip(keys, row.values(), strict=True))
    evaluated = Evaluated(measured, card)
    if cache is not None:
        evaluated.save(cache, source_name(data))
    return evaluated


def this_machine() -> dict[str, Any]:
    """Commit, device and versions, for a protocol."""
    about = environment()
    return {name: about[name] for name in ("commit", "device", "versions")}


def as_text(card: dict[str, Any]) -> str:
    """A protocol for a reader."""
    return yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)
