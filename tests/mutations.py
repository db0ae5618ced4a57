"""Bugs that perceptual losses really had, put back one at a time: each must make a test fail.

    python -m tests.mutations [NAME ...]      all of them, or those named; some thirteen minutes on one core

None of these bugs raises an error: training goes on, and the numbers are wrong. A copy of the package and its tests is
made, one piece of text in it is replaced, and the tests that should notice are run on the copy.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
COPIED = ("dfcvae", "tests", "setup.cfg", "pyproject.toml")
PATIENCE = 300  # seconds for the tests of one mutation
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - (.*))?$", re.MULTILINE)
# A mutation that fails like this does not bring a bug back: it is written wrongly.
BROKEN = ("NameError", "ImportError", "AttributeError", "SyntaxError", "IndentationError", "UnboundLocalError")


@dataclass(frozen=True)
class Mutation:
    """A bug, where it was found, and the text that brings it back.

    Args:
        name: how to ask for it on the command line.
        what: the bug, and who had it.
        file: within the package.
        old: text that stands in the file exactly once.
        new: what to put in its place.
        tests: the file of tests that should notice.
        only: the tests of the file to run, as for pytest's ``-k``, to save time.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: str
    only: str = ""


PRESETS = "tests/losses/test_presets.py"
ANYWHERE = "tests/losses/test_anywhere.py"
RUN = "tests/training/test_run.py"
TARGETS = "tests/training/test_targets.py"
FEATURES = "tests/test_features.py"
LIKELIHOOD = "tests/losses/test_likelihood.py"
OBJECTIVE = "tests/losses/test_objective.py"
PERCEPTUAL = "tests/losses/test_perceptual.py"
PROBE = "tests/evaluation/test_probe.py"

FEATURE_NETWORK = [
    Mutation(
        "in-place-relu",
        "Layers before a ReLU are overwritten by it: the popular PyTorch version, hooks, torchvision's extractor.",
        "features.py",
        "nn.ReLU(inplace=previous not in captured)",
        "nn.ReLU(inplace=True)",
        FEATURES,
        "overwritten or naive",
    ),
    Mutation(
        "train-mode",
        "The frozen network follows train(): the popular PyTorch version, taming-transformers.",
        "features.py",
        "return super().train(False)",
        "return super().train(mode)",
        FEATURES,
        "eval",
    ),
    Mutation(
        "batch-statistics",
        "The frozen batch norm uses and updates batch statistics in train mode: the popular PyTorch version.",
        "features.py",
        "layers[name] = FrozenAffine(scale.float(), shift.float())",
        "layers[name] = nn.BatchNorm2d(len(scale), track_running_stats=False)",
        FEATURES,
        "naive",
    ),
    Mutation(
        "never-eval",
        "Nobody calls eval() on the network: piq's content loss.",
        "features.py",
        "        self.eval()\n",
        "",
        FEATURES,
        "eval",
    ),
    Mutation(
        "no-normalisation",
        "Images enter the network without ImageNet's mean and deviation: the popular PyTorch version, vgg-l1's source.",
        "features.py",
        "(1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std",
        "at_least_float32(to_rgb(x))",
        FEATURES,
        "naive",
    ),
    Mutation(
        "normalised-twice",
        "Images that were normalised already are normalised again.",
        "features.py",
        "(1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std",
        "(1000 * (1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std - self.mean) / self.std",
        FEATURES,
        "naive",
    ),
    Mutation(
        "tanh-features",
        "The network is given images in [-1, 1] where it was trained on [0, 1]: losses made for tanh decoders.",
        "features.py",
        "(1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std",
        "(1000 * (2 * at_least_float32(to_rgb(x)) - 1) - self.mean) / self.std",
        FEATURES,
        "naive",
    ),
    Mutation(
        "tanh-decoder",
        "The decoder ends in a tanh while the targets are in [0, 1]: the popular PyTorch version.",
        "networks.py",
        "at_least_float32(self.stages(h)).sigmoid()",
        "at_least_float32(self.stages(h)).tanh()",
        "tests/test_networks.py",
    ),
    Mutation(
        "in-the-checkpoint",
        "The feature network is saved with every checkpoint: the popular PyTorch version, 590 MB for 3.9 M parameters.",
        "features.py",
        'self.register_buffer("weight", weight.clone(memory_format=torch.channels_last), persistent=False)',
        'self.register_buffer("weight", weight.clone(memory_format=torch.channels_last))',
        FEATURES,
        "checkpoint",
    ),
    Mutation(
        "to-the-last-layer",
        "The network runs on behind the deepest layer asked for: the popular PyTorch version, vgg-l1-3's source.",
        "features.py",
        "modules = dict(list(vgg_layers(arch, width).items())[:depth])",
        "modules = vgg_layers(arch, width)",
        FEATURES,
        "deepest",
    ),
    Mutation(
        "trainable",
        "The network's weights are parameters, which an optimiser of everything trains.",
        "features.py",
        'self.register_buffer("weight", weight.clone(memory_format=torch.channels_last), persistent=False)',
        'self.register_parameter("weight", nn.Parameter(weight.clone(memory_format=torch.channels_last)))',
        FEATURES,
        "parameters",
    ),
    Mutation(
        "detached-features",
        "The features are detached, so that the term is measured and trains nothing.",
        "features.py",
        "outputs[name] = h\n",
        "outputs[name] = h.detach()\n",
        FEATURES,
        "gradients",
    ),
    Mutation(
        "bfloat16-normalisation",
        "Images of half precision are normalised before they are made float32.",
        "features.py",
        "(1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std",
        "(1000 * to_rgb(x) - self.mean) / self.std",
        FEATURES,
        "half_precision",
    ),
]

