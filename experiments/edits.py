"""Effects and side effects of attribute edits, measured with an independent network.

    python experiments/edits.py RUN --judge judge.safetensors --out edits

The judge is an attribute network (`dfcvae features train`) with which the model was not trained. Held-out faces that
lack an attribute, by its verdict on their reconstructions, are moved along each kind of vector in steps. The effect
is the fraction that it then says have the attribute; the side effect is the fraction of all other verdicts that change.
Vectors are compared at the same effect, not at the same strength. Writes OUT.json, OUT.png
(curves) and OUT-ATTRIBUTE.png (walks, of the model's pictures alone).
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from dfcvae import VAE
from dfcvae.attribute_network import AttributeNetwork
from dfcvae.data import data_of, load_faces
from dfcvae.evaluation import embed
from dfcvae.fitted import fit_vectors, posteriors
from dfcvae.latent import label_correlation
from dfcvae.plots import labelled_grid

ATTRIBUTES = ("Smiling", "Eyeglasses", "Male", "Blond_Hair", "Mustache")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
EFFECTS = (0.5, 0.8)  # fractions of faces changed, at which side effects are compared
CORRELATED = 0.3  # labels with at least this correlation are held fixed by vectors that keep others
SHOWN, WALK = 6, (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def kinds(vae: VAE, splits: dict) -> dict:
    """Steps (D,) for every attribute, by kind of vector."""
    train = splits["train"]
    means, normals = (fit_vectors(vae, train, method) for method in ("means", "classifier"))
    balanced = fit_vectors(vae, train, "means", ["Male", "Young"])
    labels = label_correlation(train.attributes).abs()
    found: dict[str, dict[str, Tensor]] = {}
    for name in ATTRIBUTES:
        with_name = dict(zip(train.names, labels[train.names.index(name)], strict=True))
        keep = [other for other in means.names if other != name and with_name[other] >= CORRELATED]
        found[name] = {
            "means": means[name],
            "means, balanced by Male and Young": balanced[name],
            "means, correlated ones projected out": means.step({name: 1}, keep),
            "classifier": normals[name],
            "classifier, correlated ones projected out": normals.step({name: 1}, keep),
        }
        print(f"{name}: held fixed: {', '.join(keep) or 'none'}", flush=True)
    return found


def curve(vae: VAE, judge: AttributeNetwork, mu: Tensor, step: Tensor, index: int) -> list[dict[str, float]]:
    """Effect and side effect at each strength on faces without the attribute."""
    before = embed(judge, vae.decode_all(mu)) > 0
    without = ~before[:, index]
    others = [i for i in range(before.shape[1]) if i != index]
    points = []
    for strength in STRENGTHS:
        after = embed(judge, vae.decode_all(mu[without] + strength * step)) > 0
        changed = (after != before[without])[:, others].float().mean()
        effect = float(after[:, index].float().mean())
        points.append({"strength": strength, "effect": effect, "side effect": float(changed)})
    return points


def at_effect(points: list[dict[str, float]], effect: float) -> tuple[float, float] | None:
    """Strength and side effect where a curve first reaches an effect, linearly between its points."""
    for low, high in pairwise(points):
        if low["effect"] < effect <= high["effect"]:
            t = (effect - low["effect"]) / (high["effect"] - low["effect"])
            strength, side = (low[key] + t * (high[key] - low[key]) for key in ("strength", "side effect"))
            return strength, side
    return None


def draw(results: dict, out: Path) -> None:
    """Side effect against effect, a panel for each attribute."""
    figure, axes = plt.subplots(1, len(results), figsize=(3.2 * len(results), 3.4), layout="constrained", sharey=True)
    for axis, (name, curves) in zip(axes, results.items(), strict=True):
        for kind, points in curves.items():
            axis.plot(*np.array([[p["effect"], p["side effect"]] for p in points]).T, ".-", ms=4, label=kind)
        axis.set_title(name)
        axis.set_xlabel("given the attribute (share of faces)")
    axes[0].set_ylabel("other attributes changed (share)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(out, dpi=90)


def main() -> None:
    """Measure all, draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run folder")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--source", help="where the faces are (default: as in training)")
    parser.add_argument("--out", type=Path, default=Path("edits"))
    args = parser.parse_args()
    vae, judge = VAE.load(args.model), AttributeNetwork.load(args.judge)
    splits = load_faces(data_of(args.model, args.source, held_out=False))
    mu, _ = posteriors(vae, splits["test"])
    steps = kinds(vae, splits)
    results = {
        name: {kind: curve(vae, judge, mu, step, judge.names.index(name)) for kind, step in by_kind.items()}
        for name, by_kind in steps.items()
    }
    summary = {
        name: {kind: {str(effect): at_effect(points, effect) for effect in EFFECTS} for kind, points in curves.items()}
        for name, curves in results.items()
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    numbers = {"strength and side effect at an effect": summary, "curves": results, "faces": len(mu)}
    args.out.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    for name, by_kind in summary.items():
        for kind, found in by_kind.items():
            reached = [f"{e}: " + (f"{v[0]:.2f}, {v[1]:.3f}" if v else "not reached") for e, v in found.items()]
            print(f"{name:<12}{kind:<44}{', '.join(reached)}")
    draw(results, args.out.with_suffix(".png"))
    for name, by_kind in steps.items():
        rows = torch.stack([torch.stack([z + s * by_kind["means"] for s in WALK]) for z in mu[:SHOWN]])
        faces = vae.decode_all(rows.flatten(0, 1)).unflatten(0, (SHOWN, len(WALK)))
        figure = labelled_grid(faces, [""] * SHOWN, [f"{name} {s:+g}" for s in WALK])
        figure.savefig(args.out.with_name(f"{args.out.name}-{name.lower()}.png"))


if __name__ == "__main__":
    main()
