"""The effect of the prior on samples: Frechet distances to held-out faces in a judge's features, and a picture.

    python experiments/priors.py RUN [RUN ...] --judge judge.safetensors --out priors

The judge is an attribute network (`dfcvae features train`) with which the models were not trained; the distance is
between its pooled features, so it is not the FID. All sets have as many images as the test split. The floor is the
distance between the validation and the test split: real against real. Reconstructions of the validation split show
the best that the decoder can do. Writes OUT.json and OUT-NAME.png for each run.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev

import torch

from dfcvae import VAE
from dfcvae.attribute_network import AttributeNetwork
from dfcvae.data import data_of, load_faces
from dfcvae.evaluation import embed, frechet_distance
from dfcvae.fitted import fit_prior, posteriors
from dfcvae.latent import Prior
from dfcvae.plots import labelled_grid
from dfcvae.seeding import Stream, seeded_generator

SEEDS, SHOWN = 5, 10


def main() -> None:
    """Measure all runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="run folders")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--source", help="where the faces are (default: as in training)")
    parser.add_argument("--out", type=Path, default=Path("priors"))
    args = parser.parse_args()
    judge = AttributeNetwork.load(args.judge)
    splits = load_faces(data_of(args.models[0], args.source, held_out=False))
    count = min(len(splits["test"]), len(splits["val"]))
    real, other = (embed(judge.embed, splits[name].images[:count]) for name in ("test", "val"))
    results: dict = {"images": count, "real against real": frechet_distance(real, other)}
    print(f"real against real: {results['real against real']:.1f}, {count} images each")
    for model in args.models:
        vae, name = VAE.load(model), Path(model).name
        fitted = {kind: fit_prior(vae, kind, splits) for kind in ("gaussian", "gmm")}
        normal = Prior.standard(vae.latent_dim)
        draws = {"N(0, I)": (normal, 1.0), "N(0, I), temperature 0.7": (normal, 0.7)}
        draws |= {"Gaussian": (fitted["gaussian"], 1.0), "Gaussian, temperature 0.7": (fitted["gaussian"], 0.7)}
        draws |= {f"mixture of {len(fitted['gmm'].weights)}": (fitted["gmm"], 1.0)}
        mu, _ = posteriors(vae, splits["val"])
        results[name] = {"reconstructions": [frechet_distance(real, embed(judge.embed, vae.decode_all(mu[:count])))]}
        pictures = []
        for kind, (prior, temperature) in draws.items():
            distances = []
            for seed in range(SEEDS):
                generator = seeded_generator(seed, Stream.EVALUATION)
                samples = vae.decode_all(prior.sample(count, temperature=temperature, generator=generator))
                distances.append(frechet_distance(real, embed(judge.embed, samples)))
                pictures += [samples[:SHOWN]] if seed == 0 else []
            results[name][kind] = distances
            print(f"{name}: {kind}: {mean(distances):.1f} (+-{stdev(distances):.1f} over {SEEDS} draws)", flush=True)
        print(f"{name}: reconstructions: {results[name]['reconstructions'][0]:.1f}")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure = labelled_grid(torch.stack(pictures), [kind.replace(", temp", "\ntemp") for kind in draws])
        figure.savefig(args.out.with_name(f"{args.out.name}-{name}.png"))
    args.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
