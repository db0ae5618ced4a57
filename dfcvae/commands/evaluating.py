"""Commands that evaluate a model: measures with intervals and their protocol, and what its latents tell."""

import json
from typing import Any

from dfcvae.commands.measuring import print_measures
from dfcvae.data import Splits, data_of, load_faces, source_name
from dfcvae.errors import UserError
from dfcvae.evaluation import (
    JUDGE_LAYERS,
    compared,
    inception_card,
    inception_network,
    lpips_distances,
    measure,
    measure_samples,
    probe_model,
    probe_record,
    probe_table,
    protocol,
)
from dfcvae.evaluation.inception import Embedding
from dfcvae.evaluation.lpips import left_out
from dfcvae.evaluation.samples import FEWEST
from dfcvae.features import VGGFeatures
from dfcvae.training import AttributeNetwork
from dfcvae.training.environment import environment, pick_device
from dfcvae.vae import VAE, digest

# of `measure_samples`, by their names in the JSON: FID and KID are defined in the features of Inception alone
JUDGED = {
    "frechet_judge": "Frechet distance (judge)",
    "kernel_judge": "kernel distance (judge)",
    "precision_judge": "precision",
    "recall_judge": "recall",
}
INCEPTION = {"fid": "FID", "kid": "KID", "precision_inception": "precision", "recall_inception": "recall"}


def evaluate(arguments: Any) -> None:
    """Print measures of a model on the test split, with intervals, and what they were measured with."""
    if arguments.iwae == 1:
        raise UserError("--iwae takes 2 draws or more: with 1 it is the ELBO, which is measured without it too.")
    if arguments.out:  # mistaken paths show before hours of work
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    device, seed, draws = pick_device(), arguments.seed, arguments.iwae or 1
    vae = VAE.load(arguments.model, device=device)
    judge = AttributeNetwork.load(arguments.judge).to(device) if arguments.judge else None
    features = VGGFeatures(judge.arch, JUDGE_LAYERS, str(arguments.judge)).to(device) if judge else None
    lpips = lpips_distances(device, download=arguments.lpips)
    inception = inception_network(arguments.fid, device) if arguments.fid is not None else None
    data = data_of(arguments.model, arguments.source)
    splits = load_faces(data)
    test = splits["test"]
    measured = measure(vae, test, features=features, judge=judge, lpips=lpips, draws=draws, seed=seed, progress=True)
    values, intervals = measured.values(), measured.intervals(seed)
    print_measures(values, intervals)
    samples = judged_samples(vae, splits, judge, seed) if judge else {}
    samples |= inception_samples(vae, splits, inception, seed) if inception else {}
    n = compared(splits["val"], test) if samples else 0
    card = protocol(vae, data, images=len(test), judge=arguments.judge, samples=n, draws=draws, seed=seed)
    card |= inception_card() if inception and n else {}
    card |= {name: value for name, value in environment().items() if name in ("commit", "device", "versions")}
    print_card(card)
    if told := left_out(lpips):
        print(f"\n{told}")
    if arguments.out:
        more = {"intervals": intervals, "kl_per_dimension": measured.kl_per_dimension.tolist(), "protocol": card}
        arguments.out.write_text(json.dumps(values | samples | more, indent=2) + "\n")


def probe(arguments: Any) -> None:
    """Print what linear classifiers read of attributes in a model's latents, beside controls."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, held_out=False)
    result = probe_model(vae, load_faces(data), progress=True)
    print(probe_table(result))
    if arguments.out:
        about = {"model": digest(vae), "source": source_name(data), "size": data.size, "crop": data.crop}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(about | probe_record(result), indent=2) + "\n")


def judged_samples(vae: VAE, splits: Splits, judge: AttributeNetwork, seed: int) -> dict[str, float]:
    """Print how far samples are from the test split in the judge's features, unless there are too few faces."""
    return _samples(vae, splits, judge.embed, JUDGED, "in the judge's features", seed)


def inception_samples(vae: VAE, splits: Splits, network: Embedding, seed: int) -> dict[str, float]:
    """The same in the features of Inception, where the distances are FID and KID."""
    return _samples(vae, splits, network, INCEPTION, "in the features of Inception", seed)


def _samples(
    vae: VAE, splits: Splits, network: Embedding, titles: dict[str, str], where: str, seed: int
) -> dict[str, float]:
    val, test = splits["val"], splits["test"]
    n = compared(val, test)
    if n < FEWEST:
        print(f"\nSamples are not measured: {FEWEST} validation and test faces are needed, and there are {n}.")
        return {}
    samples = measure_samples(vae, val, test, network, seed=seed, progress=True)
    print(f"\nAgainst the test split, {where}, {n:,} images each")
    print(f"{'':<28}" + "".join(f"{title:>26}" for title in titles.values()))
    for name, row in samples.items():
        title = "floor: validation faces" if name == "floor" else name
        print(f"{title:<28}" + "".join(f"{value:>26.4g}" for value in row.values()))
    return {
        f"{name}/{key}": value for name, row in samples.items() for key, value in zip(titles, row.values(), strict=True)
    }


def print_card(card: dict[str, Any]) -> None:
    """One line of the protocol to a line."""
    print("\nProtocol")
    for name, value in card.items():
        text = ", ".join(f"{package} {number}" for package, number in value.items()) if name == "versions" else value
        print(f"{name:<28}{text}")
