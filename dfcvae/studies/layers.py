"""What each feature layer does, where layers are what a study varies."""

from collections.abc import Sequence

from dfcvae.config import Experiment
from dfcvae.errors import UserError
from dfcvae.evaluation.effects import main_effects
from dfcvae.losses.presets import PRESETS
from dfcvae.reports.blocks import Block, Heading, Paragraph, Table
from dfcvae.reports.measured import title
from dfcvae.studies.study import Study
from dfcvae.studies.tables import Runs, difference_cell, shown
from dfcvae.vgg import layer_names, resolve_layers


def layers_of(experiment: Experiment) -> frozenset[str] | None:
    """The layers that the loss of an experiment compares, by name; None for a loss that is not made of layers."""
    features = experiment.loss.features
    if features is None:
        return frozenset()
    if features.preset not in PRESETS:
        return None
    preset = PRESETS[features.preset]
    names: Sequence[str] = resolve_layers(features.arch or preset.arch, features.layers or preset.layers)
    return frozenset(map(str, names))


def effects(study: Study, runs: Runs) -> list[Block]:
    """What adding a layer does; nothing where fewer than three sets of layers are compared.

    Variants with several layers that no other variant has are left out: they tell only what these do together.
    """
    present = {name: own for name, e in study.variants.items() if (own := layers_of(e)) is not None}
    lonely = {name: [n for n in own if sum(n in of for of in present.values()) == 1] for name, own in present.items()}
    present = {name: own for name, own in present.items() if len(lonely[name]) < 2}
    if len(set(present.values())) < 3:
        return []
    varying = frozenset.union(*present.values()) - frozenset.intersection(*present.values())
    layers = [name for name in layer_names("vgg19_bn") if name in varying]
    design = [[layer in own for layer in layers] for own in present.values()]
    values = {key: [[run[key] for run in runs[name]] for name in present] for key in shown(runs)}
    heading = Heading("Main effects of the layers")
    try:
        by_measure = {key: main_effects(design, of) for key, of in values.items()}
    except UserError as error:
        return [heading, Paragraph(str(error))]
    rows = [
        [f"adding {layer}", *(difference_cell(key, found[i]) for key, found in by_measure.items())]
        for i, layer in enumerate(layers)
    ]
    text = (
        f"Least squares over the means of {', '.join(present)}, with a term for every layer: what a variant with the "
        "layer has more than one without, the presence of the other layers as it is. Intervals are wide where layers "
        "do not add up, however many seeds there are."
    )
    return [heading, Paragraph(text), Table(["", *map(title, shown(runs))], rows)]
