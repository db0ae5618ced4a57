"""The networks that measure reconstructions and samples (judges, Inception, LPIPS), and all measures of a model."""

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.functional import cosine_similarity

from dfcvae.attribute_network import AttributeNetwork, attribute_scores
from dfcvae.config import DataConfig
from dfcvae.data import Faces, Splits, source_name
from dfcvae.device import environment, pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation.judges import NetworkJudge, stranger_of
from dfcvae.evaluation.measures import JUDGE_LAYERS, Measurements, measure, protocol
from dfcvae.evaluation.quality import Distance, lpips_distances
from dfcvae.evaluation.samples import FEWEST, Embedding, compared, inception_card, inception_network, measure_samples
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.latent.stored import read_stored, write_stored
from dfcvae.losses.presets import PRESETS
from dfcvae.report.models import Model
from dfcvae.report.tables import distance_keys
from dfcvae.weights import COMPACT, imagenet_file, read_metadata, read_state_dict

FIT_JUDGE = (
    "`--judge experiments/judges/squeezenet.yaml`, or an attribute network of your own: `dfcvae features train "
    "--data.source DATA --training.arch vgg11_bn --training.seed 1 --out judge.safetensors`"
)
BLIND = (
    "The attribute-trained judge and the loss's feature network learned the same labels, so this judge cannot see what "
    "the loss ignores: read a judge of another kind beside it, such as `--judge experiments/judges/squeezenet.yaml`"
)
KIND = "measurements"
VERSION = 2  # of the measures, in their protocol; increment when one of them changes, so that stored ones are not used
CHECKED, CHECKED_PAIRS = 500, 50  # faces on which attribute networks, and pairs on which other judges, are checked
GUESSING = 0.6  # mean AUROC of an attribute network, below which it is near chance (0.5)
ALIKE = 0.98  # mean cosine of two different people, above which a judge does not distinguish people
JudgeFiles = Path | Sequence[Path]
"""What ``--judge`` names: files of an attribute network and of descriptions (YAML) of other networks."""


@dataclass(frozen=True)
class Judge:
    """An attribute network that looks at the outputs of models which were not trained with it, and its layers."""

    file: Path
    network: AttributeNetwork
    features: VGGFeatures

    @classmethod
    def load(cls, file: Path, device: Any) -> "Judge":
        """From a file of ``dfcvae features train``; a UserError if it is not one."""
        network = AttributeNetwork.load(file).to(device)
        return cls(file, network, VGGFeatures(network.arch, JUDGE_LAYERS, str(file)).to(device))


@dataclass(frozen=True)
class Observers:
    """All of them; each may be missing."""

    judge: Judge | None = None  # for attributes, distances at layers, and distances of samples
    inception: Embedding | None = None  # for FID and KID
    lpips: Mapping[str, Distance] = field(default_factory=dict)  # by the name of their network
    judges: Sequence[NetworkJudge] = ()  # networks of other kinds

    def spaces(self) -> dict[str, Embedding]:
        """Embeddings that samples are measured in, by name."""
        spaces: dict[str, Embedding] = {"judge": self.judge.network.embed} if self.judge else {}
        spaces |= {judge.name: judge.embed for judge in self.judges}
        return spaces | ({"inception": self.inception} if self.inception else {})

    @classmethod
    def load(cls, judge: JudgeFiles, fid: str | None, lpips: bool) -> "Observers":
        """Those that the options of the commands name; a UserError if a file is wrong or two judges have one name.

        Files of judges that no model was trained with: at most one attribute network, and descriptions of other
        networks (YAML); weights of Inception for FID and KID, a file or ``"download"``; and whether to download what
        LPIPS needs, where it is missing.
        """
        device, files = pick_device(), [judge] if isinstance(judge, Path) else list(judge)
        described = [file for file in files if file.suffix.lower() in (".yaml", ".yml")]
        attribute = [file for file in files if file not in described]
        for file in attribute:
            if file.suffix.lower() == ".onnx":
                raise UserError(
                    f"--judge {file}: an ONNX network needs a YAML file that says how it takes images; "
                    "experiments/judges/face.yaml is an example."
                )
        if len(attribute) > 1:
            raise UserError(
                f"--judge: expected at most one attribute network, got {', '.join(map(str, attribute))}; name a judge "
                "of another kind by its YAML file."
            )
        judges = [NetworkJudge.load(file, device) for file in described]
        names = [network.name for network in judges]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"name: two judges are called {twice!r}; give each YAML file another name.")
        return cls(
            Judge.load(attribute[0], device) if attribute else None,
            inception_network(fid, device) if fid is not None else None,
            lpips_distances(device, download=lpips),
            judges,
        )


