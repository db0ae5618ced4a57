"""The networks that look at what models make of faces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfcvae.evaluation import JUDGE_LAYERS, inception_network, lpips_distances
from dfcvae.evaluation.inception import Embedding
from dfcvae.evaluation.lpips import Distance
from dfcvae.features import VGGFeatures
from dfcvae.training import AttributeNetwork
from dfcvae.training.environment import pick_device


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
        inception: of `dfcvae.evaluation.inception.inception_network`, for FID and KID.
        lpips: distances of `dfcvae.evaluation.lpips.lpips_distances`.
    """

    judge: Judge | None = None
    inception: Embedding | None = None
    lpips: Mapping[str, Distance] = field(default_factory=dict)

    @classmethod
    def load(cls, judge: Path | None, fid: str | None, lpips: bool) -> "Observers":
        """Those that the options ``--judge``, ``--fid`` and ``--lpips`` name; LPIPS also where its weights are at hand.

        Raises:
            UserError: if a file is damaged or something else, or cannot be downloaded.
        """
        device = pick_device()
        return cls(
            Judge.load(judge, device) if judge else None,
            inception_network(fid, device) if fid is not None else None,
            lpips_distances(device, download=lpips),
        )
