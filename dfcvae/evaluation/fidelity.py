"""How faithfully a small feature network replaces a large one: features, distances and gradients compared."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm import tqdm

from dfcvae.disturbances import DISTURBANCES, UNSEEN, Disturbance, disturb
from dfcvae.images import to_float
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.table import Table

Network = Callable[[Tensor], Mapping[str, Tensor]]
AT_ONCE = 20
RIDGE = 1e-6  # of the mean square of a feature: features that are always 0 have no coefficient
CLEAN = "clean"


def fidelity(
    student: Network,
    teacher: Network,
    fitting: Tensor,
    held_out: Tensor,
    taps: Sequence[str],
    *,
    kinds: Mapping[str, Disturbance] | None = None,
    progress: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare the features of two networks, by kind of disturbance (``clean``, and ``all`` together) and tap.

    ``unexplained`` is the fraction of the variance of the teacher's features that no linear map of the student's
    channels explains. But for clean faces, ``rank`` is the Spearman correlation over faces of the two distances from
    the original (mean squares over C, H and W, as in a perceptual loss), and ``cosine`` the mean cosine between their
    gradients with respect to the disturbed image.

    Both networks map images in [0, 1] to features by tap. The linear map is fitted to the uint8 faces ``fitting``
    (N, C, H, W), clean and disturbed in every way; everything is measured on those of ``held_out`` (M, C, H, W).
    """
    kinds = kinds or DISTURBANCES | UNSEEN
    generator = seeded_generator(0, Stream.EVALUATION)
    maps = _fit(student, teacher, fitting, taps, kinds, generator)
    rows: dict[str, dict[str, list[Tensor]]] = {}
    parts = [(kind, part) for kind in (CLEAN, *kinds) for part in held_out.split(AT_ONCE)]
    for kind, part in tqdm(parts, "fidelity", disable=not progress or None):
        x = to_float(part)
        y = x if kind == CLEAN else disturb(x, kinds[kind], generator)
        for tap, values in _compare(student, teacher, x, y, maps).items():
            rows.setdefault(kind, {}).setdefault(tap, []).append(values)
    found = {kind: {tap: torch.cat(values) for tap, values in by_tap.items()} for kind, by_tap in rows.items()}
    found["all"] = {tap: torch.cat([found[kind][tap] for kind in kinds]) for tap in taps}
    return {kind: {tap: _summary(found[kind][tap], kind) for tap in taps} for kind in found}


def fidelity_table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The result of `fidelity` as text: a row for each kind of disturbance, a column for each tap."""
    rows = [
        [kind, *(" / ".join(f"{value:.3f}" for value in values.values()) for values in by_tap.values())]
        for kind, by_tap in found.items()
    ]
    return Table(["", *found[CLEAN]], rows).text()


def _summary(values: Tensor, kind: str) -> dict[str, float]:
    from torchmetrics.functional.regression import spearman_corrcoef

    residual, total, mine, theirs, cosine = values.T
    summary = {"unexplained": float(residual.sum() / total.sum())}
    if kind != CLEAN:
        summary |= {"rank": float(spearman_corrcoef(mine, theirs)), "cosine": float(cosine.mean())}
    return summary


def _compare(
    student: Network, teacher: Network, x: Tensor, y: Tensor, maps: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Residual and total sum of squares, both distances, and the cosine of their gradients: (N, 5) by tap."""
    y = y.clone().requires_grad_()
    with torch.no_grad():
        before = student(x), teacher(x)
    after = student(y), teacher(y)
    found = {}
    for tap, (coefficients, centre) in maps.items():
        psi, phi = (_places(features[tap]).detach() for features in after)  # (N, P, C)
        residual = phi - _with_one(psi) @ coefficients
        changes = (b[tap].float() - a[tap].float() for a, b in zip(before, after, strict=True))
        distances = [change.square().mean(dim=(1, 2, 3)) for change in changes]
        gradients = [torch.autograd.grad(d.sum(), y, retain_graph=True)[0].flatten(1) for d in distances]
        columns = [residual.square().sum(dim=(1, 2)), (phi - centre).square().sum(dim=(1, 2))]
        columns += [*(d.detach() for d in distances), cosine_similarity(gradients[0], gradients[1])]
        found[tap] = torch.stack(columns, dim=1)
    return found


@torch.no_grad()
def _fit(
    student: Network,
    teacher: Network,
    fitting: Tensor,
    taps: Sequence[str],
    kinds: Mapping[str, Disturbance],
    generator: torch.Generator,
) -> dict[str, tuple[Tensor, Tensor]]:
    """By tap, the least-squares map (1 + C, C') from the student's channels, and the teacher's mean (C')."""
    products: dict[str, list[Tensor]] = {}
    ways = list(kinds.values())
    for number, part in enumerate(fitting.split(AT_ONCE)):
        x = to_float(part)
        x = torch.cat([x, disturb(x, ways[number % len(ways)], generator)])
        mine, theirs = student(x), teacher(x)
        for tap in taps:
            psi, phi = (_places(features[tap]).flatten(0, 1).double() for features in (mine, theirs))
            psi = _with_one(psi)
            sums = [psi.T @ psi, psi.T @ phi]
            products[tap] = [a + b for a, b in zip(products[tap], sums, strict=True)] if tap in products else sums
    maps = {}
    for tap, (square, cross) in products.items():
        ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        centre = cross[-1] / square[-1, -1]  # the last of the student's features is 1
        maps[tap] = torch.linalg.solve(square + ridge, cross).float(), centre.float()
    return maps


def _places(features: Tensor) -> Tensor:
    return features.float().flatten(2).mT  # (N, C, H, W) to (N, H W, C)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)
