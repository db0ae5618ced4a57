"""`dfcvae bench`: the cost of a training step on this machine, compared with the popular implementations.

All rows train in one process and take turns, so that a busy machine slows all of them equally; ratios are computed per
round. Data loading is not measured: images and cached targets are in memory before the first step.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, mse_loss
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from dfcvae.build import build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import Faces, TrainingBatches
from dfcvae.data.batches import Batch
from dfcvae.device import (
    Precision,
    check_accelerator,
    environment,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    release_memory,
    reset_peak_memory,
)
from dfcvae.errors import UserError
from dfcvae.fields import Positive, TwoOrMore, checked, type_hints
from dfcvae.files import write_atomically
from dfcvae.images import to_float
from dfcvae.networks import SIZES
from dfcvae.seeding import Stream, noise
from dfcvae.table import Table
from dfcvae.targets import Targets
from dfcvae.training import terms_of
from dfcvae.vgg import vgg_layers
from dfcvae.weights import load_vgg_weights

STEPS = {"cpu": 2, "cuda": 50}  # timed per turn
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
POPULAR_LAYERS = (14, 24, 34, 43)  # torchvision's indices, as in their code
MIB, GIGA = 2**20, 1e9


def bench_experiment(size: int, batch_size: int, precision: Precision, weights: str | None) -> Experiment:
    """The recipe of the popular code; ``weights`` are those of the feature network, None makes a plain VAE."""
    features = None if weights is None else FeatureConfig(preset="dfc", weights=weights, arch="vgg19_bn")
    return Experiment(
        "bench",
        DataConfig(size=size),
        ModelConfig("strided", latent_dim=128),
        LossConfig(alpha=0.00025, beta=0.5, scale="none", features=features),
        TrainingConfig(batch_size=batch_size, learning_rate=5e-3, precision=precision),
    )


class PopularStep:
    """The training step of the widely used DFC-VAE implementations, with batches that are on the device already.

    Their choices are reproduced, including mistakes: all of vgg19_bn runs, on images that are not normalised, and
    records a graph for the originals too; batch norms are not folded; the ReLUs work in place, so that layers 24 and 34
    are actually 25 and 35; every step waits for the device to read the values it logs. Two differences do not affect
    the speed: the network's weights are random, and its unused classifier (471 MiB) is omitted.
    """

    def __init__(self, experiment: Experiment, batches: Iterator[Batch], device: torch.device):
        self.alpha, self.beta, self.batches = experiment.loss.alpha, experiment.loss.beta, batches
        self.vae = build_vae(experiment).to(device)
        self.network = nn.Sequential(*vgg_layers("vgg19_bn").values())
        self.network.load_state_dict(load_vgg_weights("vgg19_bn", "random")[0], strict=False)  # it has no counters
        for layer in self.network:
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # as in torchvision
        self.network.requires_grad_(False).eval().to(device)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), experiment.training.learning_rate)

    def __call__(self) -> Tensor:
        """Take the step; returns its loss."""
        batch = next(self.batches)
        eps = torch.randn(len(batch.images), self.vae.latent_dim, device=batch.images.device)
        values = self.losses(batch, eps)
        values["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.logged = {name: value.item() for name, value in values.items()}
        return values["loss"].detach()

    def losses(self, batch: Batch, eps: Tensor) -> dict[str, Tensor]:
        """The loss and its two terms, scalars."""
        x = to_float(batch.images)  # (N, 3, H, W)
        x_hat, mu, logvar = self.vae(x, eps)
        pairs = zip(self.features(x_hat), self.features(x), strict=True)
        reconstruction = mse_loss(x_hat, x) + sum(mse_loss(a, b) for a, b in pairs)
        kl = torch.mean(-0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1), dim=0)
        return {"loss": self.beta * reconstruction + self.alpha * kl, "reconstruction": reconstruction, "kl": kl}

    def features(self, x: Tensor) -> list[Tensor]:
        """The outputs of `POPULAR_LAYERS`, or what the next layer has overwritten them with."""
        outputs = []
        for index, layer in enumerate(self.network):
            x = layer(x)
            if index in POPULAR_LAYERS:
                outputs.append(x)
        return outputs


class OwnStep:
    """One training step of this package, the body of its training loop, on uint8 faces that are on the device.

    ``cached`` computes the originals' features once instead of in every step; ``compiled`` uses ``torch.compile``.
    """

    def __init__(
        self, experiment: Experiment, faces: Faces, device: torch.device, cached: bool = False, compiled: bool = False
    ):
        self.experiment, training = experiment, experiment.training
        perceptual = build_perceptual(experiment.loss.features)
        self.vae = build_vae(experiment).to(device)
        self.objective = build_objective(experiment.loss, perceptual, faces.images).to(device)
        self.bfloat16 = training.precision == "bf16-mixed"
        if self.bfloat16:
            use_bfloat16_features(self.objective)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), training.learning_rate, fused=True)
        targets = None
        if cached and perceptual is not None:
            targets = Targets(perceptual, faces.images, True, device, progress=False).in_memory()
        self.batches = TrainingBatches(faces, training.batch_size, training.seed, targets=targets).starting_at(0)
        self.run: Callable[[Batch, Tensor], Tensor] = torch.compile(self.loss) if compiled else self.loss
        self.taken = 0

    def __call__(self) -> Tensor:
        """Take the step; returns its loss."""
        batch = next(self.batches)
        eps = noise(self.experiment, Stream.TRAIN_NOISE, self.taken, len(batch.images), batch.images.device)
        loss = self.run(batch, eps)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1
        return loss.detach()

    def loss(self, batch: Batch, eps: Tensor) -> Tensor:
        """The batch mean of the objective, a scalar."""
        with torch.autocast(eps.device.type, torch.bfloat16, enabled=self.bfloat16):
            terms, _ = terms_of(self.vae, self.objective, batch.images, eps, targets=batch.targets)
            return terms["total"].mean()


@dataclass
class Row:
    """One row of the table: a step and its measurements."""

    name: str
    arithmetic: str  # dtype of its convolutions, a key of `DTYPES`
    build: Callable[[], PopularStep | OwnStep]
    flops_per_image: float = 0.0  # in convolutions and matrix products; a multiply-add counts as two
    memory: int | None = None  # peak in bytes above what was in use before it was built; None: cannot be measured
    seconds: list[float] = field(default_factory=list)  # per step, one for each round
    error: str | None = None  # why there are no measurements


def bench_rows(size: int, batch_size: int, device: torch.device, quick: bool) -> list[Row]:
    """The rows for a device; their steps are not built yet."""
    generator = torch.Generator().manual_seed(0)  # noise trains as fast as faces
    images = torch.randint(256, (4 * batch_size, 3, size, size), generator=generator, dtype=torch.uint8)
    faces = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ()).to(device)
    batches = TrainingBatches(faces, batch_size, seed=0).starting_at(0)
    experiment = partial(bench_experiment, size, batch_size)

    def own(name: str, weights: str | None, precision: Precision, **how: bool) -> Row:
        arithmetic = "bfloat16" if precision == "bf16-mixed" else "float32"
        return Row(name, arithmetic, lambda: OwnStep(experiment(precision, weights), faces, device, **how))

    usual = pick_precision("auto", device)
    rows = [
        Row("popular", "float32", lambda: PopularStep(experiment("32-true", "random"), batches, device)),
        own("dfcvae, vgg19_bn", "random", usual),
        own("dfcvae, vgg19_bn, cached targets", "random", usual, cached=True),
        own("dfcvae, compact", "compact", usual),
        own("dfcvae, compact, cached targets", "compact", usual, cached=True),
        own("plain VAE", None, usual),
    ]
    if not quick and usual != "32-true":
        rows.append(own("dfcvae, vgg19_bn, float32", "random", "32-true"))
    if not quick and device.type == "cuda":
        rows.append(own("dfcvae, vgg19_bn, compiled", "random", usual, compiled=True))
        rows.append(own("dfcvae, compact, cached targets, compiled", "compact", usual, cached=True, compiled=True))
    return rows


def run_bench(
    size: int = 64,
    batch_size: TwoOrMore = 64,  # batch norm needs two
    rounds: Positive | None = None,
    steps: Positive | None = None,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
    quick: bool = False,
    out: Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the training step of the popular implementations and of this package.

    The arguments are those of `dfcvae bench`; ``quick`` leaves out what is compiled, and float32 where bfloat16 is the
    default. The report, plain values that `bench_table` formats, is returned and, if ``out`` is given, written there.
    A UserError for a number out of range, or a missing GPU.
    """
    if size not in SIZES:
        raise UserError(f"size: expected one of {', '.join(map(str, SIZES))}, got {size}.")
    checked({"batch_size": batch_size, "rounds": rounds, "steps": steps}, type_hints(run_bench))
    check_accelerator(accelerator)
    device = pick_device(accelerator)
    rounds, steps = rounds or (1 if quick else 3), steps or STEPS[device.type]
    keep_freed_memory()  # as `dfcvae train` does
    rows = bench_rows(size, batch_size, device, quick)
    # first, so that the memory that libraries allocate on first use is not counted in a row
    peaks = {name: convolution_peak(DTYPES[name], device) for name in sorted({row.arithmetic for row in rows})}
    with tqdm(total=(1 + rounds) * len(rows), desc="measuring", unit="turn", disable=not progress or None) as bar:
        timers = []
        for row in rows:
            bar.set_postfix_str(f"{row.name}: preparing")
            timers.append(prepare(row, batch_size, device))
            bar.update()
        for _ in range(rounds):
            peaks = {name: max(peak, convolution_peak(DTYPES[name], device)) for name, peak in peaks.items()}
            for row, timer in zip(rows, timers, strict=True):
                bar.set_postfix_str(row.name)
                if timer is not None:
                    row.seconds.append(timer.timeit(steps).mean)  # after two warm-up steps
                bar.update()
    report = {
        "settings": {"size": size, "batch_size": batch_size, "rounds": rounds, "steps": steps, "device": device.type},
        "environment": environment(),
        "convolution_peaks": peaks,
        "rows": [summary(row, rows[0], batch_size, peaks) for row in rows],
    }
    if out is not None:
        write_atomically(out, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def prepare(row: Row, batch_size: int, device: torch.device) -> Timer | None:
    """Build a row's step, count its operations and measure its memory; on failure return None and set ``row.error``."""
    # A row's memory is the increase of the peak: rows share a process.
    release_memory(device)
    measurable = reset_peak_memory(device)
    before = peak_memory(device)
    try:
        step = row.build()
        with torch.compiler.set_stance("force_eager"):  # compiled code cannot be counted
            row.flops_per_image = count_flops(step) / batch_size
        release_memory(device)
        reset_peak_memory(device)
        step()
    except RuntimeError as error:  # out of memory, or no compiler
        row.error = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:160]}"
        return None
    after = peak_memory(device)
    if measurable and after is not None and before is not None and after > before:  # unless the system took pages back
        row.memory = after - before
    return timer("step()", step=step)