def judge_warnings(
    observers: Observers, experiments: Mapping[str, Mapping[str, Any] | None], faces: Faces | None = None
) -> list[str]:
    """Warnings of judges that are not independent of a model, or not accurate.

    A judge must not be the network of a model's loss, nor have learned the same attributes, and must do better than
    chance on held-out ``faces``. Of ``experiments``, plain and by the models' names, one whose feature network is
    missing is skipped.
    """
    found: dict[str, list[str]] = {}
    for model, experiment in experiments.items():
        features = ((experiment or {}).get("loss") or {}).get("features")
        for warning in _partial(observers, features) if features else []:
            found.setdefault(warning, []).append(model)
    partial = [f"{warning} ({', '.join(models)})." for warning, models in found.items()]
    return partial + (_near_chance(observers, faces.subset(min(CHECKED, len(faces)))) if faces else [])


def _partial(observers: Observers, features: Mapping[str, Any]) -> list[str]:
    """Warnings of judges that are a loss's network, if its file exists, or learned the same labels."""
    weights, preset = str(features.get("weights")), PRESETS.get(str(features.get("preset")))
    network = COMPACT if weights == "compact" else Path(weights).expanduser()
    if weights == "imagenet":
        network = imagenet_file(features.get("arch") or (preset.arch if preset else "vgg16"))
    if not network.is_file():
        return []
    judge = observers.judge
    same = [f"The judge {other.name}" for other in observers.judges if _same_weights(other.file, network)]
    itself = judge is not None and _same_weights(judge.file, network)
    same += ["The attribute-trained judge"] if itself else []
    blind = [BLIND] if judge and not itself and "attributes" in read_metadata(network) else []
    return blind + [
        f"{name} is the loss's own feature network, so it favours what was trained with it: use another network as "
        f"judge, {FIT_JUDGE}"
        for name in same
    ]


def _same_weights(file: Path, other: Path) -> bool:
    """Whether two files hold the same network: equal bytes, or, in other formats or cut off, equal first filters."""
    if filecmp.cmp(file, other, shallow=False):
        return True
    if ".onnx" in (file.suffix, other.suffix):
        return False
    first, second = (
        next((t.float() for t in read_state_dict(path).values() if t.dim() == 4 and t.shape[1] == 3), torch.zeros(0))
        for path in (file, other)
    )
    return first.numel() > 0 and torch.equal(first, second)


def _near_chance(observers: Observers, faces: Faces) -> list[str]:
    """Warnings of judges that see little in these faces: attributes by guessing, or all people alike."""
    found, judge = [], observers.judge
    names = [name for name in judge.network.names if name in faces.names] if judge else []
    if judge and names:
        truth = faces.attributes[:, [faces.names.index(name) for name in names]]
        logits = judge.network.logits(faces)[:, [judge.network.names.index(name) for name in names]]
        auroc = attribute_scores(logits, truth, tuple(names))["mean"]["auroc"]
        if auroc < GUESSING:
            found.append(
                f"The attribute-trained judge is near chance on these faces (mean AUROC {auroc:.2f}, guessing "
                "has 0.5), so its measures are unreliable: train it for longer (--training.epochs) or on more faces, "
                f"or use {FIT_JUDGE}."
            )
    x = to_float(faces.images[:CHECKED_PAIRS])
    for other in observers.judges if len(x) > 1 else ():
        embedding = other.embed(x)
        strangers = embedding[stranger_of(torch.arange(len(x)), len(x)).to(embedding.device)]
        cosine = float(cosine_similarity(embedding, strangers).mean())
        if not cosine < ALIKE:  # NaN too
            found.append(
                f"The judge {other.name} does not distinguish people (cosine of two different people {cosine:.3f}), "
                "so its measures are unreliable: check its weights, mean, std and range, or use another one, such as "
                "`--judge experiments/judges/squeezenet.yaml`."
            )
    return found


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

    From N(0, I) and the model's mixture, with ``draws`` from each posterior; ``data`` is where the faces come
    from. The ``cache`` is a file that is loaded if it has the result of an equal evaluation, and else written.
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
    card |= {"measures": VERSION, "faces": test.fingerprint, "validation_images": len(val)}
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
