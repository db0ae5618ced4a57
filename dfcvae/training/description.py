"""What a run folder says of its run: the experiment, where its numbers come from, what its weights mean."""

import json
from copy import deepcopy
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from dfcvae.data import TrainingBatches
from dfcvae.files import write_whole
from dfcvae.images import to_float
from dfcvae.losses import accounting_table, beta_eff
from dfcvae.seeding import Stream
from dfcvae.training.environment import environment
from dfcvae.training.module import VAETraining


def describe(module: VAETraining, batches: TrainingBatches, out: Path, resumed: bool) -> None:
    """Write into the run folder what the run is, and with what it was begun."""
    module.experiment.save(out / "config.yaml")
    if not resumed:
        write_whole(out / "environment.json", json.dumps(environment(), indent=2) + "\n")
        _account(module, to_float(next(iter(batches)).images).to(module.device), out)


def _account(module: VAETraining, x: Tensor, out: Path) -> None:
    """Print and save what the weights mean, with the size of every term on the first batch."""
    with torch.no_grad():
        vae = deepcopy(module.vae)  # a step in training mode, as the first one, would change the batch norm statistics
        x_hat, mu, logvar = vae(x, module.noise(Stream.TRAIN_NOISE, 0, len(x)))
        terms = module.objective.eval().to(x.device).terms(x_hat, x, mu, logvar)
        module.objective.train()
    sizes = {name: float(value.mean()) for name, value in terms.items()}
    objective, pixels = module.objective, x[0].numel()
    currency = beta_eff(objective, pixels)
    print(accounting_table(objective, sizes, pixels))
    report = {
        "weights": objective.weights,
        "scales": objective.scales,
        "first_batch": sizes,
        "beta_eff": currency if isfinite(currency) else None,
    }
    write_whole(out / "accounting.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
