"""What the weights of an objective mean: the common currency of KL weights, and a table of the terms."""

from collections.abc import Mapping

from dfcvae.losses.objective import Objective
from dfcvae.vgg import layer_names


def beta_eff(objective: Objective, pixels: int) -> float:
    """The KL weight of the pixel part in the common currency: beta_eff of ``1/2 SSE + beta_eff KL``.

    SSE is the squared pixel error summed over channels, height and width, in [0, 1]; so 1 is the exact ELBO of unit
    Gaussian noise, and implementations with other reductions can be compared. With ``f`` the factor of the mean squared
    error in the total: ``f / pixels SSE + alpha KL``, hence ``beta_eff = alpha pixels / (2 f)``. Infinite without a
    pixel term. Under a likelihood it is ``alpha`` times the variance, and falls with it.

    Args:
        objective: where the weights come from.
        pixels: numbers in one image, C * H * W.
    """
    factor = objective.factor("pixel")
    return objective.weights["kl"] * pixels / (2 * factor) if factor else float("inf")


def accounting_table(objective: Objective, sizes: Mapping[str, float], pixels: int) -> str:
    """The weights, scales and sizes of all terms, and what the KL weight means, as text.

    Args:
        objective: where the weights come from.
        sizes: value of every term on some batch, by name.
        pixels: numbers in one image, C * H * W.
    """
    lines = [f"{'term':<24}{'weight':>12}{'divided by':>12}{'now':>12}{'weighted':>12}"]
    for name, weight in objective.weights.items():
        label, size = _label(objective, name), sizes[name]
        lines.append(f"{label:<24}{weight:>12.4g}{objective.scales[name]:>12.4g}{size:>12.4g}{weight * size:>12.4g}")
    currency = beta_eff(objective, pixels)
    lines.append(f"KL weight of the pixel part, in units of 1/2 SSE + beta_eff KL: beta_eff = {currency:.3g}")
    return "\n".join(lines)


def _label(objective: Objective, name: str) -> str:
    """``features/24 bn3_4`` for a layer: torchvision's index and the name."""
    group, _, layer = name.partition("/")
    features = getattr(objective.perceptual, "features", None)
    if not layer or features is None:
        return name
    return f"{group}/{layer_names(features.arch).index(layer)} {layer}"
