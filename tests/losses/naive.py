"""Every published loss a second time, naively: torchvision's own networks, hooks, one image at a time.

Nothing of `dfcvae` is used here. The in-place ReLUs are switched off, so that a hook keeps what it saw; the tables of
indices and weights are those of the publications, not of `dfcvae.losses.presets`.
"""

import math
from importlib.util import find_spec
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, pad

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def network(arch, seed=0):
    """torchvision's network with seeded weights, in eval mode, its batch norms far from doing nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):  # the classifier is large, and not used
        model = getattr(torchvision.models, arch)(weights=None).features.eval()
    model = model.to_empty(device="cpu")
    for module in model:
        if isinstance(module, nn.Conv2d):
            scale = (2 / module.weight[0].numel()) ** 0.5
            module.weight.data = scale * torch.randn(module.weight.shape, generator=generator)
            module.bias.data = 0.1 * torch.randn(module.bias.shape, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            shape = module.weight.shape
            module.weight.data = 1 + 0.3 * torch.rand(shape, generator=generator)
            module.bias.data = 0.3 * torch.randn(shape, generator=generator)
            module.running_mean = 0.3 * torch.randn(shape, generator=generator)
            module.running_var = 0.5 + torch.rand(shape, generator=generator)
    return model


def captured(model, images, indices):
    """Outputs of modules by index for images (N, 3, H, W), caught by hooks."""
    caught, handles = {}, []
    for index, module in enumerate(model):
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if index in indices:
            handles.append(
                module.register_forward_hook(lambda _m, _i, output, index=index: caught.__setitem__(index, output))
            )
    model[: max(indices) + 1]((images - MEAN) / STD)
    for handle in handles:
        handle.remove()
    return [caught[index] for index in indices]


def gram(features):
    rows = features.reshape(len(features), -1)
    return torch.einsum("ip,jp->ij", rows, rows) / features.numel()


def mean_square(a, b):
    return ((a - b) ** 2).sum() / a.numel()


DISTANCES = {
    "mean square": mean_square,
    "half mean square": lambda a, b: mean_square(a, b) / 2,
    "mean absolute": lambda a, b: (a - b).abs().sum() / a.numel(),
    "sum absolute": lambda a, b: (a - b).abs().sum(),
    "norm": lambda a, b: ((a - b) ** 2).sum().sqrt() / a.numel(),
    "style": lambda a, b: mean_square(gram(a), gram(b)),
    "style absolute": lambda a, b: (gram(a) - gram(b)).abs().mean(),
}


def each(function, a, b):
    """A function of two images applied to each pair of a batch, (N,)."""
    return torch.stack([function(x, y) for x, y in zip(a, b, strict=True)])


RISING = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]
PUBLISHED = {  # name: network, indices, weights, distance
    "dfc-vae": ("vgg19_bn", [2, 9, 16], [1 / 6] * 3, "mean square"),
    "dfc": ("vgg19_bn", [14, 24, 34, 43], [1] * 4, "mean square"),
    "dfc-aliased": ("vgg19_bn", [14, 25, 35, 43], [1] * 4, "mean square"),
    "vae-123": ("vgg19", [1, 6, 11], [1] * 3, "half mean square"),
    "vae-345": ("vgg19", [11, 20, 29], [1] * 3, "half mean square"),
    "vgg-l1": ("vgg19", [1, 6, 11, 20, 29], RISING, "mean absolute"),
    "vgg-l1-sum": ("vgg19", [1, 6, 11, 20, 29], RISING, "sum absolute"),
    "vgg-l1-3": ("vgg19", [1, 6, 11], RISING[:3], "mean absolute"),
    "content": ("vgg19", [21], [1], "norm"),
    "perceptual-mse": ("vgg19", [3, 8, 15, 24], [1] * 4, "mean square"),
    "perceptual-mse-aliased": ("vgg19", [1, 6, 11, 20], [1] * 4, "mean square"),
    "style": ("vgg19", [1, 6, 11, 20, 29], [1] * 5, "style"),
    "style-l1": ("vgg19", [1, 6, 11, 20, 29], [1] * 5, "style absolute"),
}
ARCHS = {name: entry[0] for name, entry in PUBLISHED.items()} | {"lpips": "vgg16"}


def of_layers(name, model):
    """The terms of a published feature loss, (N,) each, for images (N, 3, H, W), and their weights."""
    _, indices, weights, distance = PUBLISHED[name]
    if name == "dfc-vae":  # average pooling
        model = nn.Sequential(*(nn.AvgPool2d(2, 2) if isinstance(m, nn.MaxPool2d) else m for m in model))

    def terms(a, b):
        pairs = zip(captured(model, a, indices), captured(model, b, indices), strict=True)
        return [each(DISTANCES[distance], x, y) for x, y in pairs]

    return terms, weights


def lpips(model):
    """Zhang et al. 2018, equation 1, as the authors' version 0.1 computes it."""
    heads = torch.load(Path(find_spec("torchmetrics").origin).parent / "functional/image/lpips_models/vgg.pth", "cpu")

    def terms(a, b):
        values = []
        both = zip(captured(model, a, [3, 8, 15, 22, 29]), captured(model, b, [3, 8, 15, 22, 29]), strict=True)
        for i, (x, y) in enumerate(both):
            unit = [f / torch.sqrt((f**2).sum(dim=1, keepdim=True) + 1e-8) for f in (x, y)]
            values.append(
                conv2d((unit[0] - unit[1]) ** 2, heads[f"lin{i}.model.1.weight"].to(a.dtype)).mean(dim=(1, 2, 3))
            )
        return values

    return terms, [1] * 5


