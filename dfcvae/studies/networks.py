"""The attribute networks that a study trains for itself: feature networks on these faces, and a judge."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock

from dfcvae.attribute_network import train_features
from dfcvae.config import Experiment
from dfcvae.data import Splits
from dfcvae.errors import UserError
from dfcvae.feature_config import FeatureTraining
from dfcvae.weights import read_metadata

IN_DOMAIN = "in-domain"
FEATURES = FeatureTraining()
JUDGE = FeatureTraining("vgg11_bn", seed=1)  # another architecture and another seed than the networks it judges
KEY = "trained"  # of what a file says of its training


def trained_network(config: FeatureTraining, splits: Splits, file: Path, progress: bool) -> Path:
    """An attribute network in a file, trained unless it is there.

    Raises:
        UserError: if the file was trained on other faces or in another way, or these faces have no attributes.
    """
    faces = splits["train"]
    how = json.dumps(asdict(config) | {"faces": faces.fingerprint, "images": [*faces.images.shape]}, sort_keys=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.is_file():
            if progress:
                print(f"\ntraining {file.stem}: {config.arch}, width {config.width:g}", flush=True)
            train_features(config, splits, progress=progress).save(file, {KEY: how})
    if read_metadata(file).get(KEY, how) != how:  # a file from elsewhere does not say
        raise UserError(
            f"{file} was trained on other faces, or in another way, by an earlier start with other settings. Name "
            "another folder with --out, or remove the file and what was trained with it."
        )
    return file


def with_weights(experiment: Experiment, file: Path) -> Experiment:
    """An experiment that takes its feature network's weights from a file where it says ``in-domain``."""
    features = experiment.loss.features
    if features is None or features.weights != IN_DOMAIN:
        return experiment
    return replace(experiment, loss=replace(experiment.loss, features=replace(features, weights=str(file))))