TERMS = [
    Mutation(
        "no-grad-reconstruction",
        "The reconstruction's features are computed under no_grad: diffusers' autoencoder example computes LPIPS so.",
        "losses/base.py",
        "            target = self.represent(x)\n        output = self.represent(x_hat)",
        "            target = self.represent(x)\n            output = self.represent(x_hat)",
        PERCEPTUAL,
    ),
    Mutation(
        "gradient-to-the-target",
        "The original's features keep their graph: memory for nothing, and a gradient where the target is an output.",
        "losses/base.py",
        "            with torch.no_grad():\n                target = self.represent(x)\n",
        "            target = self.represent(x)\n",
        PERCEPTUAL,
    ),
    Mutation(
        "broadcast-images",
        "One reconstruction is compared with every original: pairs of unequal shapes are broadcast.",
        "losses/base.py",
        "if x_hat.shape != x.shape or x.dim() != 4:",
        "if x.dim() != 4:",
        PRESETS,
        "do_not_match",
    ),
    Mutation(
        "integers-as-images",
        "Bytes from 0 to 255 are taken for images in [0, 1].",
        "losses/base.py",
        "if not images.is_floating_point():",
        "if images.is_complex():",
        PRESETS,
        "do_not_match",
    ),
    Mutation(
        "sum-for-mean",
        "vgg-l1 sums over the numbers of a layer instead of averaging.",
        "losses/presets.py",
        '"vgg-l1": Preset("vgg19", RELU_1, RISING, "absolute"),',
        '"vgg-l1": Preset("vgg19", RELU_1, RISING, "absolute", "sum"),',
        PRESETS,
        "vgg-l1",
    ),
    Mutation(
        "mean-for-sum",
        "vgg-l1-sum averages, which is another loss under its name.",
        "losses/presets.py",
        'RISING, "absolute", "sum"),',
        'RISING, "absolute"),',
        PRESETS,
        "vgg-l1-sum",
    ),
    Mutation(
        "weights-reversed",
        "The first layer gets the largest weight: what the sum of vgg-l1's source comes to in effect.",
        "losses/presets.py",
        "RISING = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)",
        "RISING = (1.0, 1 / 4, 1 / 8, 1 / 16, 1 / 32)",
        PRESETS,
        "vgg-l1",
    ),
    Mutation(
        "plain-square-root",
        "The norm is a plain square root, whose gradient is NaN at identical images: the content loss's source.",
        "losses/distances.py",
        "return square.where(positive, 1.0).sqrt().where(positive, 0.0)",
        "return square.sqrt()",
        ANYWHERE,
        "second_derivatives_are_finite",
    ),
    Mutation(
        "content-undivided",
        "The content loss is not divided by C H W.",
        "losses/presets.py",
        '("conv4_2",), distance="norm")',
        '("conv4_2",), distance="norm", reduction="sum")',
        PRESETS,
        "content",
    ),
    Mutation(
        "half-lost",
        "vae-123 and vae-345 lose the 1/2 of the paper's formula: the authors' own code.",
        "losses/distances.py",
        '"half-mean": 2',
        '"half-mean": 1',
        PRESETS,
        "vae-123",
    ),
    Mutation(
        "gram-of-the-batch",
        "The Gram matrix mixes the images of a batch: the style loss's source.",
        "losses/perceptual.py",
        "return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])",
        "return (flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])).mean(0, keepdim=True).expand("
        "len(flat), -1, -1)",
        PRESETS,
        "style",
    ),
    Mutation(
        "gram-detached",
        "The Gram matrix is detached, so that style cannot be trained: the style loss's source.",
        "losses/perceptual.py",
        "return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])",
        "return (flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])).detach()",
        PRESETS,
        "style",
    ),
    Mutation(
        "gram-not-normalised",
        "The Gram matrix is a sum, so that large layers and images outweigh the others.",
        "losses/perceptual.py",
        "return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])",
        "return flat @ flat.transpose(1, 2)",
        PRESETS,
        "style",
    ),
    Mutation(
        "first-convolutions",
        "perceptual-mse taps 0, 5, 10, 19, which its source calls relu1_2, 2_2, 3_3, 4_3.",
        "losses/presets.py",
        '("relu1_2", "relu2_2", "relu3_3", "relu4_3")',
        '("conv1_1", "conv2_1", "conv3_1", "conv4_1")',
        PRESETS,
        "perceptual-mse",
    ),
    Mutation(
        "dfc-aliased-by-name",
        "dfc taps what the in-place ReLUs left: the popular PyTorch version.",
        "losses/presets.py",
        '("conv3_1", "bn3_4", "bn4_3", "conv5_2")',
        '("conv3_1", "relu3_4", "relu4_3", "conv5_2")',
        PRESETS,
        "dfc",
    ),
    Mutation(
        "dfc-unaliased-by-name",
        "dfc-aliased taps the layers as labelled, and no longer repeats the popular PyTorch version.",
        "losses/presets.py",
        '("conv3_1", "relu3_4", "relu4_3", "conv5_2")',
        '("conv3_1", "bn3_4", "bn4_3", "conv5_2")',
        PRESETS,
        "dfc",
    ),
    Mutation(
        "similarity-as-loss",
        "SSIM is minimised instead of 1 - SSIM.",
        "losses/ssim.py",
        "return 1 - self._similarity(output, target)",
        "return self._similarity(output, target)",
        PRESETS,
        "ssim",
    ),
    Mutation(
        "published-weights-renormalised",
        "The five weights of MS-SSIM are divided by their sum of 1.0001.",
        "losses/ssim.py",
        "kept if self.scales == 5 else [weight / sum(kept) for weight in kept]",
        "[weight / sum(kept) for weight in kept]",
        PRESETS,
        "ms-ssim",
    ),
    Mutation(
        "fewer-weights-not-renormalised",
        "With fewer scales the powers of MS-SSIM no longer sum to 1.",
        "losses/ssim.py",
        "kept if self.scales == 5 else [weight / sum(kept) for weight in kept]",
        "kept",
        PRESETS,
        "structural_similarity",
    ),
    Mutation(
        "power-of-a-negative",
        "A negative structure is raised to a fractional power, which is NaN.",
        "losses/ssim.py",
        "factor.clamp(min=SMALLEST) ** weight",
        "factor**weight",
        PRESETS,
        "negative_structure",
    ),
    Mutation(
        "power-of-zero",
        "A negative structure is cut off at 0, which leaves the product of all scales no gradient.",
        "losses/ssim.py",
        "SMALLEST = 1e-8",
        "SMALLEST = 0.0",
        PRESETS,
        "negative_structure",
    ),
    Mutation(
        "lpips-without-heads",
        "LPIPS weighs all channels alike: its fitted heads are not applied.",
        "losses/lpips.py",
        'self.get_buffer(f"scale_{name}") * _unit_length(output)',
        "_unit_length(output)",
        PRESETS,
        "lpips",
    ),
    Mutation(
        "lpips-without-unit-length",
        "LPIPS compares features that were not divided by their length.",
        "losses/lpips.py",
        'self.get_buffer(f"scale_{name}") * _unit_length(output)',
        'self.get_buffer(f"scale_{name}") * output',
        PRESETS,
        "lpips",
    ),
    Mutation(
        "lpips-dropout",
        "LPIPS drops channels at random in train mode: taming-transformers.",
        "losses/lpips.py",
        "return (output - target).square()",
        "return torch.dropout((output - target).square(), 0.5, self.training)",
        PRESETS,
        "lpips",
    ),
    Mutation(
        "batch-mean-of-pixels",
        "The pixel term is averaged over the batch before anything is done with it.",
        "losses/pixel.py",
        ".square().flatten(1).mean(dim=1)",
        ".square().mean().expand(len(x))",
        OBJECTIVE,
    ),
    Mutation(
        "batch-mean-of-features",
        "A feature term is averaged over the batch: most perceptual losses return one number.",
        "losses/distances.py",
        "return _image_sum(difference.square())",
        "return _image_sum(difference.square()).mean().expand(len(difference))",
        PERCEPTUAL,
    ),
]

