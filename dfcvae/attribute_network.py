"""An in-domain feature network: a VGG trained to predict the attributes of the user's faces."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from dfcvae.checkpoint import UnreadableError, read_tensors, write_tensors
from dfcvae.config import FeatureTraining
from dfcvae.data import Faces, Splits, TrainingBatches
from dfcvae.device import check_accelerator, keep_freed_memory, pick_device, pick_precision
from dfcvae.errors import UserError
from dfcvae.images import normalize_imagenet, to_float, to_rgb
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.table import Table
from dfcvae.vgg import vgg_layers

SMALLEST = 32  # pixels of a side: 1 after five poolings


class AttributeNetwork(nn.Module):
    """The trunk of a torchvision VGG, global average pooling and a linear head: images in [0, 1] to attribute logits.

    ``width`` is a factor of every channel count; ``names`` are those of the attributes.
    """

    def __init__(self, arch: str, width: float, names: tuple[str, ...]):
        super().__init__()
        self.arch, self.width, self.names = arch, width, names
        self.features = nn.Sequential(*vgg_layers(arch, width).values())
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                channels = module.out_channels
        self.classifier = nn.Linear(channels, len(names))

    def embed(self, x: Tensor) -> Tensor:
        """Features (N, F) of images in [0, 1], from which the head predicts the attributes."""
        h = self.features(normalize_imagenet(to_rgb(x)))  # (N, 3, H, W) -> (N, F, H/32, W/32)
        return h.mean(dim=(2, 3))  # (N, F)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.embed(x))  # (N, A)

    def save(self, path: str | Path, about: Mapping[str, str] | None = None) -> Path:
        """Write safetensors that `VGGFeatures` loads like any other weights, with further metadata ``about`` them."""
        metadata = {"arch": self.arch, "width": str(self.width), "attributes": json.dumps(self.names)}
        return write_tensors(path, self.state_dict(), metadata | dict(about or {}))

    @classmethod
    def load(cls, path: str | Path) -> "AttributeNetwork":
        """The network, in eval mode, that `dfcvae features train` wrote; a UserError for any other file."""
        try:
            state, about = read_tensors(path)
            width, names = float(about["width"]), tuple(map(str, json.loads(about["attributes"])))
            if not 1 / 64 <= width <= 4:
                raise ValueError(f"width {width}")
            network = cls(about["arch"], width, names)
            network.load_state_dict(state)
        except (UnreadableError, KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
            why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise UserError(
                f"{path} is not an attribute network, or is corrupted ({why}); expected a file written by `dfcvae "
                "features train`."
            ) from error
        return network.eval()

    @torch.no_grad()
    def logits(self, faces: Faces, batch_size: int = 100) -> Tensor:
        """One logit per attribute for all faces, (n, A), on the CPU."""
        device = self.classifier.weight.device
        return torch.cat([self(to_float(x.to(device))).cpu() for x in faces.images.split(batch_size)])


def train_features(config: FeatureTraining, data: Splits | Faces, *, progress: bool = True) -> AttributeNetwork:
    """Train an attribute network: binary cross entropy over all attributes, AdamW, one-cycle schedule.

    Of faces with attributes, your own ones from `dfcvae.faces`, or splits, of which ``train`` is used; a UserError if
    they have no attributes, or are too small for a VGG.
    """
    train = data if isinstance(data, Faces) else data["train"]
    if not train.names:
        raise UserError("These faces have no attributes to train a feature network on; use CelebA or synthetic faces.")
    if min(train.images.shape[-2:]) < SMALLEST:
        raise UserError(
            f"A VGG halves its images five times and needs at least {SMALLEST}x{SMALLEST} pixels, got "
            f"{train.images.shape[-2]}x{train.images.shape[-1]}; raise data.size."
        )
    keep_freed_memory()
    check_accelerator(config.accelerator)
    device = pick_device(config.accelerator)
    bfloat16 = pick_precision(config.precision, device) == "bf16-mixed"
    torch.manual_seed(seeded_generator(config.seed, Stream.WEIGHTS).initial_seed())
    network = AttributeNetwork(config.arch, config.width, train.names).to(device).train()
    batches = TrainingBatches(train, config.batch_size, config.seed)
    steps = config.epochs * batches.steps
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    with (
        closing(batches.starting_at(0)) as feed,
        tqdm(total=steps, desc="attributes", disable=not progress or None) as bar,
    ):
        for step in range(steps):
            batch = next(feed)
            x, wanted = to_float(batch.images.to(device)), batch.attributes.to(device).float()
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                loss = binary_cross_entropy_with_logits(network(x), wanted)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            bar.update()
            if step % 10 == 0 or step + 1 == steps:
                if not torch.isfinite(loss):
                    raise UserError(f"Training diverged before step {step + 1:,}; lower training.learning_rate.")
                bar.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
    return network.eval()


def attribute_scores(logits: Tensor, attributes: Tensor, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Scores of logits (n, A) for attributes (n, A), per attribute and on average (``mean``).

    Each entry has ``accuracy``, ``majority`` (the accuracy of always predicting the more frequent value), ``balanced``
    accuracy (mean of recall and specificity; chance is 0.5) and ``auroc``. Attributes that are all true or all false
    have no balanced accuracy and no AUROC: they are NaN and excluded from those means.
    """
    from torchmetrics.functional.classification import binary_auroc

    predicted, true = logits > 0, attributes.float().mean(dim=0)
    recall = (predicted & attributes).sum(dim=0) / attributes.sum(dim=0)  # 0 / 0 is NaN
    specificity = (~predicted & ~attributes).sum(dim=0) / (~attributes).sum(dim=0)
    nan = torch.tensor(float("nan"))
    # standardised, as the metric takes a sigmoid, in which large numbers would be ties
    ranked = (logits - logits.mean(dim=0)) / logits.std(dim=0).clamp_min(1e-9)
    pairs = zip(ranked.T, attributes.T.long(), ((true > 0) & (true < 1)).tolist(), strict=True)
    columns = {
        "accuracy": (predicted == attributes).float().mean(dim=0),
        "majority": torch.maximum(true, 1 - true),
        "balanced": (recall + specificity) / 2,
        "auroc": torch.stack([binary_auroc(score, target) if both else nan for score, target, both in pairs]),
    }
    rows = {name: {column: float(values[i]) for column, values in columns.items()} for i, name in enumerate(names)}
    return rows | {"mean": {column: float(values.nanmean()) for column, values in columns.items()}}


def scores_table(scores: dict[str, dict[str, float]]) -> str:
    """The scores as a text table in percent."""
    rows = [[name, *(f"{100 * value:.1f}" for value in row.values())] for name, row in scores.items()]
    return Table(["attribute", *scores["mean"]], rows).text()
