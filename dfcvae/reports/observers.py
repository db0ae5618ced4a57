"""The networks that look at what models make of faces."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS, NetworkJudge, inception_network, lpips_distances
from dfcvae.evaluation.quality import Distance
from dfcvae.evaluation.samples import Embedding
from dfcvae.features import VGGFeatures
from dfcvae.weights import COMPACT, read_metadata

BLIND = (
    "The attribute-trained judge and the loss's feature network learned the same labels, so this judge cannot see what "
    "the loss ignores: read a judge of another kind beside it"
)
DESCRIPTIONS = (".yaml", ".yml")
JudgeFiles = Path | Sequence[Path] | None
"""What ``--judge`` names: files of an attribute network and of descriptions of other networks."""


@dataclass(frozen=True)
class Judge:
    """An attribute network that looks at the outputs of models which were not trained with it.

    Args:
        file: where it was loaded from.
        network: gives attributes and pooled features.
        features: its layers.
    """

    file: Path
    network: AttributeNetwork
    features: VGGFeatures

    @classmethod
    def load(cls, file: Path, device: Any) -> "Judge":
        """From a file of ``dfcvae features train``.

        Raises:
            UserError: if it is none.
        """
        network = AttributeNetwork.load(file).to(device)
        return cls(file, network, VGGFeatures(network.arch, JUDGE_LAYERS, str(file)).to(device))


@dataclass(frozen=True)
class Observers:
    """All of them; each may be missing.

    Args:
        judge: for attributes, distances at layers, and distances of samples.
        inception: of `dfcvae.evaluation.inception_network`, for FID and KID.
        lpips: distances of `dfcvae.evaluation.lpips_distances`.
        judges: networks of other kinds.
    """

    judge: Judge | None = None
    inception: Embedding | None = None
    lpips: Mapping[str, Distance] = field(default_factory=dict)
    judges: Sequence[NetworkJudge] = ()

    def embed_samples(self) -> bool:
        """Whether any of them gives features in which samples can be measured."""
        return bool(self.judge or self.inception or self.judges)

    @classmethod
    def load(cls, judge: JudgeFiles, fid: str | None, lpips: bool) -> "Observers":
        """Those that the options ``--judge``, ``--fid`` and ``--lpips`` name; LPIPS also where its weights are at hand.

        Raises:
            UserError: if a file is damaged or something else, cannot be downloaded, or two judges have one name.
        """
        device, (attribute, described) = pick_device(), _sorted(judge)
        judges = [NetworkJudge.load(file, device) for file in described]
        names = [network.name for network in judges]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"name: two judges are called {name!r}; give each YAML file another name.")
        return cls(
            Judge.load(attribute, device) if attribute else None,
            inception_network(fid, device) if fid is not None else None,
            lpips_distances(device, download=lpips),
            judges,
        )


def _sorted(judge: JudgeFiles) -> tuple[Path | None, list[Path]]:
    """The file of the attribute network, if there is one, and the descriptions."""
    files = [judge] if isinstance(judge, Path) else list(judge or ())
    described = [file for file in files if file.suffix.lower() in DESCRIPTIONS]
    attribute = [file for file in files if file not in described]
    for file in attribute:
        if file.suffix.lower() == ".onnx":
            raise UserError(
                f"--judge {file}: an ONNX network needs a YAML file that says how it takes images; "
                "experiments/judges/face.yaml is an example."
            )
    if len(attribute) > 1:
        raise UserError(
            f"--judge: expected at most one attribute network, got {', '.join(map(str, attribute))}; name a judge of "
            "another kind by its YAML file."
        )
    return (attribute[0] if attribute else None), described


def partial_judges(observers: Observers, experiments: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Sentences on judges that cannot see what a model's loss ignores, since they learned the same as its network.

    Args:
        observers: with the judges.
        experiments: plain experiments by the models' names; one whose feature network is gone is passed over.
    """
    found: dict[str, list[str]] = {}
    for model, experiment in experiments.items():
        network = _feature_network(experiment or {})
        for told in _partial(observers, network) if network else []:
            found.setdefault(told, []).append(model)
    return [f"{told} ({', '.join(models)})." for told, models in found.items()]


def _partial(observers: Observers, network: Path) -> list[str]:
    sha256, judge = _sha256(network), observers.judge
    same = [f"the judge {other.name}" for other in observers.judges if other.sha256 == sha256]
    if judge and _sha256(judge.file) == sha256:
        same.append("the attribute-trained judge")
    elif judge and "attributes" in read_metadata(network):
        return [BLIND, *_same(same)]
    return _same(same)


def _same(judges: Sequence[str]) -> list[str]:
    return [
        f"{judge[0].upper()}{judge[1:]} is the loss's own feature network, so it favours what was trained with it: use "
        "another network as judge"
        for judge in judges
    ]


def _feature_network(experiment: Mapping[str, Any]) -> Path | None:
    """The file of the feature network that a model was trained with; None if it has none, or it is not here."""
    features = (experiment.get("loss") or {}).get("features") or {}
    weights = features.get("weights")
    if not isinstance(weights, str):
        return None
    file = COMPACT if weights == "compact" else Path(weights).expanduser()
    return file if file.is_file() else None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