LATENT = [
    Mutation(
        "kl-sign",
        "The KL divergence is negative, and maximised.",
        "gaussian.py",
        "return 0.5 * (mu.square()",
        "return -0.5 * (mu.square()",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "kl-mean-over-latents",
        "The KL divergence is averaged over the latent dimensions, so that its weight depends on their number.",
        "gaussian.py",
        "return kl_per_dimension(mu, logvar).sum(dim=1)",
        "return kl_per_dimension(mu, logvar).mean(dim=1)",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "kl-mean-over-batch",
        "The KL divergence of an image is that of its batch.",
        "gaussian.py",
        "return kl_per_dimension(mu, logvar).sum(dim=1)",
        "return kl_per_dimension(mu, logvar).sum(dim=1).mean().expand(len(mu))",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "kl-sum-over-batch",
        "The KL divergence is summed over a batch whose other terms are averaged: the paper's authors' code.",
        "gaussian.py",
        "return kl_per_dimension(mu, logvar).sum(dim=1)",
        "return kl_per_dimension(mu, logvar).sum(dim=1) * len(mu)",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "draw-of-the-variance",
        "The draw from the posterior takes the variance for the standard deviation.",
        "gaussian.py",
        "torch.exp(0.5 * logvar) * eps",
        "torch.exp(logvar) * eps",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "sampled-reconstruction",
        "Reconstructions come from a sampled z, also in evaluation: the popular PyTorch version.",
        "vae.py",
        "return self.decode(self.encode(x)[0])",
        "return self(x, torch.randn(len(x), self.latent_dim))[0]",
        "tests/test_vae.py",
    ),
    Mutation(
        "train-mode-inference",
        "Batch norm uses the statistics of the batch at inference: the paper's authors' encoder.",
        "vae.py",
        "    module.eval()\n    try:",
        "    try:",
        "tests/test_vae.py",
    ),
    Mutation(
        "timid-samples",
        "Draws from the prior are made smaller so that they look good, by 0.4 in the paper's authors' code.",
        "vae.py",
        "self.decode_all(torch.randn(n, self.latent_dim",
        "self.decode_all(0.4 * torch.randn(n, self.latent_dim",
        "tests/test_vae.py",
    ),
]

