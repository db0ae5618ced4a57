"""Everything that is measured of one model, kept in a file, so that no report measures it again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfcvae.config import DataConfig
from dfcvae.data import Splits, source_name
from dfcvae.errors import UserError
from dfcvae.evaluation import Measurements, compared, inception_card, measure, measure_samples, protocol
from dfcvae.evaluation.inception import Embedding
from dfcvae.evaluation.samples import FEWEST
from dfcvae.latent.stored import read_stored, write_stored
from dfcvae.reports.observers import Observers
from dfcvae.vae import VAE, digest

KIND = "measures"
# of `measure_samples`, by their names in files: FID and KID are defined in the features of Inception alone
JUDGED = {
    "frechet_judge": "Frechet distance (judge)",
    "kernel_judge": "kernel distance (judge)",
    "precision_judge": "precision (judge)",
    "recall_judge": "recall (judge)",
}
INCEPTION = {
    "fid": "FID",
    "kid": "KID",
    "precision_inception": "precision (Inception)",
    "recall_inception": "recall (Inception)",
}
DISTANCES = JUDGED | INCEPTION
SETS = {"samples": "samples", "reconstructions": "reconstructions", "floor": "floor: validation faces"}


@dataclass(frozen=True)
class Evaluated:
    """What was measured of a model.

    Args:
        measured: on the test split.
        samples: distances to the test split by set and name (`DISTANCES`); empty without a network.
        card: the protocol.
    """

    measured: Measurements
    samples: dict[str, dict[str, float]]
    card: dict[str, Any]

    def distances(self) -> dict[str, float]:
        """The distances of all sets by one name: ``samples/frechet_judge`` and so on."""
        return {f"{name}/{key}": value for name, row in self.samples.items() for key, value in row.items()}

    def as_json(self, seed: int = 0) -> dict[str, Any]:
        """All numbers but those of single images."""
        more = {"intervals": self.measured.intervals(seed), "protocol": self.card}
        kl = self.measured.kl_per_dimension.tolist()
        return self.measured.values() | self.distances() | {"kl_per_dimension": kl} | more

    def save(self, file: Path, source: str) -> Path:
        """Keep it, with the values of every image."""
        measured = self.measured
        tensors = {f"image/{name}": values for name, values in measured.per_image.items()}
        about = {"scales": measured.scales, "whole": measured.whole, "samples": self.samples, "card": self.card}
        tensors["kl_per_dimension"] = measured.kl_per_dimension
        return write_stored(file, tensors, KIND, str(self.card["model"]), source, about)

    @classmethod
    def load(cls, file: Path, model: str, source: str) -> "Evaluated":
        """What was kept of this model and these faces.

        Raises:
            UserError: if the file holds something else.
        """
        tensors, about = read_stored(file, KIND, model, source)
        kl = tensors.pop("kl_per_dimension")
        per_image = {name.removeprefix("image/"): tensors[name] for name in tensors}
        return cls(Measurements(per_image, about["scales"], about["whole"], kl), about["samples"], about["card"])


def evaluate_model(
    vae: VAE,
    data: DataConfig,
    splits: Splits,
    observers: Observers,
    *,
    draws: int = 1,
    seed: int = 0,
    kept: Path | None = None,
    progress: bool = True,
) -> Evaluated:
    """Measure a model on the test split, and its samples against it.

    Args:
        vae: the model, on its device.
        data: where the faces come from.
        splits: the faces.
        observers: who looks at reconstructions and, if both held-out splits have faces enough, at samples.
        draws: latents drawn from each posterior.
        seed: of samples, draws and resampled images.
        kept: a file that holds the result already, if it was obtained in the same way, or shall hold it.
        progress: show bars.

    Raises:
        UserError: if there are fewer than two test faces.
    """
    judge, inception, lpips = observers.judge, observers.inception, observers.lpips
    n = compared(splits["val"], splits["test"])
    networks: list[tuple[dict[str, str], Embedding]] = [(JUDGED, judge.network.embed)] if judge else []
    networks += [(INCEPTION, inception)] if inception else []
    networks = networks if n >= FEWEST else []
    file, test = judge.file if judge else None, splits["test"]
    card = protocol(vae, data, images=len(test), judge=file, samples=n if networks else 0, draws=draws, seed=seed)
    card |= {"faces": test.fingerprint, "validation_images": len(splits["val"])}
    card |= inception_card() if inception and networks else {}
    card |= {"lpips": ", ".join(lpips)} if lpips else {}
    if kept is not None and kept.is_file():
        try:
            found = Evaluated.load(kept, digest(vae), source_name(data))
        except UserError:  # of another model or other faces, or damaged: measured anew below, and replaced
            found = None
        if found is not None and found.card == card:
            return found
    features, network = (judge.features, judge.network) if judge else (None, None)
    measured = measure(
        vae, test, features=features, judge=network, lpips=lpips, draws=draws, seed=seed, progress=progress
    )
    samples: dict[str, dict[str, float]] = {}
    for names, embed in networks:
        for kind, row in measure_samples(vae, splits["val"], test, embed, seed=seed, progress=progress).items():
            samples.setdefault(kind, {}).update(zip(names, row.values(), strict=True))
    evaluated = Evaluated(measured, samples, card)
    if kept is not None:
        evaluated.save(kept, source_name(data))
    return evaluated