def ssim_parts(a, b):
    """Mean SSIM and mean contrast-structure of one pair (3, H, W): Wang et al. 2004, equations 6 to 13."""
    position = torch.arange(11.0, dtype=a.dtype) - 5
    line = torch.exp(-(position**2) / (2 * 1.5**2))
    window = torch.outer(line, line)
    window = (window / window.sum())[None, None]

    def blur(image):
        return torch.stack([conv2d(pad(c[None, None], [5] * 4, mode="reflect"), window)[0, 0] for c in image])

    mu_a, mu_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mu_a**2, blur(b * b) - mu_b**2
    cov = blur(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    luminance = (2 * mu_a * mu_b + c1) / (mu_a**2 + mu_b**2 + c1)
    return (luminance * structure).mean(), structure[:, 5:-5, 5:-5].mean()


def ssim():
    return (lambda a, b: [each(lambda x, y: 1 - ssim_parts(x, y)[0], a, b)]), [1]


def ms_ssim():
    """Wang, Simoncelli and Bovik 2003, equation 7."""

    def of_pair(a, b):
        product = 1.0
        for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
            whole, structure = ssim_parts(a, b)
            product = product * (whole if scale == 4 else structure) ** weight
            a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
        return 1 - product

    return (lambda a, b: [each(of_pair, a, b)]), [1]


def loss(name, model=None):
    """A published loss by name: maps images (N, 3, H, W) to its terms, (N,) each; and the weights of those."""
    if name == "lpips":
        return lpips(model)
    if name in ("ssim", "ms-ssim"):
        return ssim() if name == "ssim" else ms_ssim()
    return of_layers(name, model)


def waves(count, size, phase=0.0):
    """Images (count, 3, size, size) in [0, 1], waves with grain, from a formula: the same everywhere."""
    i, c = torch.arange(count).view(-1, 1, 1, 1), torch.arange(3).view(1, -1, 1, 1)
    y, x = torch.arange(size).view(1, 1, -1, 1), torch.arange(size).view(1, 1, 1, -1)
    angle = (0.31 + 0.07 * i) * x + (0.23 - 0.05 * c) * y + 0.004 * x * y + phase + c + i
    grain = ((12.9 + i) * x.double() * (78.2 + c) * (y + 1) + 100 * phase).sin()
    fine, coarse = torch.sin(angle.double()), torch.sin(angle.double() / 6 + phase)
    return (0.5 + 0.22 * (fine * math.cos(phase) + coarse) + 0.05 * grain).float()