OBJECTIVES = [
    Mutation(
        "term-not-in-the-total",
        "The feature terms are measured and shown, but the total does not hold them.",
        "losses/objective.py",
        'return weighted_sum(self.weights | {"kl": self.weights["kl"] * kl_warmup}, terms)',
        'return weighted_sum(self.weights | {"kl": self.weights["kl"] * kl_warmup},'
        ' {name: terms[name] for name in ("kl", "pixel")})',
        OBJECTIVE,
    ),
    Mutation(
        "layer-weights-ignored",
        "The weights of the layers are read and never used.",
        "losses/objective.py",
        "beta * weight for layer, weight",
        "beta for layer, weight",
        OBJECTIVE,
    ),
    Mutation(
        "beta-on-pixels-alone",
        "beta weighs the pixels, not the features.",
        "losses/objective.py",
        "beta * weight for layer, weight",
        "weight for layer, weight",
        OBJECTIVE,
    ),
    Mutation(
        "scale-of-the-deviation",
        "Terms are divided by the standard deviation of their target, a square root off.",
        "losses/scale.py",
        "return {name: total / count for name, total in sums.items()}",
        "return {name: (total / count) ** 0.5 for name, total in sums.items()}",
        OBJECTIVE,
    ),
    Mutation(
        "broadcast-pixels",
        "The plain VAE's objective compares batches of unequal shapes by broadcasting.",
        "losses/objective.py",
        "        check_images(x_hat, x)\n",
        "",
        OBJECTIVE,
    ),
    Mutation(
        "one-image-shifted",
        "Only the reconstruction is shifted before the feature network: it is compared with what lies beside it.",
        "losses/objective.py",
        "self.perceptual.terms(translate(x_hat, *shift), translate(x, *shift), target)",
        "self.perceptual.terms(translate(x_hat, *shift), x, target)",
        RUN,
        "shift",
    ),
    Mutation(
        "shift-without-the-reconstruction",
        "Only the original is shifted before the feature network.",
        "losses/objective.py",
        "self.perceptual.terms(translate(x_hat, *shift), translate(x, *shift), target)",
        "self.perceptual.terms(x_hat, translate(x, *shift), target)",
        RUN,
        "shift",
    ),
    Mutation(
        "shift-ignored",
        "The shift is a setting that does nothing.",
        "losses/objective.py",
        "self.perceptual.terms(translate(x_hat, *shift), translate(x, *shift), target)",
        "self.perceptual.terms(x_hat, x, target)",
        RUN,
        "shift",
    ),
    Mutation(
        "shift-wraps-around",
        "A shift brings the pixels of one edge in at the other.",
        "images.py",
        '(reach,) * 4, mode="replicate")',
        '(reach,) * 4, mode="circular")',
        "tests/test_images.py",
    ),
    Mutation(
        "likelihood-without-logarithm",
        "The likelihood loses log(2 pi s), so that its total is no ELBO and a larger variance always wins.",
        "losses/likelihood.py",
        "(errors[name] / variance[i] + torch.log(2 * pi * variance[i]))",
        "(errors[name] / variance[i])",
        LIKELIHOOD,
    ),
    Mutation(
        "likelihood-half-lost",
        "The likelihood loses its 1/2, and the KL weight with it.",
        "losses/likelihood.py",
        "name: numbers / 2 * (errors[name]",
        "name: numbers * (errors[name]",
        LIKELIHOOD,
    ),
    Mutation(
        "likelihood-learns-in-validation",
        "Validation updates the variances: training sees the held-out images.",
        "losses/likelihood.py",
        "if self.training:",
        "if self is not None:",
        LIKELIHOOD,
    ),
    Mutation(
        "likelihood-of-the-batch",
        "The variance is updated before it is used, so that an image's value depends on its batch.",
        "losses/likelihood.py",
        "variance = self.variance.clone()  # the update below must not reach the graph\n"
        "        if self.training:\n            self._update(errors)\n",
        "if self.training:\n            self._update(errors)\n        variance = self.variance.clone()\n",
        LIKELIHOOD,
    ),
    Mutation(
        "gradient-through-the-variance",
        "The error's gradient also flows through the variance that was fitted to it.",
        "losses/likelihood.py",
        "variance = self.variance.clone()  # the update below must not reach the graph\n",
        "now = torch.stack([errors[name].mean() for name in self.numbers])\n"
        "        variance = self.variance + (now - now.detach())\n",
        LIKELIHOOD,
    ),
]

