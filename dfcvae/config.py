"""Experiments and feature networks: their fields, checked alike in Python, YAML and on the command line. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from dfcvae.errors import UsageError, UserError
from dfcvae.fields import (
    MANY,
    Fraction,
    NonNegative,
    Positive,
    Range,
    Seed,
    TwoOrMore,
    Weight,
    Width,
    check_fields,
    made,
    merged,
    named,
    read_yaml,
)
from dfcvae.files import write_atomically
from dfcvae.registry import check_network

Decay = Annotated[float, Range(0, 0.999999, "a number from 0 to 0.999999")]


@dataclass
class DataConfig:
    """Which faces to train on.

    Args:
        source: "synthetic" (faces drawn by the program), or a path: CelebA in any layout, or any folder of images.
        size: side of the square images in pixels: 32, 64, 128 or 256.
        channels: 3 (RGB) or 1 (grey).
        crop: side of the central square to keep, in pixels of a CelebA image of 178x218 (scaled to the size of the
            files); "authors" (138, off the centre, as in the code of the paper), "full" (the largest square), or
            "auto": 148 for aligned CelebA, else full.
        filter: antialiased resampling filter of the resize: bilinear, bicubic or box.
        split_seed: of the training, validation and test split where the data set has none.
        strict: refuse missing or unreadable images (false: skip them with a warning).
        flip: mirror each training image with probability 1/2, drawn again in every epoch.
        train_images: use only the first N training images (null: all of them; 20,000 synthetic ones).
    """

    source: str = "synthetic"
    size: int = 64
    channels: int = 3
    crop: int | str = "auto"
    filter: Literal["bilinear", "bicubic", "box"] = "bilinear"
    split_seed: int = 0
    strict: bool = False
    flip: bool = True
    train_images: Positive | None = None

    def __post_init__(self) -> None:
        check_fields(self, "data.")


@dataclass
class ModelConfig:
    """Which network to train.

    Args:
        network: "hou2016" (the paper's), "smooth" (its encoder, and a decoder that draws no lines), "strided"
            (that of the PyTorch-VAE collection), or your own: a registered name, or "package.module:function".
        latent_dim: number of latent dimensions.
    """

    network: str = "hou2016"
    latent_dim: Positive = 100

    def __post_init__(self) -> None:
        check_fields(self, "model.")
        check_network(self.network, "model.network")


@dataclass
class FeatureConfig:
    """The feature terms: a published loss, and what to change in it (null: as published).

    Args:
        preset: a loss of docs/losses.md: dfc-vae (relu1_1, relu2_1, relu3_1 of vgg19_bn, 1/6 each, average pooling; the
            shipped experiments have it), dfc (the popular 14, 24, 34, 43), dfc-aliased, vae-123, vae-345, vgg-l1,
            vgg-l1-sum, vgg-l1-3, content, perceptual-mse, perceptual-mse-aliased, style, style-l1, lpips, ssim or
            ms-ssim.
        weights: "imagenet" (downloaded once), "compact" (ships with the package), "random", or a file: a state dict, or
            what `dfcvae features train` or `dfcvae features distil` wrote.
        arch: a torchvision VGG: vgg11, vgg13, vgg16, vgg19, each with or without _bn.
        layers: layers of `arch.features`, by torchvision's index (24) or by name (bn3_4); `dfcvae features list`.
        layer_weights: one weight for all layers, or one for each.
        distance: "squared", "absolute", "norm" (Euclidean) or "charbonnier".
        reduction: "mean", "half-mean" or "sum" over the channels and places of a layer.
        pooling: "max", as the network was trained, or "average".
        cache_targets: keep the features of the training images in "memory" (the GPU's or the CPU's), on "disk" or
            "never"; "auto": in memory if they fit in half of the free memory and training is long enough to pay off.
        shift: before the network sees them, shift original and reconstruction by the same random offset from a square
            of this side in pixels, drawn again in every training step (0 or 1: no shift).
    """

    preset: str = "dfc"
    weights: str = "imagenet"
    arch: str | None = None
    layers: list[int | str] | None = None
    layer_weights: float | list[float] | None = None
    distance: Literal["squared", "absolute", "norm", "charbonnier"] | None = None
    reduction: Literal["mean", "half-mean", "sum"] | None = None
    pooling: Literal["max", "average"] | None = None
    cache_targets: Literal["auto", "memory", "disk", "never"] = "auto"
    shift: NonNegative = 0

    def __post_init__(self) -> None:
        check_fields(self, "loss.features.")


@dataclass
class LossConfig:
    """total = alpha * kl + beta * (pixel_weight * pixel + sum of layer_weights * features).

    Args:
        alpha: weight of the KL divergence (sum over latent dimensions, nats).
        beta: weight of the reconstruction: pixels and features.
        pixel_weight: weight of the pixel term within the reconstruction.
        scale: "variance" divides pixel and feature terms by their targets' variance over the images; "none" does not;
            "likelihood" makes each a Gaussian log-likelihood with its own fitted variance (all weights 1: the ELBO).
        kl_warmup_steps: raise the KL weight linearly over this number of steps, up to alpha.
        features: the feature terms; null for a plain VAE.
    """

    alpha: Weight = 4e-3
    beta: Weight = 1.0
    pixel_weight: Weight = 1.0
    scale: Literal["variance", "none", "likelihood"] = "variance"
    kl_warmup_steps: NonNegative = 0
    features: FeatureConfig | None = None

    def __post_init__(self) -> None:
        check_fields(self, "loss.")


@dataclass
class TrainingConfig:
    """How to train.

    Args:
        epochs: passes over the training images.
        max_steps: stop after this number of steps, if that is earlier (null: no limit).
        batch_size: images per optimiser step.
        micro_batches: per optimiser step (gradient accumulation), to save memory.
        devices: processes that share the images of a step, each with its own GPU (or part of the CPU).
        learning_rate: Adam's initial learning rate.
        warmup_steps: steps of linear learning-rate warm-up, for large batches.
        betas: Adam's decay rates.
        schedule: "constant", "exponential" (times `decay` after each epoch) or "cosine" (to 0 at the end).
        decay: factor of the exponential schedule.
        clip_norm: clip the gradient to this norm (null or 0: do not).
        ema_decay: evaluate an exponential moving average of the weights with this decay, at step n at most
            n / (10 + n) (null: evaluate the weights).
        precision: "32-true", "bf16-mixed" (reductions stay in float32), or "auto": the latter where the hardware
            multiplies matrices of bfloat16.
        accelerator: "auto", "cpu" or "cuda".
        compile: compile the step with torch.compile (for GPUs; takes a minute to start).
        seed: of the initial weights, the order of the images, flips and noise.
        deterministic: use only deterministic algorithms: the same numbers twice on the same machine, also on a GPU,
            where it costs time.
        logger: besides the CSV file: "wandb", "tensorboard", or null.
        picture_epochs: epochs between pictures in the run folder; a long run spaces them out, to at most 50.
    """

    epochs: Positive = 20
    max_steps: Positive | None = None
    batch_size: TwoOrMore = 64
    micro_batches: Positive = 1
    devices: Positive = 1
    learning_rate: Weight = 1e-3
    warmup_steps: NonNegative = 0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    schedule: Literal["constant", "exponential", "cosine"] = "constant"
    decay: Fraction = 0.95
    clip_norm: Weight | None = None
    ema_decay: Fraction | None = None
    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False
    seed: Seed = 0
    deterministic: bool = False
    logger: Literal["wandb", "tensorboard"] | None = None
    picture_epochs: Positive = 1

    def __post_init__(self) -> None:
        check_fields(self, "training.")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Training steps of the whole run."""
        steps = self.epochs * steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass
class Experiment:
    """A training run in full.

    Args:
        name: what the run is called.

    Raises:
        UserError: for a value of a wrong type or outside its limits.
    """

    name: str = "vae"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.loss.features and self.loss.features.shift > self.data.size:
            raise UsageError(
                f"loss.features.shift: expected at most data.size ({self.data.size}), got {self.loss.features.shift}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, as YAML and checkpoints hold them."""
        plain = asdict(self)
        plain["training"]["betas"] = list(self.training.betas)
        return plain

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> "Experiment":
        """An experiment from a YAML file or a mapping.

        ``Experiment.load("x.yaml", {"loss.alpha": 0.01})``, ``Experiment.load({"data": {"size": 32}, "name": "x"})``

        Args:
            source: a path, or fields by name, nested or dotted; those left out have their defaults.
            changes: fields to replace, of the same form.

        Raises:
            UserError: for a missing file, an unknown field, or a value of a wrong type or outside its limits.
        """
        if isinstance(source, Mapping):
            return made(cls, merged(merged({}, source), changes or {}))
        plain = read_yaml(Path(source), "an experiment")
        try:
            return made(cls, merged(named(plain), changes or {}))
        except UsageError as error:
            raise UsageError(f"{source}: {error}") from error

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Experiment":
        """The inverse of `as_dict`; fields that were added since have their defaults.

        Raises:
            UserError: for an unknown field, or a value of a wrong type or outside its limits.
        """
        try:
            if missing := [entry.name for entry in fields(cls) if entry.name not in plain]:
                raise UsageError(f"it lacks {', '.join(missing)}.")
            return made(cls, plain)
        except UserError as error:
            raise UserError(
                f"The saved experiment does not fit this version of dfcvae ({str(error).rstrip('.')}); use the version "
                "it was made with, or train again."
            ) from error

    def save(self, path: Path) -> None:
        """Write the experiment as YAML."""
        write_atomically(path, yaml.safe_dump(self.as_dict(), sort_keys=False))


@dataclass(frozen=True)
class Distillation:
    """How to distil a small feature network from a large one.

    Args:
        arch: the student, a torchvision VGG.
        width: factor of every channel count; 0.25 is about twelve times cheaper than the full network.
        last: the student's deepest layer, by torchvision's index or name; its file ends there.
        taps: layers, by name, at which the student is to see what its teachers see; null: all that they give.
        gradients: taps at which the gradients are matched, in turn, one in each step; null: all of them.
        pooling: "max", "average", or "both": in turn, each against the teacher with the same pooling.
        initial: weights to start from, a file; null: random ones, with batch statistics for the first third of the
            steps.
        sizes: sides in pixels to which faces are resized, one of them in each step.
        patch: side of the square, in pixels, that is cut out of larger ones; smaller images come in larger batches.
        steps: training steps.
        batch_size: pairs of a clean and a disturbed face in a step, at the size of a patch.
        learning_rate: peak of the one-cycle schedule.
        gradient_weight: weight of the gradients' part of the loss.
        attribute_weight: weight of the attributes' cross entropy, where the faces have attributes.
        precision: "32-true", "bf16-mixed" or "auto", as in training a VAE.
        seed: of the initial weights, the order of the images, and the disturbances.
    """

    arch: str = "vgg19_bn"
    width: Width = 0.25
    last: int | str = "bn5_2"
    taps: list[str] | None = None
    gradients: list[str] | None = None
    pooling: Literal["max", "average", "both"] = "both"
    initial: str | None = None
    sizes: list[int] = field(default_factory=lambda: [32, 48, 64, 96, 128])
    patch: Annotated[int, Range(32, MANY, "an integer of at least 32")] = 64
    steps: Positive = 4_000
    batch_size: Annotated[int, Range(16, MANY, "an integer of at least 16")] = 32
    learning_rate: Weight = 1e-3
    gradient_weight: Weight = 1.0
    attribute_weight: Weight = 0.02
    precision: Literal["32-true", "bf16-mixed", "auto"] = "auto"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "student.")


@dataclass(frozen=True)
class FeatureTraining:
    """How to train an in-domain feature network on the attributes of a data set.

    Args:
        arch: a torchvision VGG.
        width: factor of every channel count; 0.25 is about twelve times cheaper than the full network.
        epochs: passes over the training images.
        batch_size: images in a step.
        learning_rate: peak of the one-cycle schedule.
        precision: "32-true", "bf16-mixed" or "auto", as in training a VAE.
        accelerator: "auto", "cpu" or "cuda".
        seed: of the initial weights and the order of the images.
    """

    arch: str = "vgg19_bn"
    width: Width = 0.25
    epochs: Positive = 8
    batch_size: TwoOrMore = 64
    learning_rate: Weight = 3e-3
    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "training.")
