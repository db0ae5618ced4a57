"""The commands: one function each, whose signature and docstring are its command line, and its Python API.

Arguments before ``*`` are positional on the command line, those behind it are options. What is heavy to import is
imported inside the functions, so that help is quick.
"""

from collections.abc import Callable

from dfcvae.commands.data import data_check, data_info, data_prepare
from dfcvae.commands.features import features_distil, features_list, features_train
from dfcvae.commands.looking import attributes, latent_map, neighbours
from dfcvae.commands.models import explore, export, reconstruct, sample
from dfcvae.commands.moving import edit, interpolate, traverse
from dfcvae.commands.studies import ablate, compare, evaluate, paper, probe
from dfcvae.commands.training import bench, demo, train

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "traverse": traverse,
    "attributes": attributes,
    "edit": edit,
    "map": latent_map,
    "neighbours": neighbours,
    "explore": explore,
    "evaluate": evaluate,
    "ablate": ablate,
    "compare": compare,
    "paper": paper,
    "probe": probe,
    "export": export,
    "features train": features_train,
    "features distil": features_distil,
    "features list": features_list,
    "data info": data_info,
    "data prepare": data_prepare,
    "data check": data_check,
    "bench": bench,
}