TRAINING = [
    Mutation(
        "validation-kl-weight",
        "Validation weighs the KL 4,000 times more, and picks the checkpoint: the popular PyTorch version.",
        "training/module.py",
        "means, mu = self.step(self.evaluated, batch, eps)",
        "means, mu = self.step(self.evaluated, batch, eps, 1 / 0.00025)",
        RUN,
        "same_numbers",
    ),
    Mutation(
        "validation-shifted",
        "Validation moves its images by a random shift too, so that epochs do not compare.",
        "training/module.py",
        "means, mu = self.step(self.evaluated, batch, eps)",
        "means, mu = self.step(self.evaluated, batch, eps, 1.0, self.shift())",
        RUN,
        "shift",
    ),
    Mutation(
        "shift-not-used-in-training",
        "The shift is drawn and never handed on.",
        "training/module.py",
        "warmup, self.shift())",
        "warmup)",
        RUN,
        "shift",
    ),
    Mutation(
        "kl-logged-negative",
        "The KL is logged with the wrong sign: the popular PyTorch version.",
        "training/module.py",
        'values = {f"{stage}/{name}": value for name, value in means.items()}',
        'values = {f"{stage}/{name}": -value if name == "kl" else value for name, value in means.items()}',
        RUN,
        "metrics",
    ),
    Mutation(
        "features-not-logged",
        "The feature terms are not logged at all: the popular PyTorch version.",
        "training/module.py",
        'values = {f"{stage}/{name}": value for name, value in means.items()}',
        'values = {f"{stage}/{name}": value for name, value in means.items() if "/" not in name}',
        RUN,
        "same_numbers",
    ),
    Mutation(
        "validation-on-the-test-split",
        "Validation uses the test split: the popular PyTorch version.",
        "training/run.py",
        'Batches(splits["val"], experiment.training.batch_size), last)',
        'Batches(splits["test"], experiment.training.batch_size), last)',
        RUN,
        "validation_images",
    ),
    Mutation(
        "validation-flipped",
        "Validation images are flipped at random and the last few left out: the popular PyTorch version.",
        "training/run.py",
        'Batches(splits["val"], experiment.training.batch_size), last)',
        'TrainingBatches(splits["val"], experiment.training.batch_size, 0), last)',
        RUN,
        "validation_images",
    ),
    Mutation(
        "scales-of-the-test-split",
        "The scales of the terms are measured on held-out images.",
        "training/run.py",
        'build_objective(experiment.loss, perceptual, splits["train"].images, about.get("scales"), device)',
        'build_objective(experiment.loss, perceptual, splits["test"].images, about.get("scales"), device)',
        RUN,
        "training_images",
    ),
]

