"""The networks that evaluate reconstructions and samples: judges, Inception, LPIPS."""

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
JudgeFiles = Path | Sequence[Path] | None
"""What ``--judge`` names: files of an attribute network and of descriptions (YAML) of other networks."""


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
            UserError: if it is not one.
        """
        network = AttributeNetwork.load(file).to(device)
        return cls(file, network, VGGFeatures(network.arch, JUDGE_LAYERS, str(file)).to(device))


@dataclass(frozen=True)
class Observers:
    """All of them; each may be missing.

    Args:
        judge: for attributes, distances at layers, and distances of samples.
        inception: for FID and KID.
        lpips: distances by the name of their network.
        judges: networks of other kinds.
    """

    judge: Judge | None = None
    inception: Embedding | None = None
    lpips: Mapping[str, Distance] = field(default_factory=dict)
    judges: Sequence[NetworkJudge] = ()

    def embed_samples(self) -> bool:
        """Whether any of them gives features in which samples can be measured."""
        return bool(self.spaces())

    def spaces(self) -> dict[str, Embedding]:
        """Embeddings that samples are measured in, by name."""
        spaces: dict[str, Embedding] = {"judge": self.judge.network.embed} if self.judge else {}
        spaces |= {judge.name: judge.embed for judge in self.judges}
        return spaces | ({"inception": self.inception} if self.inception else {})

    @classmethod
    def load(cls, judge: JudgeFiles, fid: str | None, lpips: bool) -> "Observers":
        """Those that the options ``--judge``, ``--fid`` and ``--lpips`` name; LPIPS also where its weights are present.

        Raises:
            UserError: if a file is of the wrong kind, corrupted or cannot be downloaded, or two judges have one name.
        """
        device, files = pick_device(), [judge] if isinstance(judge, Path) else list(judge or ())
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


def partial_judges(observers: Observers, experiments: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Warnings of judges that cannot see what a model's loss ignores, since they learned the same as its network.

    Args:
        observers: with the judges.
        experiments: plain experiments by the models' names; one whose feature network is missing is skipped.
    """
    found: dict[str, list[str]] = {}
    for model, experiment in experiments.items():
        features = ((experiment or {}).get("loss") or {}).get("features") or {}
        weights = str(features.get("weights"))
        file = COMPACT if weights == "compact" else Path(weights).expanduser()
        for warning in _partial(observers, file) if file.is_file() else []:
            found.setdefault(warning, []).append(model)
    return [f"{warning} ({', '.join(models)})." for warning, models in found.items()]


def _partial(observers: Observers, network: Path) -> list[str]:
    sha256, judge = _sha256(network), observers.judge
    same = [f"The judge {other.name}" for other in observers.judges if other.sha256 == sha256]
    itself = judge is not None and _sha256(judge.file) == sha256
    same += ["The attribute-trained judge"] if itself else []
    blind = [BLIND] if judge and not itself and "attributes" in read_metadata(network) else []
    return blind + [
        f"{name} is the loss's own feature network, so it favours what was trained with it: use another network as "
        "judge"
        for name in same
    ]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