def count_flops(function: Callable[[], Any]) -> int:
    """Floating-point operations of one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


@torch.no_grad()
def convolution_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a 3x3 convolution with 256 channels, a VGG's best case (float32 on a GPU: TF32, PyTorch's default)."""
    images, repeats = (256, 20) if device.type == "cuda" else (8, 2)
    x = torch.randn(images, 256, 32, 32, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    flops = count_flops(lambda: conv2d(x, weight, padding=1))
    timed = timer("conv2d(x, weight, padding=1)", conv2d=conv2d, x=x, weight=weight)
    return flops / min(timed.timeit(repeats).mean for _ in range(3))


def timer(statement: str, **names: Any) -> Timer:
    """PyTorch's timer, which synchronises with the GPU, with all threads instead of its default of one."""
    return Timer(statement, globals=names, num_threads=torch.get_num_threads())


def summary(row: Row, popular: Row, batch_size: int, peaks: dict[str, float]) -> dict[str, Any]:
    """Plain values of a row, with ratios to the popular step per round."""
    if row.error:
        return {"name": row.name, "error": row.error}
    ratios = [theirs / ours for theirs, ours in zip(popular.seconds, row.seconds, strict=False)]
    rate = spread([batch_size / seconds for seconds in row.seconds])
    return {
        "name": row.name,
        "arithmetic": row.arithmetic,
        "seconds_per_step": row.seconds,
        "images_per_second": rate,
        "times_popular": spread(ratios) if ratios else None,
        "peak_memory_bytes": row.memory,
        "flops_per_image": row.flops_per_image,
        "of_peak": row.flops_per_image * rate["median"] / peaks[row.arithmetic],
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def bench_table(report: dict[str, Any]) -> str:
    """The report of `run_bench` as text."""
    settings, rows = report["settings"], []
    for row in report["rows"]:
        if "error" in row:
            rows.append([row["name"], *[""] * 5, row["error"]])
            continue
        rate, times = shown(row["images_per_second"]), shown(row["times_popular"])
        memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / MIB:,.0f}"
        flops, of_peak = f"{row['flops_per_image'] / GIGA:.2f}", f"{row['of_peak']:.0%}"
        rows.append([row["name"], rate, times, memory, flops, of_peak, row["arithmetic"]])
    title = (
        f"A training step at batch {settings['batch_size']}, {settings['size']}x{settings['size']} pixels, on "
        f"{settings['device']} ({report['environment']['machine']}): median (range) of {settings['rounds']} rounds"
    )
    table = Table(["", "images/s", "x popular", "MiB", "GFLOP/image", "of peak", "arithmetic"], rows).text()
    peaks = ", ".join(f"{value / GIGA:,.0f} in {kind}" for kind, value in report["convolution_peaks"].items())
    return f"{title}\n\n{table}\n\nConvolution peak of this machine, GFLOP/s: {peaks}"


def shown(values: dict[str, float] | None) -> str:
    """``"26.9 (25.0-28.1)"``."""
    if values is None:
        return "-"
    digits = 0 if values["median"] >= 100 else 2
    middle, low, high = (f"{values[name]:,.{digits}f}" for name in ("median", "min", "max"))
    return f"{middle} ({low}-{high})"