PRECISION = [
    Mutation(
        "bfloat16-everywhere",
        "No term is made float32 before it is summed.",
        "precision.py",
        "return x.to(torch.promote_types(x.dtype, torch.float32))",
        "return x",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "bfloat16-distances",
        "The numbers of a layer are summed in bfloat16, which stops growing at 256 times a number.",
        "losses/distances.py",
        "(at_least_float32(x_hat) - at_least_float32(x))",
        "(x_hat - x)",
        ANYWHERE,
        "half_precision",
    ),
    Mutation(
        "bfloat16-pixels",
        "The pixel term is computed in bfloat16.",
        "losses/pixel.py",
        "(at_least_float32(x_hat) - at_least_float32(x))",
        "(x_hat - x)",
        OBJECTIVE,
    ),
    Mutation(
        "bfloat16-kl",
        "The KL divergence is computed in bfloat16.",
        "gaussian.py",
        "    mu, logvar = at_least_float32(mu), at_least_float32(logvar)\n",
        "",
        "tests/test_gaussian.py",
    ),
    Mutation(
        "bfloat16-gram",
        "Gram matrices of half-precision features are summed in half precision.",
        "losses/perceptual.py",
        "flat = at_least_float32(features).flatten(2)",
        "flat = features.flatten(2)",
        ANYWHERE,
        "gram",
    ),
    Mutation(
        "autocast-gram",
        "The product of the Gram matrix is rounded to bfloat16 by autocast.",
        "losses/perceptual.py",
        "with torch.autocast(features.device.type, enabled=False):",
        "with torch.autocast(features.device.type, enabled=torch.is_autocast_enabled(features.device.type)):",
        ANYWHERE,
        "gram",
    ),
    Mutation(
        "autocast-ssim",
        "The variances of SSIM, differences of nearly equal numbers, are rounded to bfloat16 by autocast.",
        "losses/ssim.py",
        "with torch.autocast(output.device.type, enabled=False):",
        "with torch.autocast(output.device.type, enabled=torch.is_autocast_enabled(output.device.type)):",
        ANYWHERE,
        "float32_under and ssim",
    ),
    Mutation(
        "bfloat16-lpips",
        "LPIPS divides by lengths in bfloat16.",
        "losses/lpips.py",
        "{name: at_least_float32(output) for name, output in self.features(images).items()}",
        "self.features(images)",
        ANYWHERE,
        "half_precision",
    ),
]

SETTINGS = [
    Mutation(
        "keywords-swallowed",
        "A misspelt argument is taken and ignored: the popular PyTorch version.",
        "losses/perceptual.py",
        "        gram: bool = False,\n    ):",
        "        gram: bool = False,\n        **kwargs: object,\n    ):",
        "tests/test_architecture.py",
        "argument",
    ),
]

FAST_PATHS = [
    Mutation(
        "folded-over-a-captured-convolution",
        "A batch norm is folded into the convolution whose own output is compared (conv3_1, conv5_2 of the dfc taps).",
        "features.py",
        "if previous in captured:",
        "if False:",
        FEATURES,
        "naive",
    ),
    Mutation(
        "folded-without-epsilon",
        "The batch norm is folded without its epsilon.",
        "features.py",
        '(tensors["running_var"].double() + module.eps).sqrt()',
        'tensors["running_var"].double().sqrt()',
        FEATURES,
        "epsilon",
    ),
    Mutation(
        "folded-without-the-mean",
        "The batch norm is folded without its running mean.",
        "features.py",
        'tensors["bias"] - scale * tensors["running_mean"]',
        'tensors["bias"].double()',
        FEATURES,
        "naive",
    ),
    Mutation(
        "rounded-constants",
        "ImageNet's mean and deviation are rounded to bfloat16 with the network.",
        "features.py",
        "dtype=torch.int32",
        "dtype=torch.float32",
        FEATURES,
        "half_precision",
    ),
    Mutation(
        "targets-of-the-other-side",
        "Kept targets of the image itself are compared with the reconstruction of its mirror image.",
        "training/targets.py",
        "rows + self.images * flips",
        "rows",
        TARGETS,
        "kept",
    ),
    Mutation(
        "stale-targets",
        "Kept targets are found again though the images have changed.",
        "training/targets.py",
        "digest.update(images.cpu().contiguous().numpy().data)",
        "pass",
        TARGETS,
        "others",
    ),
    Mutation(
        "targets-of-another-network",
        "Kept targets are found again though the network's weights have changed.",
        "training/targets.py",
        "digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)",
        "pass",
        TARGETS,
        "others",
    ),
    Mutation(
        "targets-under-a-shift",
        "Kept targets are used though both images are shifted at random in every step.",
        "training/targets.py",
        "if no_network or config.shift > 1:",
        "if no_network:",
        TARGETS,
    ),
    Mutation(
        "noise-of-every-part",
        "All parts of a step get the same noise.",
        "training/module.py",
        "[piece * n : (piece + 1) * n]",
        "[:n]",
        RUN,
        "part",
    ),
    Mutation(
        "average-of-every-part",
        "The moving average of the weights moves with every part of a step.",
        "training/module.py",
        " and (batch_index + 1) % self.experiment.training.parts == 0",
        "",
        RUN,
        "part",
    ),
]

