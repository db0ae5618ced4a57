"""Several models side by side: the same faces, the same latents, paired differences, what each cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dfcvae.checkpoint import find_model, read_model
from dfcvae.config import DataConfig, flat
from dfcvae.data import Splits, data_of, filled, load_faces, source_name
from dfcvae.device import environment, pick_device
from dfcvae.errors import UserError
from dfcvae.fitted import kept_mixture
from dfcvae.images import to_float
from dfcvae.reports.blocks import Block, Heading, Paragraph, Preformatted, Table
from dfcvae.reports.curves import learning_curves
from dfcvae.reports.evaluated import SETS, Evaluated, distance_title, evaluate_model
from dfcvae.reports.measured import differences_table, measures_table
from dfcvae.reports.observers import JudgeFiles, Observers, partial_judges
from dfcvae.reports.pictures import interpolations, reconstructions, samples
from dfcvae.reports.write import write_report
from dfcvae.run import read_cost
from dfcvae.vae import VAE

FACES, SAMPLES, STEPS = 10, 10, 8
AGAINST = (
    "Against the test faces. A judge's distances are not the FID and KID, which are defined in Inception's features."
)


@dataclass(frozen=True)
class Model:
    """One of the models that are compared.

    Args:
        vae: in eval mode, on its device.
        folder: its run folder, or where else it was loaded from.
        experiment: as it was trained, plain; None if it was saved without.
    """

    vae: VAE
    folder: Path
    experiment: dict[str, Any] | None

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """From a run folder, a checkpoint or an exported folder."""
        folder = find_model(path).parent
        vae = VAE.load(path, device=pick_device())
        return cls(vae, folder.parent if folder.name == "checkpoints" else folder, read_model(path)[0]["config"])


def compare(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    source: str | None = None,
    judge: JudgeFiles = None,
    fid: str | None = None,
    lpips: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Compare models on the test split of the first one's data: ``report.html``, ``report.md``, ``metrics.json``.

    Args:
        paths: two models or more; the first is what the others are compared with.
        out: folder of the report.
        source: other faces.
        judge: files of judges that none of the models was trained with: at most one attribute network, and
            descriptions of other networks (YAML).
        fid: weights of Inception for FID and KID: a file, or ``"download"``.
        lpips: download what LPIPS needs, where it is missing.
        seed: of samples, draws and resampled images.
        progress: show bars.

    Returns:
        The path of the HTML report.

    Raises:
        UserError: if models take images of different shapes, or cannot be loaded.
    """
    models = load_models(paths)
    data = data_of(paths[0], source)
    splits = load_faces(data, progress=progress)
    filled(splits, "test")
    observers = Observers.load(judge, fid, lpips)
    evaluated = {}
    for path, (name, model) in zip(paths, tqdm(models.items(), "models", disable=not progress), strict=True):
        kept = Path(out) / "measured" / f"{name.replace('/', '-')}.safetensors"
        mixture = kept_mixture(path, model.vae) if observers.embed_samples() else None
        evaluated[name] = evaluate_model(
            model.vae, data, splits, observers, mixture=mixture, seed=seed, kept=kept, progress=progress
        )
    warnings = partial_judges(observers, {name: model.experiment for name, model in models.items()})
    blocks = comparison(models, evaluated, data, splits, seed, warnings)
    report = write_report(f"{listed(list(models))}: a comparison", blocks, out)
    numbers = {name: found.as_json(seed) for name, found in evaluated.items()}
    (Path(out) / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    return report


def load_models(paths: Sequence[str | Path]) -> dict[str, Model]:
    """Models by name, which is that of their folder, with the folder above where two have the same.

    Raises:
        UserError: if there are fewer than two, or they take images of different shapes.
    """
    if len(paths) < 2:
        raise UserError("A comparison takes two models or more: dfcvae compare RUN RUN ...")
    files = [find_model(path).resolve() for path in paths]
    if len(set(files)) < len(files):
        twice = next(path for path, file in zip(paths, files, strict=True) if files.count(file) > 1)
        raise UserError(f"{twice} was named twice; name every model once.")
    models: dict[str, Model] = {}
    for path in paths:
        model = Model.load(path)
        parts = model.folder.resolve().parts + ((Path(path).stem,) if Path(path).is_file() else ())
        fewest = 2 if Path(path).is_file() else 1
        name = next(name for n in range(fewest, len(parts) + 1) if (name := "/".join(parts[-n:])) not in models)
        models[name] = model
    shapes = {name: "x".join(map(str, model.vae.image_shape)) for name, model in models.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"Only models of images of one shape can be compared, but these take other ones: {told}.")
    return models


def comparison(
    models: Mapping[str, Model],
    evaluated: Mapping[str, Evaluated],
    data: DataConfig,
    splits: Splits,
    seed: int,
    warnings: Sequence[str] = (),
) -> list[Block]:
    """The whole report."""
    vaes = {name: model.vae for name, model in models.items()}
    x = test_faces(splits, FACES).to(pick_device())
    first = next(iter(models))
    blocks: list[Block] = [
        Paragraph(
            f"Measured on {len(splits['test']):,} test faces of {source_name(data)}. In brackets: 95 % bootstrap "
            "intervals over these faces. They hold for other faces and these very models; another training of the "
            "same model differs by more."
        ),
        *other_data(models, data),
        Heading("Reconstructions"),
        reconstructions(vaes, x),
        Heading("Measures"),
        *map(Paragraph, warnings),
        measures_table({name: found.measured for name, found in evaluated.items()}, seed),
        Heading(f"Differences from {first}"),
        Paragraph(
            "The same faces for both models: difference, its 95 % interval by the paired bootstrap, p-value of the "
            "paired t-test. The p-values are not adjusted for the number of measures."
        ),
        differences_table({name: found.measured for name, found in evaluated.items()}, seed),
        Heading("Samples"),
        samples(vaes, SAMPLES, lines=2, seed=seed),
        *distances(evaluated),
        Heading("Interpolation"),
        interpolations(vaes, x[: 4 if len(x) >= 4 else 2], STEPS),
    ]
    curves = learning_curves({name: model.folder for name, model in models.items()})
    blocks += [Heading("Learning curves"), curves] if curves else []
    blocks += [Heading("Cost"), cost_table(models), Heading("Settings that differ"), settings_table(models)]
    return [*blocks, Heading("Protocol"), protocol_card(evaluated)]


def other_data(models: Mapping[str, Model], data: DataConfig) -> list[Block]:
    """A warning of models that were trained on other data or another split than that of the test faces."""
    found = {
        name: (Path(model.experiment["data"]["source"]).name, model.experiment["data"]["split_seed"])
        for name, model in models.items()
        if model.experiment
    }
    here = (source_name(data), data.split_seed)
    others = [
        f"{name} ({source}, split_seed {seed})" for name, (source, seed) in found.items() if (source, seed) != here
    ]
    if not others:
        return []
    text = "Trained on other data or another split than the test faces, some of which they may have seen in training: "
    return [Paragraph(f"{text}{listed(others)}. Their differences from the others say little.")]


def protocol_card(evaluated: Mapping[str, Evaluated]) -> Preformatted:
    """How the numbers were obtained: what all models have in common, then what they have not."""
    cards = {name: found.card for name, found in evaluated.items()}
    fields = list(dict.fromkeys(field for card in cards.values() for field in card))
    card: dict[str, Any] = {}
    for field in fields:
        values = {name: own.get(field) for name, own in cards.items()}
        card[field] = next(iter(values.values())) if len({json.dumps(v) for v in values.values()}) == 1 else values
    about = {
        name: value for name, value in environment().items() if name in ("started", "commit", "device", "versions")
    }
    return Preformatted(json.dumps(card | {"report": about}, indent=2))


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def test_faces(splits: Splits, count: int) -> Tensor:
    """The first faces of the test split, in [0, 1]."""
    return to_float(filled(splits, "test").images[:count])


def distances(evaluated: Mapping[str, Evaluated]) -> list[Block]:
    """How far samples are from faces, beside reconstructions and the floor; nothing where it was not measured."""
    rows: list[list[str | float]] = []
    every = [row for found in evaluated.values() for row in found.samples.values()]
    keys = [key for key in (every[0] if every else ()) if all(key in row for row in every)]
    for name, found in evaluated.items():
        for kind, row in found.samples.items():
            if kind != "floor" or name == list(evaluated)[-1]:  # which is the same for all
                who = SETS[kind] if kind == "floor" else f"{name}: {SETS[kind]}"
                rows.append([who, *(row[key] for key in keys)])
    if not rows:
        return []
    return [Paragraph(AGAINST), Table(["", *map(distance_title, keys)], rows)]


def cost_table(models: Mapping[str, Model]) -> Table:
    """What each training took, where the run folder tells."""
    rows = []
    for name, model in models.items():
        cost = read_cost(model.folder)
        parameters = sum(parameter.numel() for parameter in model.vae.parameters())
        if not cost:
            rows.append([name, f"{parameters:,}", *["not recorded"] * 5])
            continue
        minutes = [f"{cost[key] / 60:.1f}" for key in ("training_seconds", "total_seconds")]
        memory = "-" if cost["peak_memory_mib"] is None else f"{cost['peak_memory_mib']:,}"
        per_second = f"{cost['images_per_second']:.4g}"
        rows.append([name, f"{parameters:,}", f"{cost['images']:,}", per_second, *minutes, memory])
    header = ["", "parameters", "images seen", "images/s", "minutes of steps", "minutes in all", "peak memory, MiB"]
    return Table(header, rows)


def settings_table(models: Mapping[str, Model]) -> Table:
    """The fields of the experiments that are not the same in all."""
    fields = {name: flat(model.experiment) if model.experiment else {} for name, model in models.items()}
    keys = list(dict.fromkeys(key for values in fields.values() for key in values))
    rows = []
    for key in keys:
        shown = [_plain(values[key]) if key in values else "-" for values in fields.values()]
        nothing = set(shown) == {"-", "None"}  # a field that is not there in one, and says nothing in another
        if key != "name" and len(set(shown)) > 1 and not nothing:
            rows.append([key, *shown])
    machines = [_environment(model.folder).get("machine", "not recorded") for model in models.values()]
    rows += [["machine", *machines]] if len(set(machines)) > 1 else []
    return Table(["setting", *models], rows or [["none", *["" for _ in models]]])


def _plain(value: Any) -> str:
    """A setting as text, without the place of a file on this machine."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)


def _environment(folder: Path) -> dict[str, Any]:
    file = folder / "environment.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found
