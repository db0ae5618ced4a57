"""How feature networks are made: trained on attributes, or distilled from a larger one. Free of torch, as is config."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from dfcvae.ranges import MANY, Positive, Range, Seed, TwoOrMore, Weight, Width, check_fields


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