LATENT_SPACE = [
    Mutation(
        "vector-backwards",
        "attribute vectors from faces with the attribute to those without: a plus takes it away",
        "latent/attributes.py",
        "mu[has].mean(dim=0) - mu[~has].mean(dim=0)",
        "mu[~has].mean(dim=0) - mu[has].mean(dim=0)",
        "tests/latent/test_attributes.py",
    ),
    Mutation(
        "vector-unbalanced",
        "all faces with the attribute and all without: glasses change the sex, as most of those who wear them are men",
        "latent/attributes.py",
        "chosen += [with_it[:count], without[:count]]",
        "chosen += [with_it, without]",
        "tests/latent/test_attributes.py",
    ),
    Mutation(
        "projection-one-by-one",
        "correlated attributes projected out one after the other: the last undoes what the first did",
        "latent/attributes.py",
        "return vector - (torch.linalg.pinv(basis, rtol=1e-6) @ (basis @ vector.double())).to(vector)",
        "return vector - sum(other * (other @ vector) / other.square().sum() for other in others)",
        "tests/latent/test_attributes.py",
    ),
    Mutation(
        "normal-of-raw-latents",
        "the classifier's normal in standardised latents, used as if it were one of the latents themselves",
        "latent/attributes.py",
        "normal = torch.as_tensor(classifier.coef_[0]).to(mu) / spread",
        "normal = torch.as_tensor(classifier.coef_[0]).to(mu) * spread",
        "tests/latent/test_attributes.py",
    ),
    Mutation(
        "prior-of-means-alone",
        "a Gaussian fitted to the posterior means, without the posteriors' own variance: its draws are too timid",
        "latent/priors.py",
        " + torch.diag(logvar.double().exp().mean(dim=0))",
        "",
        "tests/latent/test_priors.py",
    ),
    Mutation(
        "prior-factor-transposed",
        "draws with L^T instead of L: the variances are those of another distribution",
        "latent/priors.py",
        "eps[rows] @ factors[component].T",
        "eps[rows] @ factors[component]",
        "tests/latent/test_priors.py",
    ),
    Mutation(
        "temperature-of-everything",
        "the temperature scales the draws instead of their distance from the means",
        "latent/priors.py",
        "means[component] + temperature * eps[rows] @ factors[component].T",
        "temperature * (means[component] + eps[rows] @ factors[component].T)",
        "tests/latent/test_priors.py",
    ),
    Mutation(
        "samples-scaled",
        "samples shrunk towards the middle without saying so: DFC-VAE's popular code multiplies them by 0.4",
        "latent/priors.py",
        "+ temperature * eps[rows]",
        "+ 0.4 * temperature * eps[rows]",
        "tests/latent/test_priors.py",
    ),
    Mutation(
        "components-by-training-faces",
        "the number of components chosen by the faces they were fitted to: always the largest",
        "latent/priors.py",
        "_prior(mixture).log_prob(held_out).mean()",
        "_prior(mixture).log_prob(z).mean()",
        "tests/latent/test_priors.py",
    ),
    Mutation(
        "student-without-gradients",
        "the gradients of the student's distance are computed but not trained on",
        "training/distil.py",
        "(found,) = torch.autograd.grad(d_psi.sum(), y, create_graph=True)",
        "found = torch.autograd.grad(d_psi.sum(), y, retain_graph=True)[0].detach()",
        "tests/training/test_distil.py",
        "gradient_term_trains",
    ),
    Mutation(
        "upsampling-phases-exchanged",
        "the four pixels that one pixel becomes, transposed",
        "networks.py",
        "pak,qbl,oikl->opqiab",
        "pak,qbl,oikl->oqpiab",
        "tests/test_networks.py",
        "upsampling",
    ),
    Mutation(
        "stale-vectors",
        "vectors of an earlier state of the model used with the present one",
        "latent/stored.py",
        "if found[1] != model:",
        "if False:",
        "tests/latent/test_stored.py",
    ),
    Mutation(
        "neighbours-by-products",
        "distances by matrix products: a copy of a training face is not at distance 0",
        "latent/maps.py",
        'compute_mode="donot_use_mm_for_euclid_dist"',
        'compute_mode="use_mm_for_euclid_dist"',
        "tests/latent/test_maps.py",
    ),
    Mutation(
        "dimensions-by-mean",
        "latent dimensions sorted from the least informative on",
        "latent/interpolation.py",
        "sort(descending=True)",
        "sort(descending=False)",
        "tests/latent/test_interpolation.py",
    ),
]
PROBES = [
    Mutation(
        "probe-unstandardised",
        "latents of unequal scale are probed as they are: the penalty falls on the small ones",
        "evaluation/probe.py",
        "scaler.transform(codes.double().numpy())",
        "codes.double().numpy()",
        PROBE,
        "pipeline or scale",
    ),
    Mutation(
        "probe-standardised-by-each-split",
        "test codes are standardised by their own mean, which hides that they lie elsewhere",
        "evaluation/probe.py",
        "scaler.transform(codes.double().numpy())",
        "StandardScaler().fit_transform(codes.double().numpy())",
        PROBE,
        "pipeline",
    ),
    Mutation(
        "majority-of-the-test-faces",
        "the baseline looks at the labels it is scored on",
        "evaluation/probe.py",
        "common = train_labels.double()",
        "common = test_labels.double()",
        PROBE,
        "majority",
    ),
    Mutation(
        "components-of-the-test-faces",
        "the pixel control is fitted to the faces it is scored on",
        "evaluation/probe.py",
        "images = train[:PCA_IMAGES]",
        "images = torch.cat([train, test])[:PCA_IMAGES]",
        PROBE,
        "components",
    ),
    Mutation(
        "probe-mixes-a-batch",
        "a model in training mode is probed with batch norms that mix the faces of a batch",
        "evaluation/probe.py",
        "with evaluating(model):",
        "if True:",
        PROBE,
        "beside",
    ),
]

MUTATIONS = [
    *FEATURE_NETWORK,
    *TERMS,
    *LATENT,
    *OBJECTIVES,
    *TRAINING,
    *PRECISION,
    *SETTINGS,
    *FAST_PATHS,
    *LATENT_SPACE,
    *PROBES,
]


class MutationError(Exception):
    """A mutation that cannot be judged, as a sentence."""


def run_tests(folder: Path, files: Iterable[str], only: str) -> str | None:
    """The first of the tests that fails in a copy; None if all pass."""
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "500", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-k", only]
    tier = ["-m", ""] if only else []  # tests that were chosen by name may be of the slow tier
    command = [sys.executable, "-m", "pytest", *options, *tier, *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == 0:
        return None
    failed = FAILED.search(done.stdout)
    if done.returncode != 1 or not failed:
        raise MutationError(f"The tests did not run: {shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if failed[2] and failed[2].startswith(BROKEN):
        raise MutationError(f"{failed[1]} fails for another reason: {failed[2]}")
    return failed[1]


def apply(mutation: Mutation, folder: Path) -> None:
    """Replace the text of a mutation in a copy."""
    file = folder / "dfcvae" / mutation.file
    text = file.read_text()
    if (count := text.count(mutation.old)) != 1:
        raise MutationError(
            f"{mutation.name}: expected its text once in dfcvae/{mutation.file}, but it is there {count} times:\n"
            f"{mutation.old}\nBring tests/mutations.py up to date."
        )
    file.write_text(text.replace(mutation.old, mutation.new))


def unchanged(clean: Path, mutations: Sequence[Mutation]) -> str | None:
    """The first test of these mutations that fails without any of them, or None."""
    files = dict.fromkeys(mutation.tests for mutation in mutations)
    tests = dict.fromkeys(f"({Path(m.tests).stem} and ({m.only}))" if m.only else Path(m.tests).stem for m in mutations)
    return run_tests(clean, files, " or ".join(tests))


def caught_by(mutation: Mutation, clean: Path) -> str | None:
    """The first test that notices a mutation, or None."""
    with TemporaryDirectory() as folder:
        shutil.copytree(clean, folder, dirs_exist_ok=True)
        apply(mutation, Path(folder))
        return run_tests(Path(folder), [mutation.tests], mutation.only)


def main(names: list[str]) -> int:
    """Judge the mutations of these names, or all; the exit status."""
    known = {mutation.name: mutation for mutation in MUTATIONS}
    if unknown := [name for name in names if name not in known]:
        print(f"There is no mutation {', '.join(unknown)}; there are {', '.join(known)}.")
        return 2
    chosen = [known[name] for name in names] or MUTATIONS
    start, survived = time.monotonic(), 0
    with TemporaryDirectory() as folder:
        clean = Path(folder)
        for path in COPIED:
            copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy2
            copy(ROOT / path, clean / path)
        if failed := unchanged(clean, chosen):
            print(f"Without any mutation {failed} fails; mend that first.")
            return 1
        for mutation in chosen:
            caught = caught_by(mutation, clean)
            survived += caught is None
            print(f"{mutation.name:<34}{f'caught by {caught}' if caught else 'SURVIVED'}", flush=True)
    minutes = (time.monotonic() - start) / 60
    print(f"{len(chosen) - survived} of {len(chosen)} mutations caught, {survived} survived, in {minutes:.1f} minutes.")
    return 1 if survived else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MutationError as error:
        sys.exit(str(error))
